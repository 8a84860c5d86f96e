"""The queue before the model: who may run, who waits, and how long. Most runs here take one row each."""

import threading
import time
from contextlib import ExitStack

import pytest

from app.jobs.queue.run_queue import QueueEntry, QueueFullError, RunQueue, Waiting
from app.jobs.queue.visitor import Visitor
from app.language import language


@pytest.fixture
def queue() -> RunQueue:
    return RunQueue(rows=1, waiting=9)


def of(name: str, address: str = "") -> Visitor:
    """A visitor, alone at an address unless one is named."""
    return Visitor(address or name, name)


def one() -> int:
    """The rows of a run of one text."""
    return 1


def may_begin(queue: RunQueue, entry: QueueEntry) -> bool:
    return queue.begin(entry, 0.0)


def ahead(queue: RunQueue, *entries: QueueEntry) -> list[int]:
    return [queue.outlook(entry).ahead for entry in entries]


def test_so_many_run_at_once_and_the_next_begins_when_one_ends():
    queue = RunQueue(rows=2, waiting=5)
    with ExitStack() as others, queue.enter(of("a"), one) as first:
        second = others.enter_context(queue.enter(of("b"), one))
        third, fourth = (others.enter_context(queue.enter(of(name), one)) for name in "cd")
        assert may_begin(queue, first)
        assert may_begin(queue, second)
        assert not may_begin(queue, third)
        assert ahead(queue, third, fourth) == [1, 2], "as many as must end, and not as many as are under way"
        others.close()
        with queue.enter(of("e"), one) as later:
            assert may_begin(queue, later)


def test_a_run_that_must_be_alone_waits_until_all_have_ended_and_nobody_overtakes_it():
    queue = RunQueue(rows=16, waiting=5)
    with ExitStack() as first:
        for name in "ab":
            assert may_begin(queue, first.enter_context(queue.enter(of(name), lambda: 2)))
        with queue.enter(of("c")) as search, queue.enter(of("d"), lambda: 2) as small:
            assert (search.rows, small.rows) == (16, 2)
            assert not may_begin(queue, search)
            assert not may_begin(queue, small), "there is room for it, but it is not its turn"
            assert ahead(queue, search, small) == [2, 3]
            first.close()
            assert not may_begin(queue, small)
            assert may_begin(queue, search)


def test_a_run_of_more_texts_than_there_are_rows_goes_on_alone():
    queue = RunQueue(rows=2, waiting=5)
    with queue.enter(of("a"), lambda: 4) as large, queue.enter(of("b"), one) as small:
        assert may_begin(queue, large)
        assert not may_begin(queue, small)
    with queue.enter(of("c"), one) as later:
        assert may_begin(queue, later)


def test_how_many_rows_a_run_takes_is_asked_again_while_it_waits_and_not_later():
    queue, rows = RunQueue(rows=8, waiting=5), {"b": 8, "c": 8}
    with ExitStack() as loading:
        assert may_begin(queue, loading.enter_context(queue.enter(of("a"))))
        with queue.enter(of("b"), lambda: rows["b"]) as one_run, queue.enter(of("c"), lambda: rows["c"]) as other:
            rows |= {"b": 2, "c": 2}
            assert not may_begin(queue, one_run)
            loading.close()
            assert may_begin(queue, one_run)
            assert may_begin(queue, other)
            rows["b"] = 8
            with queue.enter(of("d"), lambda: 2) as further:
                assert may_begin(queue, further)
                assert [entry.rows for entry in (one_run, other, further)] == [2, 2, 2]


def test_an_address_has_half_of_the_rows_and_what_waits_for_that_keeps_nobody_else_waiting():
    queue = RunQueue(rows=8, waiting=8)
    with ExitStack() as runs:
        own = [runs.enter_context(queue.enter(of(str(number), "203.0.113.7"), lambda: 2)) for number in range(3)]
        other = runs.enter_context(queue.enter(of("other"), lambda: 4))
        assert [may_begin(queue, entry) for entry in [*own, other]] == [True, True, False, True]
        assert ahead(queue, own[2]) == [1]


def test_an_entry_leaves_the_queue_however_its_run_ends():
    queue = RunQueue(rows=1, waiting=0)

    def fail() -> None:
        with queue.enter(of("a")) as entry:
            assert may_begin(queue, entry)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with queue.enter(of("b")) as entry:
        assert may_begin(queue, entry)


def test_runs_begin_in_the_order_of_arrival(queue):
    with queue.enter(of("a")) as running:
        assert may_begin(queue, running)
        with queue.enter(of("b")) as first, queue.enter(of("c")) as second:
            assert ahead(queue, first, second) == [1, 2]
            assert not may_begin(queue, second)


def test_a_visitors_second_run_waits_until_others_have_had_their_first(queue):
    with queue.enter(of("greedy")) as running, queue.enter(of("greedy")) as again, queue.enter(of("greedy")) as third:
        assert may_begin(queue, running)
        with queue.enter(of("other")) as other:
            assert ahead(queue, other, again, third) == [1, 2, 3]
            assert queue.outlook(again).behind_own
            assert not queue.outlook(other).behind_own


def test_who_has_been_served_waits_behind_who_has_not_although_that_run_is_over(queue):
    with ExitStack() as runs:
        five = [runs.enter_context(run) for run in [queue.enter(of("a")) for _ in range(4)]]
        with queue.enter(of("a")) as first:
            pass  # it never began, and counts as nothing
        with queue.enter(of("b")) as other:
            assert may_begin(queue, five[0])
            assert ahead(queue, other, *five[1:]) == [1, 2, 3, 4]
    with queue.enter(of("a")) as begun:
        assert may_begin(queue, begun)
    held = runs.enter_context(queue.enter(of("a")))
    late = runs.enter_context(queue.enter(of("c")))
    assert ahead(queue, late, held) == [0, 1]
    assert first.started is None


def test_no_address_takes_more_than_its_share_of_the_places_by_however_many_sessions():
    queue = RunQueue(rows=1, waiting=8)
    with ExitStack() as runs:
        for number in range(1 + queue.share):
            runs.enter_context(queue.enter(of(str(number), "203.0.113.7")))
        with pytest.raises(QueueFullError, match=r"^Your address has 5 runs here already; wait until one"):
            runs.enter_context(queue.enter(of("more", "203.0.113.7")))
        other = runs.enter_context(queue.enter(of("other")))
        assert ahead(queue, other) == [1], "behind one of the others, which came first"


def test_who_fills_the_places_keeps_nobody_from_a_run_that_could_begin_at_once():
    queue = RunQueue(rows=4, waiting=4)
    with ExitStack() as runs:
        for number in range(1 + queue.share):
            runs.enter_context(queue.enter(of(str(number), "203.0.113.7"), lambda: 2))
        other = runs.enter_context(queue.enter(of("other"), lambda: 2))
        assert may_begin(queue, other)
        with pytest.raises(QueueFullError, match=r"^The queue is full, with 4 waiting"):
            runs.enter_context(queue.enter(of("late"), lambda: 2))


def test_runs_under_way_are_no_runs_that_wait():
    queue = RunQueue(rows=16, waiting=1)
    with queue.enter(of("a")), queue.enter(of("b")), pytest.raises(QueueFullError):
        queue.enter(of("c")).__enter__()


def test_a_full_queue_refuses_in_both_languages():
    queue = RunQueue(rows=1, waiting=2)
    sentence = r"^The queue is full, with 2 waiting; try again in a minute\.$"
    with queue.enter(of("a")), queue.enter(of("b")), queue.enter(of("c")):
        with pytest.raises(QueueFullError, match=sentence) as full, queue.enter(of("d")):
            pass
        assert "2" in full.value.message(language("zh"))
    with queue.enter(of("d")) as entry:
        assert may_begin(queue, entry)


def test_a_waiting_run_knows_its_position_and_how_long_the_last_runs_took(queue, monkeypatch):
    words, now = language("en"), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with queue.enter(of("a")) as running:
        assert may_begin(queue, running)
        with queue.enter(of("b")) as waiting:
            assert queue.outlook(waiting).seconds is None
            assert queue.outlook(waiting).message(words) == "waiting: 1 run is before yours"
        now[0] += 12
    with queue.enter(of("c")) as running:
        assert may_begin(queue, running)
        with queue.enter(of("d")) as first, queue.enter(of("e")) as second:
            assert queue.outlook(first) == Waiting(ahead=1, seconds=12, behind_own=False)
            assert queue.outlook(first).message(words) == "waiting: 1 run is before yours, about 12 s"
            assert queue.outlook(second).message(words) == "waiting: 2 runs are before yours, about 24 s"
            now[0] += 5  # the time counts down
            assert [queue.outlook(entry).seconds for entry in (first, second)] == [7, 19]
            now[0] += 30  # it has taken 23 s longer than the last ones, and may take as long again
            assert [queue.outlook(entry).seconds for entry in (first, second)] == [23, 35]


def test_the_rows_that_are_free_first_count(monkeypatch):
    queue, now = RunQueue(2, 4), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with queue.enter(of("a"), one) as entry:
        assert may_begin(queue, entry)
        now[0] += 10
    with ExitStack() as runs:
        first = runs.enter_context(queue.enter(of("b"), one))
        assert may_begin(queue, first)
        now[0] += 4
        assert may_begin(queue, runs.enter_context(queue.enter(of("c"), one)))
        third, fourth, fifth = (runs.enter_context(queue.enter(of(name), one)) for name in "def")
        alone = runs.enter_context(queue.enter(of("g")))
        waiting = third, fourth, fifth, alone
        assert [queue.outlook(entry).seconds for entry in waiting] == [6, 10, 16, 26]
        assert ahead(queue, *waiting) == [1, 2, 3, 5]


def test_a_run_of_many_rows_counts_as_several_turns(monkeypatch):
    queue, now = RunQueue(16, 20), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for name, rows in (("usual", 4), ("a", 16)):
        with queue.enter(of(name), lambda rows=rows: rows) as entry:
            assert may_begin(queue, entry)
            now[0] += 10
    with ExitStack() as runs:
        waiting = [runs.enter_context(queue.enter(of(name))) for name in "abbbbb"]
        assert ahead(queue, *waiting) == [4, 0, 1, 2, 3, 5]


def test_a_run_that_never_began_does_not_count_in_how_long_runs_take(queue):
    with queue.enter(of("a")) as entry:
        assert queue.outlook(entry).seconds is None
    with queue.enter(of("b")) as entry:
        assert queue.outlook(entry).seconds is None


class TestInTurn:
    def test_waiting_comes_first_and_then_what_the_run_yields(self, queue, monkeypatch):
        monkeypatch.setattr("app.jobs.queue.run_queue.POLL", 0.01)
        with queue.enter(of("a")) as running:
            assert may_begin(queue, running)
            events = queue.in_turn(of("b"), lambda: (event for event in "xy"))
            assert next(events) == Waiting(ahead=1, seconds=None, behind_own=False)
        rest = [event for event in events if not isinstance(event, Waiting)]
        assert rest == ["x", "y"]

    def test_a_run_that_is_cancelled_while_it_waits_is_never_started(self, queue, monkeypatch):
        monkeypatch.setattr("app.jobs.queue.run_queue.POLL", 0.01)
        started = []
        with queue.enter(of("a")) as running:
            assert may_begin(queue, running)
            events = queue.in_turn(of("b"), lambda: started.append(1) or iter(()), lambda: True)
            assert next(events, None) is None
        assert list(queue.in_turn(of("c"), lambda: started.append(1) or iter(()), lambda: True)) == []
        assert started == []

    def test_closing_it_closes_the_run_and_frees_the_queue(self, queue):
        closed = []

        def run():
            try:
                yield 1
            finally:
                closed.append(1)

        events = queue.in_turn(of("a"), run)
        assert next(events) == 1
        events.close()
        assert closed == [1]
        with queue.enter(of("b")) as entry:
            assert may_begin(queue, entry)

    def test_it_begins_as_soon_as_the_run_before_has_ended(self, queue):
        began = threading.Event()

        def wait() -> None:
            list(queue.in_turn(of("b"), lambda: (began.set() for _ in range(1))))

        with queue.enter(of("a")) as running:
            assert may_begin(queue, running)
            thread = threading.Thread(target=wait)
            thread.start()
            assert not began.wait(0.2)
        assert began.wait(5)
        thread.join()

    def test_many_threads_never_take_more_rows_than_there_are(self):
        queue, running, most = RunQueue(rows=4, waiting=100), [], []
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
            threading.Thread(target=lambda n=n: list(queue.in_turn(of(str(n % 3)), lambda: run(n), rows=lambda: 2)))
            for n in range(30)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(most) == 30
        assert max(most) <= 2
