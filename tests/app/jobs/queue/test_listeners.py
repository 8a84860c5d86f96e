"""Whether somebody listens to a session, and what becomes of runs to which nobody does."""

import threading
import time

import pytest

from app.jobs.host import Host
from app.jobs.queue.listeners import PATIENCE, Listeners
from app.jobs.queue.run_queue import RunQueue, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.request import Limits

ANNA, BEN = Visitor("a", "anna"), Visitor("b", "ben")


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The monotonic clock, which a test sets."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_a_session_is_deserted_some_seconds_after_its_last_listener_has_gone(now):
    listeners = Listeners()
    with listeners.listening("s"):
        with listeners.listening("s"):
            now[0] += 100
            assert not listeners.is_deserted("s")
        now[0] += 100
        assert not listeners.is_deserted("s"), "the other one still listens"
    now[0] += PATIENCE
    assert not listeners.is_deserted("s")
    now[0] += 1
    assert listeners.is_deserted("s")
    with listeners.listening("s"):
        assert not listeners.is_deserted("s"), "somebody came back"


def test_who_asks_for_a_run_has_some_seconds_to_listen(now):
    listeners = Listeners()
    with listeners.listening("s"):
        pass
    now[0] += 100
    listeners.expect("s")
    now[0] += PATIENCE
    assert not listeners.is_deserted("s")
    now[0] += 1
    assert listeners.is_deserted("s")


def test_sessions_that_are_invented_do_not_push_out_one_that_is_listened_to(now, monkeypatch):
    monkeypatch.setattr("app.jobs.queue.listeners.SESSIONS", 10)
    listeners = Listeners()
    with listeners.listening("s"):
        for number in range(100):
            listeners.expect(str(number))
        now[0] += 100
        assert not listeners.is_deserted("s")
        assert len(listeners._sessions) <= 11


class Pool:
    """Models that need no loading."""

    def rows(self, name, asked):
        return asked

    def run(self, name, job, cancelled, rows):
        return job(name, cancelled=cancelled)


def host_with(listeners: Listeners | None) -> Host:
    return Host(Pool(), RunQueue(1, 4), Limits(), listeners)


def test_a_run_under_way_ends_once_nobody_listens_and_the_next_one_begins(now):
    listeners, closed = Listeners(), []
    host = host_with(listeners)

    def endless(engine, cancelled):
        try:
            while True:
                yield engine
        finally:
            closed.append(engine)

    with listeners.listening("anna"):
        updates = host.in_turn(ANNA, "m", endless)
        assert [next(updates) for _ in range(3)] == ["m"] * 3
    now[0] += PATIENCE + 1
    assert len(list(updates)) <= 1
    assert closed == ["m"]
    with listeners.listening("ben"):
        assert next(host.in_turn(BEN, "m", endless)) == "m"


def test_a_waiting_run_to_which_nobody_listens_is_never_begun(now, monkeypatch):
    monkeypatch.setattr("app.jobs.queue.run_queue.POLL", 0.0)
    listeners, begun = Listeners(), []
    host = host_with(listeners)
    with listeners.listening("anna"):
        first = host.in_turn(ANNA, "m", lambda engine, cancelled: iter_of("first"))
        next(first)
        second = host.in_turn(BEN, "m", lambda engine, cancelled: begun.append(1) or iter_of("second"))
        assert isinstance(next(second), Waiting)
        now[0] += PATIENCE + 1
        assert list(second) == []
        first.close()
    assert begun == []


def test_where_nothing_notes_who_listens_every_run_goes_on(now):
    updates = host_with(None).in_turn(ANNA, "m", lambda engine, cancelled: iter_of("a", "b"))
    assert next(updates) == "a"
    now[0] += 1000
    assert list(updates) == ["b"]


def iter_of(*events):
    yield from events


def test_many_threads_may_note_who_listens():
    listeners = Listeners()

    def come_and_go() -> None:
        for _ in range(200):
            with listeners.listening("s"):
                pass

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert listeners._sessions["s"].streams == 0
