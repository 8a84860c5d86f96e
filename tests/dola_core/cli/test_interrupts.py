"""Ctrl-C ends the command at once, or after the step that is running if there is something to keep."""

import signal
from contextlib import suppress

import pytest

from dola_core.cli import compare as command
from dola_core.decoding.engine import Engine
from dola_core.models import loading
from dola_core.trace.schema import Trace
from tests.dola_core.cli.comparisons import CONTRAST, PROMPT, SAME, without_marks


@pytest.fixture
def press(monkeypatch):
    """A function that presses Ctrl-C so many times during each of the given steps."""
    compare = Engine.compare

    def during(steps: set[int], times: int = 1) -> None:
        def pressed(*args, **kwargs):
            for number, output in enumerate(compare(*args, **kwargs)):
                for _ in range(times if number in steps else 0):
                    signal.raise_signal(signal.SIGINT)
                yield output

        monkeypatch.setattr(Engine, "compare", pressed)

    return during


def test_what_was_written_is_kept_with_its_trace(quick, press, loaded, trace, tmp_path, capsys):
    press({7})
    assert command.main([PROMPT, *CONTRAST, "--trace", str(tmp_path / "out.json")]) == 130
    printed, kept = capsys.readouterr(), Trace.model_validate_json((tmp_path / "out.json").read_text())
    assert printed.err == "python -m dola_core: interrupted; what was written until then is kept.\n"
    assert kept.lane_ids(1) == trace.lane_ids(1)[:8]
    assert kept.ends == ("eos", "stopped")
    assert kept.intact()
    assert "\n8 tokens: stopped by you\n" in printed.out
    shared = loaded.text(trace.lane_ids(0)[: trace.fork])
    assert kept.texts[1][len(shared) :] in without_marks(printed.out)


def test_before_anything_is_written_it_ends_at_once(quick, press, tmp_path, capsys):
    press({0})
    assert command.main([PROMPT, "--trace", str(tmp_path / "out.json")]) == 130
    printed = capsys.readouterr()
    assert printed.err == "python -m dola_core: interrupted.\n"
    assert printed.out.endswith(f"\n\n{PROMPT}\n")
    assert not list(tmp_path.iterdir())


def test_pressed_twice_it_ends_at_once(quick, press, tmp_path, capsys):
    press({4}, times=2)
    assert command.main([PROMPT, *CONTRAST, "--trace", str(tmp_path / "out.json")]) == 130
    assert capsys.readouterr().err == "python -m dola_core: interrupted.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ImportError, loading.LoadError, None])
def test_while_the_model_loads_whatever_a_library_makes_of_it(loaded, monkeypatch, capsys, raised):
    def load(*_, **__):
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        if raised:
            raise raised
        return loaded

    monkeypatch.setattr(loading, "load_model", load)
    assert command.main([PROMPT]) == 130
    assert capsys.readouterr() == ("", "python -m dola_core: interrupted.\n")


def test_the_former_handler_is_back(quick):
    before = signal.getsignal(signal.SIGINT)
    command.main([SAME])
    assert signal.getsignal(signal.SIGINT) is before
