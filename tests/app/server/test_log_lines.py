"""Whatever is logged or printed by whomever, the log gets one printable line, and no text of strangers."""

import io
import logging
import re
import threading
import traceback
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.server import log_lines
from app.server.log_lines import MOST, one_line

HOSTILE = st.text(st.one_of(st.characters(), st.sampled_from("\n\r\x1b\u2028\u202e\x00%{}")), max_size=700)
LOGGERS = ["app.server.guard", "dola_core.models", "uvicorn.error", "__main__"]
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


def test_who_debugs_sees_the_traceback_line_by_line(log):
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        failing("one\nTraceback of another\x1b[2J")
    except ValueError as error:
        logging.getLogger("app").debug("in full", exc_info=error)
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
