"""What the page does while no process has a run, and when Ray says that one is lost."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import DeploymentUnavailableError

from app.jobs.host import Host
from app.jobs.model_pool import Loading, ModelFacts, nothing
from app.jobs.queue.run_queue import RunQueue, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.replicas import replica_pool
from app.jobs.replicas.replica_pool import LostReplicaError, NoReplicaError, ReplicaPool
from app.jobs.request import Limits
from tests.app.jobs.test_host import EngineDouble

ROWS = 16


class StreamDouble:
    """What a replica sends of a run: some updates, and then an error, nothing for ever, or the end."""

    def __init__(self, *updates: object, then: BaseException | str = "end") -> None:
        self.updates, self.then, self.cancelled = list(updates), then, threading.Event()

    def __aiter__(self) -> "StreamDouble":
        return self

    async def __anext__(self) -> object:
        if self.updates:
            return self.updates.pop(0)
        if isinstance(self.then, BaseException):
            raise self.then
        while self.then == "nothing" and not self.cancelled.is_set():
            await asyncio.sleep(0.01)
        raise StopAsyncIteration

    def cancel(self) -> None:
        self.cancelled.set()
        if isinstance(self.then, BaseException):  # as Ray does
            raise self.then


class SignalsDouble:
    def __init__(self) -> None:
        self.given: list[str] = []
        self.give = SimpleNamespace(remote=self.given.append)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    for name in ("POLL", "TOLD"):
        monkeypatch.setattr(replica_pool, name, 0.01)


def pool_of(patience: float = 60, **streams: StreamDouble) -> ReplicaPool:
    """A pool whose models answer with these streams."""

    def handle(stream: StreamDouble) -> SimpleNamespace:
        method = SimpleNamespace(remote=lambda *_: stream)
        return SimpleNamespace(options=lambda **_: SimpleNamespace(run=method))

    handles = {name: handle(stream) for name, stream in streams.items()}
    return ReplicaPool([(name, name.upper()) for name in streams], handles, SignalsDouble(), ROWS, patience)


def facts_of(name: str, *, together: bool = True) -> ModelFacts:
    return ModelFacts.of(name, EngineDouble(name, together=together))


def test_a_run_that_no_process_has_yet_is_cancelled_at_once():
    stream, asked = StreamDouble(then="nothing"), threading.Event()
    pool = pool_of(m=stream)
    updates = pool.run("m", nothing, asked.is_set, 2)
    assert next(updates) == Loading("M", "replica")
    asked.set()
    assert [one for one in updates if not isinstance(one, Loading)] == []
    assert stream.cancelled.is_set()
    assert len(pool._signals.given) == 1


def test_a_run_that_no_process_takes_in_time_ends_in_a_sentence():
    stream = StreamDouble(then="nothing")
    with pytest.raises(NoReplicaError, match="M has become free"):
        list(pool_of(0.05, m=stream).run("m", nothing, lambda: False, 2))
    assert stream.cancelled.is_set()


@pytest.mark.parametrize("begun", [(), (None, "text")], ids=["before", "under way"])
@pytest.mark.parametrize("lost", [ActorDiedError(), DeploymentUnavailableError(SimpleNamespace())], ids=type)
def test_a_process_that_is_lost_is_told_in_a_sentence(lost, begun):
    updates = pool_of(m=StreamDouble(*begun, then=lost)).run("m", nothing, lambda: False, 2)
    assert [next(updates) for one in begun if one] == [one for one in begun if one]
    with pytest.raises(LostReplicaError, match="has died"):
        next(updates)


def test_a_run_under_way_that_is_cancelled_goes_on_to_what_it_ends_with():
    stream = StreamDouble(None, "first", "last")
    pool, asked = pool_of(m=stream), threading.Event()
    updates = pool.run("m", nothing, asked.is_set, 2)
    assert next(updates) == "first"
    asked.set()
    assert list(updates) == ["last"]
    assert len(pool._signals.given) == 1


def test_nobody_else_waits_for_a_model_that_no_process_has():
    known, missing = StreamDouble(None, facts_of("known"), "text"), StreamDouble(then="nothing")
    pool = pool_of(known=known, missing=missing)
    pool.find_first()
    host = Host(pool, RunQueue(ROWS, 8), Limits())
    first = host.in_turn(Visitor("a", "a"), "missing", nothing)
    assert isinstance(next(first), Loading)
    known.updates += [None, "text"]
    assert list(host.in_turn(Visitor("b", "b"), "known", nothing, rows=ROWS // 2)) == ["text"]
    first.close()


def test_a_run_takes_a_whole_process_only_where_it_must_be_alone_there():
    pool = pool_of(m=StreamDouble(None, facts_of("m")), n=StreamDouble(None, facts_of("n", together=False)))
    assert (pool.rows("m", 4), pool.rows("m", None)) == (4, 1)
    pool.find_first()
    list(pool.run("n", nothing, lambda: False, 1))
    assert (pool.rows("m", 4), pool.rows("m", None)) == (4, ROWS)
    assert (pool.rows("n", 4), pool.rows("n", None)) == (ROWS, ROWS)


def test_what_waits_on_a_process_is_passed_on():
    waiting = Waiting(2, None, False)
    assert list(pool_of(m=StreamDouble(None, waiting, "text")).run("m", nothing, lambda: False, 2)) == [waiting, "text"]
