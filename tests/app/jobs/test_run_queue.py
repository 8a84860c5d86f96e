"""The line before the model: who may run, who waits, and how long."""

import threading
import time

import pytest

from app.jobs.run_queue import FullError, Line
from app.language import language


def may_begin(place) -> bool:
    return place.line.begin(place, 0.0)


def test_so_many_run_at_once_and_the_next_begins_when_one_ends():
    line = Line(at_once=2, waiting=5)
    with line.place("a") as first, line.place("b") as second:
        assert may_begin(first)
        assert may_begin(second)
        with line.place("c") as third:
            assert not may_begin(third)
            assert third.ahead == 2
            with line.place("d") as fourth:
                assert fourth.ahead == 3
    with line.place("e") as later:
        assert may_begin(later)


def test_a_place_is_given_up_however_its_run_ends():
    line = Line(at_once=1, waiting=0)

    def fail() -> None:
        with line.place("a") as place:
            assert may_begin(place)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with line.place("b") as place:
        assert may_begin(place)


def test_places_are_taken_in_the_order_of_arrival():
    line = Line(at_once=1, waiting=9)
    with line.place("a") as running:
        assert may_begin(running)
        with line.place("b") as first, line.place("c") as second:
            assert (first.ahead, second.ahead) == (1, 2)
            assert not may_begin(second)


def test_a_visitors_second_run_waits_until_others_have_had_their_first():
    line = Line(at_once=1, waiting=9)
    with line.place("greedy") as running, line.place("greedy") as again, line.place("greedy") as third:
        assert may_begin(running)
        with line.place("other") as other:
            assert [place.ahead for place in (other, again, third)] == [1, 2, 3]
            assert again.behind_own
            assert not other.behind_own


def test_a_second_run_comes_first_again_once_the_first_is_over():
    line = Line(at_once=1, waiting=9)
    with line.place("a") as first:
        assert may_begin(first)
        held = line.place("a")
        again = held.__enter__()
    with line.place("b") as late:
        assert (again.ahead, late.ahead) == (0, 1)
    held.__exit__(None, None, None)


def test_a_full_line_says_so_in_both_languages():
    line = Line(at_once=1, waiting=2)
    with line.place("a"), line.place("b"), line.place("c"):
        with (
            pytest.raises(FullError, match=r"^The line is full, with 2 waiting; try again in a minute\.$") as full,
            line.place("d"),
        ):
            pass
        assert "2" in full.value.said(language("zh"))
    with line.place("d") as place:
        assert may_begin(place)


def test_who_waits_is_told_their_place_and_what_runs_have_taken(monkeypatch):
    line, words = Line(at_once=1, waiting=9), language("en")
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with line.place("a") as running:
        assert may_begin(running)
        with line.place("b") as waiting:
            assert waiting.expected is None
            assert waiting.said(words) == "waiting: 1 run is before yours"
        now[0] += 12
    with line.place("c") as running:
        assert may_begin(running)
        with line.place("d") as first, line.place("e") as second:
            assert (first.expected, second.expected) == (12, 24)
            assert first.said(words) == "waiting: 1 run is before yours, about 12 s"
            assert second.said(words) == "waiting: 2 runs are before yours, about 24 s"


def test_a_run_that_never_began_says_nothing_about_how_long_runs_take():
    line = Line(at_once=1, waiting=9)
    with line.place("a") as place:
        assert place.expected is None
    with line.place("b") as place:
        assert place.expected is None


def test_waiting_ends_as_soon_as_a_place_is_free():
    line = Line(at_once=1, waiting=9)
    began = threading.Event()

    def wait() -> None:
        with line.place("b") as place:
            for _ in place.waits():
                pass
            began.set()

    with line.place("a") as running:
        assert may_begin(running)
        thread = threading.Thread(target=wait)
        thread.start()
        assert not began.wait(0.2)
    assert began.wait(5)
    thread.join()


def test_many_threads_never_run_together():
    line, running, most = Line(at_once=2, waiting=100), [], []
    lock = threading.Lock()

    def run(number: int) -> None:
        with line.place(str(number % 3)) as place:
            for _ in place.waits():
                pass
            with lock:
                running.append(number)
                most.append(len(running))
            time.sleep(0.002)
            with lock:
                running.remove(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 30
    assert max(most) <= 2
