"""The queue before the model: who may run, who waits, and how long."""

import threading
import time

import pytest

from app.jobs.run_queue import QueueEntry, QueueFullError, RunQueue, Waiting
from app.language import language


@pytest.fixture
def queue() -> RunQueue:
    return RunQueue(concurrent=1, waiting=9)


def may_begin(queue: RunQueue, entry: QueueEntry) -> bool:
    return queue.begin(entry, 0.0)


def ahead(queue: RunQueue, *entries: QueueEntry) -> list[int]:
    return [queue.outlook(entry).ahead for entry in entries]


def test_so_many_run_at_once_and_the_next_begins_when_one_ends():
    queue = RunQueue(concurrent=2, waiting=5)
    with queue.enter("a") as first, queue.enter("b") as second:
        assert may_begin(queue, first)
        assert may_begin(queue, second)
        with queue.enter("c") as third:
            assert not may_begin(queue, third)
            assert ahead(queue, third) == [2]
            with queue.enter("d") as fourth:
                assert ahead(queue, fourth) == [3]
    with queue.enter("e") as later:
        assert may_begin(queue, later)


def test_an_entry_leaves_the_queue_however_its_run_ends():
    queue = RunQueue(concurrent=1, waiting=0)

    def fail() -> None:
        with queue.enter("a") as entry:
            assert may_begin(queue, entry)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with queue.enter("b") as entry:
        assert may_begin(queue, entry)


def test_runs_begin_in_the_order_of_arrival(queue):
    with queue.enter("a") as running:
        assert may_begin(queue, running)
        with queue.enter("b") as first, queue.enter("c") as second:
            assert ahead(queue, first, second) == [1, 2]
            assert not may_begin(queue, second)


def test_a_visitors_second_run_waits_until_others_have_had_their_first(queue):
    with queue.enter("greedy") as running, queue.enter("greedy") as again, queue.enter("greedy") as third:
        assert may_begin(queue, running)
        with queue.enter("other") as other:
            assert ahead(queue, other, again, third) == [1, 2, 3]
            assert queue.outlook(again).behind_own
            assert not queue.outlook(other).behind_own


def test_a_second_run_comes_first_again_once_the_first_is_over(queue):
    with queue.enter("a") as first:
        assert may_begin(queue, first)
        held = queue.enter("a")
        again = held.__enter__()
    with queue.enter("b") as late:
        assert ahead(queue, again, late) == [0, 1]
    held.__exit__(None, None, None)


def test_a_full_queue_refuses_in_both_languages():
    queue = RunQueue(concurrent=1, waiting=2)
    sentence = r"^The queue is full, with 2 waiting; try again in a minute\.$"
    with queue.enter("a"), queue.enter("b"), queue.enter("c"):
        with pytest.raises(QueueFullError, match=sentence) as full, queue.enter("d"):
            pass
        assert "2" in full.value.message(language("zh"))
    with queue.enter("d") as entry:
        assert may_begin(queue, entry)


def test_a_waiting_run_knows_its_position_and_how_long_the_last_runs_took(queue, monkeypatch):
    words, now = language("en"), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with queue.enter("a") as running:
        assert may_begin(queue, running)
        with queue.enter("b") as waiting:
            assert queue.outlook(waiting).seconds is None
            assert queue.outlook(waiting).message(words) == "waiting: 1 run is before yours"
        now[0] += 12
    with queue.enter("c") as running:
        assert may_begin(queue, running)
        with queue.enter("d") as first, queue.enter("e") as second:
            assert queue.outlook(first) == Waiting(ahead=1, seconds=12, behind_own=False)
            assert queue.outlook(first).message(words) == "waiting: 1 run is before yours, about 12 s"
            assert queue.outlook(second).message(words) == "waiting: 2 runs are before yours, about 24 s"


def test_a_run_that_never_began_does_not_count_in_how_long_runs_take(queue):
    with queue.enter("a") as entry:
        assert queue.outlook(entry).seconds is None
    with queue.enter("b") as entry:
        assert queue.outlook(entry).seconds is None


class TestInTurn:
    def test_waiting_comes_first_and_then_what_the_run_yields(self, queue, monkeypatch):
        monkeypatch.setattr("app.jobs.run_queue.POLL", 0.01)
        with queue.enter("a") as running:
            assert may_begin(queue, running)
            events = queue.in_turn("b", lambda: (event for event in "xy"))
            assert next(events) == Waiting(ahead=1, seconds=None, behind_own=False)
        rest = [event for event in events if not isinstance(event, Waiting)]
        assert rest == ["x", "y"]

    def test_a_run_that_is_cancelled_while_it_waits_is_never_started(self, queue, monkeypatch):
        monkeypatch.setattr("app.jobs.run_queue.POLL", 0.01)
        started = []
        with queue.enter("a") as running:
            assert may_begin(queue, running)
            events = queue.in_turn("b", lambda: started.append(1) or iter(()), lambda: True)
            assert next(events, None) is None
        assert list(queue.in_turn("c", lambda: started.append(1) or iter(()), lambda: True)) == []
        assert started == []

    def test_closing_it_closes_the_run_and_frees_the_queue(self, queue):
        closed = []

        def run():
            try:
                yield 1
            finally:
                closed.append(1)

        events = queue.in_turn("a", run)
        assert next(events) == 1
        events.close()
        assert closed == [1]
        with queue.enter("b") as entry:
            assert may_begin(queue, entry)

    def test_it_begins_as_soon_as_the_run_before_has_ended(self, queue):
        began = threading.Event()

        def wait() -> None:
            list(queue.in_turn("b", lambda: (began.set() for _ in range(1))))

        with queue.enter("a") as running:
            assert may_begin(queue, running)
            thread = threading.Thread(target=wait)
            thread.start()
            assert not began.wait(0.2)
        assert began.wait(5)
        thread.join()

    def test_many_threads_never_run_together(self):
        queue, running, most = RunQueue(concurrent=2, waiting=100), [], []
        lock = threading.Lock()

        def run(number: int):
            with lock:
                running.append(number)
                most.append(len(running))
            time.sleep(0.002)
            with lock:
                running.remove(number)
            yield number

        threads = [
            threading.Thread(target=lambda number=number: list(queue.in_turn(str(number % 3), lambda: run(number))))
            for number in range(30)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(most) == 30
        assert max(most) <= 2
