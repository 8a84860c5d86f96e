"""The page on Ray Serve, with three models that have two processes each: runs go there, and end where they must."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import httpx
import psutil
import pytest
import ray
import torch
from gradio_client import Client
from ray import serve
from transformers import AutoModelForCausalLM, LlamaConfig

from app.jobs.comparison import run
from app.jobs.host import Host
from app.jobs.model_pool import Loading, UnknownModelError, nothing
from app.jobs.queue.run_queue import RunQueue, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.replicas.cancel_signals import CancelSignals
from app.jobs.replicas.replica_pool import LostReplicaError, ReplicaPool
from app.jobs.request import ComparisonRequest, Limits, RequestError
from app.ray_app import page
from dola_core.decoding.engine import Engine
from dola_core.errors import LoadError
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.models.loading import load_model
from tests.dola_core.models.test_loading import folder
from tests.dola_core.tiny import LLAMA
from tests.server import ray_processes

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.timeout(300)]
NAMES = BROKEN, ENDLESS, ATLAS = ("broken", "endless", "atlas-30l")
"""What the page's list calls the models."""
PROMPT = "The capital of Australia is"
LONG, ROWS = 4000, 16
"""Tokens of a run that is still under way when something happens to it, and the rows of a process."""


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> list[str]:
    """Of a model that cannot be loaded, one that writes for long, and the shipped one: `NAMES`."""
    torch.manual_seed(0)
    config = LlamaConfig(**LLAMA | {"vocab_size": 6144, "max_position_embeddings": 2 * LONG, "eos_token_id": None})
    endless = folder(AutoModelForCausalLM.from_config(config).eval(), tmp_path_factory.mktemp("models") / "endless")
    (endless.parent / "broken").mkdir()
    return [str(endless.parent / "broken"), str(endless), str(SHIPPED_MODEL)]


@pytest.fixture(scope="module")
def address(places) -> Iterator[str]:
    """The page, served by Ray on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        # Ray kills a proxy that has not started within five seconds, as on a busy machine.
        patch.setenv("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"log_level": "ERROR"})
        asked = {"replicas": "2", "replica_cpus": "0.5", "dtype": "float32", "max_new_tokens": "4096"}
        serve.run(page({"model": ",".join(places), "max_rows": str(ROWS)} | asked))
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()
        ray.shutdown()


@pytest.fixture(scope="module")
def pool(address) -> ReplicaPool:
    """What the front sends its runs by."""
    handles = {name: serve.get_deployment_handle(f"model-{n}", "default") for n, name in enumerate(NAMES, 1)}
    pool = ReplicaPool([(name, name) for name in handles], handles, ray.remote(CancelSignals).remote(), ROWS)
    pool.find_first()
    return pool


def request(new: int = 12, **more: object) -> ComparisonRequest:
    return ComparisonRequest.of(prompt=PROMPT, layer=12, alpha=0.05, decoding={"max_new_tokens": new} | more)


def updates_of(pool: ReplicaPool, name: str, asked: ComparisonRequest, cancelled=lambda: False) -> Iterator:
    """What comes of a run, without that it waits."""
    host = Host(pool, RunQueue(4 * ROWS, 8), Limits())
    job = partial(run, request=asked, limits=Limits())
    updates = host.in_turn(Visitor("a", "a"), name, job, cancelled, rows=2)
    try:
        for update in updates:
            if not isinstance(update, Waiting | Loading):
                yield update
    finally:
        updates.close()


def processes(number: int) -> list[psutil.Process]:
    """Those of a model, counted from 1."""
    return ray_processes(f"ServeReplica:default:model-{number}")


def seconds_computed(number: int) -> dict[int, float]:
    """By each process of a model that lives, by its id."""
    computed = {}
    for process in processes(number):
        with suppress(psutil.NoSuchProcess):
            computed[process.pid] = sum(process.cpu_times()[:2])
    return computed


def is_idle(number: int, within: float = 10) -> bool:
    """Whether both processes of a model stop computing in so many seconds, and stay so for two."""
    end, idle = time.monotonic() + within, 0
    while idle < 4 and time.monotonic() < end + 2:
        before = seconds_computed(number)
        time.sleep(0.5)
        after = seconds_computed(number)
        are_two = len(after) == 2 and before.keys() == after.keys()
        is_quiet = are_two and all(after[pid] <= before[pid] + 0.1 for pid in after)
        idle = idle + 1 if is_quiet else 0
    return idle >= 4


def test_the_page_comes_up_on_the_first_model_that_can_be_loaded(pool):
    assert pool.first.name == ENDLESS
    assert list(pool.titles) == [ENDLESS, ATLAS, BROKEN]


def test_a_run_there_gives_the_trace_that_it_gives_here(pool):
    *_, last = updates_of(pool, ATLAS, request(40))
    *_, here = run(Engine(load_model(device="cpu", dtype="float32")), request(40))
    assert last.finished
    assert last.trace.to_json() == here.trace.to_json()
    assert pool.facts(ATLAS).known.search is not None


def test_what_a_replica_refuses_reads_as_it_does_here(pool):
    with pytest.raises(RequestError) as refused:
        list(updates_of(pool, ATLAS, ComparisonRequest.of(prompt=" ", layer=1, alpha=0.1, decoding={})))
    assert refused.value.key == "error.prompt_empty"
    with pytest.raises(UnknownModelError):
        next(pool.run("other", nothing, lambda: False, 2))
    with pytest.raises(LoadError, match="broken"):
        list(pool.run(BROKEN, nothing, lambda: False, 2))


def test_a_run_that_is_stopped_ends_with_all_of_its_steps(pool):
    stop, seen = threading.Event(), []
    for update in updates_of(pool, ENDLESS, request(LONG), stop.is_set):
        seen.append(update)
        if len(update.trace.lane_ids(0)) > 20:
            stop.set()
    begun = next(n for n, update in enumerate(seen) if len(update.trace.lane_ids(0)) > 20)
    assert len(seen[-1].trace.lane_ids(0)) < 2 * len(seen[begun].trace.lane_ids(0)) + 40, "it stops at once"
    assert seen[-1].halt == "stopped"
    trace = seen[-1].trace
    assert 20 < len(trace.lane_ids(0)) < LONG
    assert trace.unrecorded == 0


def test_a_run_that_nobody_reads_any_more_ends_there(pool):
    updates = updates_of(pool, ENDLESS, request(LONG))
    assert any(len(update.trace.lane_ids(0)) > 20 for update in updates)
    updates.close()
    assert is_idle(2)


def test_a_process_that_dies_ends_its_own_runs_in_a_sentence_and_nobody_elses(pool):
    ended, begun = [], threading.Semaphore(0)

    def visit() -> None:
        try:
            last = None
            for update in updates_of(pool, ENDLESS, request(200)):
                if last is None and update.trace.lane_ids(0):
                    begun.release()
                    last = update
                last = update if last else None
            ended.append(last.finished)
        except Exception as error:
            ended.append(error)

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=60)
    os.kill(processes(2)[0].pid, signal.SIGKILL)
    for thread in threads:
        thread.join(120)
    lost = [error for error in ended if isinstance(error, LostReplicaError)]
    assert 0 < len(lost) < 4
    assert ended.count(True) == 4 - len(lost)
    *_, last = updates_of(pool, ENDLESS, request(12))
    assert last.finished
    assert is_idle(2, within=60)  # Ray has started another in its place


def test_programs_reach_it_over_ray_and_what_stands_before_the_page_does_there_too(address):
    client = Client(address, verbose=False)
    *_, last = client.submit(prompt=PROMPT, max_new_tokens=12, model=ATLAS, api_name="/compare")
    assert last["type"] == "trace"
    *_, curve = client.submit(
        questions=[{"prompt": "The capital of Japan is", "answers": ["Tokyo"], "wrong": ["Osaka"]}] * 3,
        model=ATLAS, api_name="/layer_curve",
    )  # fmt: skip
    assert curve["type"] == "curve"
    front = httpx.get(address)
    assert front.status_code == 200
    assert front.headers["x-content-type-options"] == "nosniff"
    assert "DoLa Duet" in front.text
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(f"{address}/gradio_api/monitoring").status_code == 404
    foreign = httpx.post(f"{address}/gradio_api/queue/join", json={}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403


def test_a_program_that_goes_ends_its_run_there(address):
    asked = {"prompt": PROMPT, "layer": 12, "alpha": 0.05, "max_new_tokens": LONG, "model": ENDLESS}
    event = httpx.post(f"{address}/gradio_api/call/v2/compare", json=asked).json()["event_id"]
    with httpx.stream("GET", f"{address}/gradio_api/call/compare/{event}", timeout=60) as stream:
        assert any('"step": 20' in line for line in stream.iter_lines())
    assert is_idle(2, within=20)


def test_what_one_request_of_a_session_leaves_another_one_finds(address):
    """Each over a connection of its own, many times: with a second front half of them would find nothing."""
    with httpx.Client() as first:
        config = first.get(f"{address}/config").json()
    index = next(one["id"] for one in config["dependencies"] if one["api_name"] == "what_if")
    for number in range(12):
        session = f"visitor{number}"
        asked = {"data": [{}, 1, 1, 0.1, 1, ""], "fn_index": index, "session_hash": session}
        assert httpx.post(f"{address}/gradio_api/queue/join", json=asked).status_code == 200
        told = httpx.get(f"{address}/gradio_api/queue/data", params={"session_hash": session}, timeout=30)
        assert told.status_code == 200
        assert "process_completed" in told.text


def test_there_is_one_front(address):
    deployments = serve.status().applications["default"].deployments
    assert {name: sum(one.replica_states.values()) for name, one in deployments.items()} == {
        "page": 1, "model-1": 2, "model-2": 2, "model-3": 2,
    }  # fmt: skip
