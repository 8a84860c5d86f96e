"""The command as a process: in a terminal, in a pipe, with a reader that goes away and on a full disk."""

import errno
import os
import subprocess
import sys
from io import StringIO
from types import SimpleNamespace

import pytest

from dola_core.cli import compare as command
from dola_core.cli.output import wants_live_screen
from dola_core.trace.schema import Trace
from tests.dola_core.cli.comparisons import CONTRAST, PROMPT, ROOT, without_marks
from tests.dola_core.cli.terminal import displayed, run_in_terminal

GIVEN = (PROMPT, *CONTRAST, "--device", "cpu", "--dtype", "float32")


def test_in_a_terminal_it_is_coloured_and_ends_as_the_plain_text_does(quick, capsys):
    status, out = run_in_terminal(*GIVEN)
    assert status == 0
    assert "\x1b[1;38;5;33m● Baseline\x1b[0m" in out
    assert "\x1b[1;4;38;5;166mAustralia\x1b[0m" in out
    command.main([PROMPT, *CONTRAST])
    assert displayed(out, 60, 20) == displayed(without_marks(capsys.readouterr().out), 60)


def test_in_a_terminal_without_colour_it_is_plain(quick, capsys):
    command.main([PROMPT, *CONTRAST])
    assert run_in_terminal(*GIVEN, NO_COLOR="1") == (0, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("is_terminal", "environment", "no_color", "live"),
    [
        (True, {}, False, True),
        (True, {"NO_COLOR": ""}, False, True),
        (True, {"NO_COLOR": "1"}, False, False),
        (True, {"TERM": "dumb"}, False, False),
        (True, {}, True, False),
        (False, {"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_the_screen_is_live_in_a_terminal_unless_something_asks_for_plain_text(
    monkeypatch, is_terminal, environment, no_color, live
):
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: is_terminal))
    for name, value in ({"TERM": "xterm", "NO_COLOR": ""} | environment).items():
        monkeypatch.setenv(name, value)
    assert wants_live_screen(no_color=no_color) is live


def test_in_a_pipe_it_is_plain_and_a_letter_that_its_encoding_lacks_is_escaped(quick, capsys):
    command.main([PROMPT, *CONTRAST])
    finished = subprocess.run(
        [sys.executable, "-m", "dola_core", *GIVEN], cwd=ROOT, capture_output=True, check=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1", "COLUMNS": "20"},
    )  # fmt: skip
    assert finished.stderr == b""
    assert finished.stdout == capsys.readouterr().out.encode("ascii", "backslashreplace")


def test_a_reader_that_goes_away_ends_it_silently():
    process = subprocess.Popen(
        [sys.executable, "-m", "dola_core", *GIVEN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.communicate()[1] == b""
    assert process.returncode == 141


def test_a_reader_that_goes_away_does_not_cost_the_trace(quick, monkeypatch, tmp_path, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert command.main([PROMPT, *CONTRAST, "--trace", str(tmp_path / "out.json")]) == 0
    assert Trace.model_validate_json((tmp_path / "out.json").read_text()).ends == ("eos", "eos")
    assert capsys.readouterr().err == ""


def test_a_terminal_that_is_closed_does_not_cost_the_trace(quick, monkeypatch, tmp_path):
    class Closed(StringIO):
        def write(self, text):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdout", Closed())
    assert command.main([PROMPT, *CONTRAST, "--trace", str(tmp_path / "out.json")]) == 0
    assert Trace.model_validate_json((tmp_path / "out.json").read_text()).ends == ("eos", "eos")


def test_a_full_disk_under_the_output_ends_in_a_sentence(quick, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert command.main([PROMPT]) == 1
    message = "python -m dola_core: the output cannot be written: No space left on device.\n"
    assert capsys.readouterr().err == message
