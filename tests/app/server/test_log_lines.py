"""Whatever is logged or printed by whomever, the log gets one printable line, and no text of strangers."""

import io
import logging
import re
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.server import log_lines
from app.server.log_lines import MOST, one_line
from tests.server import ROOT

HOSTILE = st.text(st.one_of(st.characters(), st.sampled_from("\n\r\x1b\u2028\u202e\x00%{}")), max_size=700)
LOGGERS = ["app.server.guard", "dola_core.models", "__main__"]
SECRET = "a stranger's prompt"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a log of everything would hold."""
    written = io.StringIO()
    handler, root = logging.StreamHandler(written), logging.getLogger()
    level, end = root.level, log_lines.install()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    end()
    root.removeHandler(handler)
    root.setLevel(level)


def lines_of(log: io.StringIO) -> list[str]:
    """The lines since the last call."""
    lines = log.getvalue().split("\n")
    log.seek(0)
    log.truncate()
    assert lines.pop() == ""
    return lines


def failing(text: str) -> None:
    raise ValueError(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HOSTILE, st.sampled_from(LOGGERS), st.sampled_from(["message", "argument", "both", "error"]))
def test_a_record_is_one_printable_line(log, text, name, where):
    logger = logging.getLogger(name)
    if where == "message":
        logger.warning(text)
    elif where == "argument":
        logger.error("it was %s, %r", text, text)
    elif where == "both":
        logger.info(text, text)
    else:
        try:
            failing(text)
        except ValueError:
            logger.exception("it failed")
    [line] = lines_of(log)
    assert len(line) <= MOST
    assert line.isprintable()
    if where == "error":
        assert line.startswith("it failed (ValueError at test_log_lines.py:")


@pytest.mark.parametrize("name", ["mcp", "asyncio", "gradio", "starlette", "never_heard_of", "root"])
def test_of_libraries_that_answer_requests_only_the_place_is_told(log, name):
    inside = logging.getLogger() if name == "root" else logging.getLogger(f"{name}.deep.inside")
    inside.warning("Tool '%s' not listed", SECRET)
    try:
        failing(SECRET)
    except ValueError:
        inside.exception(SECRET)
    first, second = lines_of(log)
    assert SECRET not in first + second
    assert first.startswith(f"{inside.name} has something to say at test_log_lines.py:")
    assert "ValueError at" in second


def test_a_traceback_that_is_printed_becomes_a_line(log, capsys):
    try:
        failing(SECRET)
    except ValueError:
        traceback.print_exc()
    [line] = lines_of(log)
    assert "ValueError at test_log_lines.py" in line
    assert SECRET not in line
    assert capsys.readouterr() == ("", "")


def test_so_does_an_error_that_ends_a_thread_and_a_warning(log, capsys):
    thread = threading.Thread(target=failing, args=(SECRET,))
    thread.start()
    thread.join()
    [line] = lines_of(log)
    assert "ValueError at" in line
    assert SECRET not in line
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)
        warnings.warn(f"two\n{SECRET}", stacklevel=1)
    [line] = lines_of(log)
    assert re.search(r"test_log_lines.py:\d+: UserWarning$", line)
    assert capsys.readouterr() == ("", "")


class Untold:
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


class Unwritable:
    def __del__(self) -> None:
        raise ValueError(SECRET)


def test_what_cannot_be_written_is_no_error_of_who_logs_it(log):
    thing = Untold()
    logging.getLogger("app").warning("it was %s", thing)
    logging.getLogger("py.warnings").warning("%s", thing)
    logging.getLogger("app").warning(thing)
    assert lines_of(log) == ["it was %s", "%s", "Untold"]


def test_an_error_that_nobody_can_catch_becomes_a_line_too(log, capsys):
    thing = Unwritable()
    del thing
    [line] = lines_of(log)
    assert "(ValueError at test_log_lines.py:" in line
    assert SECRET not in line
    assert capsys.readouterr() == ("", "")


def test_an_error_in_a_group_is_the_one_that_is_told(log):
    try:
        raise ExceptionGroup("several", [ExceptionGroup("more", [KeyError(SECRET)])])
    except ExceptionGroup as error:
        logging.getLogger("app").error("it failed", exc_info=error)
    assert lines_of(log) == ["it failed (KeyError)"]


def test_a_traceback_that_somebody_wants_in_a_file_is_written_there(log):
    file = io.StringIO()
    try:
        failing(SECRET)
    except ValueError:
        traceback.print_exc(file=file)
    assert SECRET in file.getvalue()
    assert lines_of(log) == []


def test_warnings_are_heard_of_without_any_handler():
    script = "import warnings\nfrom app.server import log_lines\nlog_lines.install()\nwarnings.warn('secret\\nline')\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert re.fullmatch(r"WARNING:py.warnings:<string>:4: UserWarning\n", done.stderr)


def test_who_debugs_sees_the_traceback_line_by_line(log):
    end = log_lines.install(debug=True)
    try:
        failing("one\nTraceback of another\x1b[2J")
    except ValueError as error:
        logging.getLogger("app").warning("in full", exc_info=error)
    end()
    first, *rest = lines_of(log)
    assert first.startswith("in full (ValueError")
    assert len(rest) > 3
    assert all(line.startswith("| ") and line.isprintable() for line in rest)


def test_everything_is_as_before_when_it_ends():
    before = logging.getLogRecordFactory(), traceback.print_exc, threading.excepthook, warnings.showwarning
    log_lines.install()()
    assert (logging.getLogRecordFactory(), traceback.print_exc, threading.excepthook, warnings.showwarning) == before


def test_arguments_that_do_not_fit_lose_no_record(log):
    logging.getLogger("app").warning("it was %d", "no number")
    assert lines_of(log) == ["it was %d"]


@given(HOSTILE, st.integers(1, 400))
def test_a_line_is_cut_after_what_cannot_be_printed_is_spelled_out(text, most):
    assert len(one_line(text, most)) <= most
