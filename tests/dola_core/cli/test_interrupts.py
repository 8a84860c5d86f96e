"""Ctrl-C ends the command at once, or after the step that is running if there is something to keep."""

import signal
import threading
from contextlib import suppress

import pytest

from dola_core.cli import compare as command
from dola_core.cli.interrupt import InterruptHandler
from dola_core.decoding.engine import Engine
from dola_core.models import loading
from dola_core.trace.schema import Trace
from tests.dola_core.cli.comparisons import CONTRAST, PROMPT, SAME, without_marks

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def press(monkeypatch):
    """A function that presses Ctrl-C, or sends another signal, so many times during each of the given steps."""
    compare = Engine.compare

    def during(steps: set[int], times: int = 1, signum: signal.Signals = signal.SIGINT) -> None:
        def pressed(*args, **kwargs):
            for number, output in enumerate(compare(*args, **kwargs)):
                for _ in range(times if number in steps else 0):
                    signal.raise_signal(signum)
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


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str)
@pytest.mark.parametrize("times", [1, 2])
def test_a_request_of_the_system_to_end_keeps_what_was_written_however_often_it_comes(
    quick, press, trace, tmp_path, capsys, signum, status, times
):
    press({7}, times, signum)
    assert command.main([PROMPT, *CONTRAST, "--trace", str(tmp_path / "out.json")]) == status
    assert capsys.readouterr().err == "python -m dola_core: interrupted; what was written until then is kept.\n"
    kept = Trace.model_validate_json((tmp_path / "out.json").read_text())
    assert (kept.lane_ids(1), kept.ends) == (trace.lane_ids(1)[:8], ("eos", "stopped"))
    assert [file.name for file in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str)
def test_a_request_of_the_system_to_end_before_anything_is_written_ends_it_at_once(
    quick, press, tmp_path, capsys, signum, status
):
    press({0}, 1, signum)
    assert command.main([PROMPT, "--trace", str(tmp_path / "out.json")]) == status
    assert capsys.readouterr().err == "python -m dola_core: interrupted.\n"
    assert not list(tmp_path.iterdir())


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


def test_the_former_handlers_are_back(quick):
    before = [signal.getsignal(signum) for signum in SIGNALS]
    command.main([SAME])
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


def test_a_signal_that_is_ignored_stays_so():
    """As `nohup` does with the one of a closed terminal."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with InterruptHandler() as interrupt:
            signal.raise_signal(signal.SIGHUP)
        assert not interrupt.requested
    finally:
        signal.signal(signal.SIGHUP, former)


def test_outside_the_main_thread_a_command_runs_without_handlers(quick):
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(command.main([SAME])))
    thread.start()
    thread.join()
    assert statuses == [0]
