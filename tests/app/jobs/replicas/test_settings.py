"""Settings of the page on Ray, what Ray Serve is told of them, and signals that end a run."""

import asyncio

import pytest

from app.jobs.replicas.cancel_signals import CancelSignals
from app.jobs.replicas.settings import RaySettings
from app.ray_app import MARGIN, options, page
from app.settings import read_settings
from tests.app.loops import run_apart


def test_each_process_of_a_model_takes_the_rows_of_a_page():
    settings = read_settings(["--max-rows=16", "--replicas=3", "--replica-gpus=0.5", "--time-limit=100"], RaySettings)
    assert settings.all_rows == 48
    told = options(settings)
    assert told["num_replicas"] == 3
    assert told["ray_actor_options"] == {"num_cpus": 2, "num_gpus": 0.5}
    assert told["max_ongoing_requests"] >= 16 / 2
    assert told["graceful_shutdown_timeout_s"] == 100 + MARGIN


@pytest.mark.parametrize(("least", "most"), [(0, 1), (1, 4), (2, 2)])
def test_processes_come_and_go_with_the_visitors_where_a_most_is_given(least, most):
    settings = read_settings([f"--replicas={least}", f"--max-replicas={most}"], RaySettings)
    told = options(settings)
    assert "num_replicas" not in told
    assert (told["autoscaling_config"]["min_replicas"], told["autoscaling_config"]["max_replicas"]) == (least, most)
    assert told["autoscaling_config"]["target_ongoing_requests"] < told["max_ongoing_requests"]
    assert settings.all_rows == most * settings.max_rows
    alone = options(read_settings([], RaySettings, {"compile": "true", "max_replicas": "4"}))
    assert alone["autoscaling_config"]["target_ongoing_requests"] == 1, "each run has a process to itself"


def test_the_environment_sets_them_too(monkeypatch):
    monkeypatch.setenv("DOLA_REPLICAS", "2")
    monkeypatch.setenv("DOLA_MAX_REPLICAS", "8")
    monkeypatch.setenv("DOLA_MODEL", "atlas-30l")
    settings = read_settings([], RaySettings)
    assert (settings.replicas, settings.most_replicas, settings.names) == (2, 8, ("atlas-30l",))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"replicas": "0"}, "replicas=0 needs max_replicas"),
        ({"replicas": "3", "max_replicas": "2"}, "max_replicas is less than replicas"),
        ({"replica_gpus": "-1"}, "replica_gpus: "),
        ({"replica": "2"}, "replica"),
        ({"compile": "true", "quantize": "4bit"}, "--compile does not take packed weights"),
        ({"port": "9000", "share": "true"}, "leave out port, share: Ray has the address"),
        ({"replica_gpus": "many"}, "app.ray_app: replica_gpus: "),
        ({"model": "/nowhere/at/all"}, "app.ray_app: There is no model at /nowhere/at/all;"),
        ({"model": "."}, "holds no model: it has no config.json"),
        ({"model": "/a/same,/b/same"}, "Two models are called same;"),
    ],
    ids=str,
)
def test_a_mistake_ends_in_a_sentence(asked, said, capsys):
    with pytest.raises(SystemExit) as ended:
        page(asked)
    told = capsys.readouterr().err + str(ended.value.code)
    assert said in told
    assert ended.value.code
    assert "Traceback" not in told


def test_a_signal_reaches_who_waits_for_it_and_who_comes_later_once():
    async def seen() -> list[str]:
        signals, came = CancelSignals(), []

        async def wait(run: str) -> None:
            await signals.wait(run)
            came.append(run)

        waiting = [asyncio.ensure_future(wait(run)) for run in ("a", "b")]
        await asyncio.sleep(0)
        await signals.give("b")
        await signals.give("c")
        await wait("c")
        await asyncio.sleep(0)
        assert not waiting[0].done()
        assert not signals._given
        late = asyncio.ensure_future(wait("c"))
        await asyncio.sleep(0)
        assert not late.done()
        for task in (waiting[0], late):
            task.cancel()
        await asyncio.gather(waiting[0], late, return_exceptions=True)
        assert not signals._waiting
        return came

    assert run_apart(seen()) == ["c", "b"]
