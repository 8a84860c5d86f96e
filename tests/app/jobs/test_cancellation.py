from app.jobs import cancellation as stops
from app.jobs.cancellation import Stops


def test_stop_ends_what_was_asked_for_before_it_and_nothing_after():
    visitors = Stops()
    first, second = visitors.ticket("a"), visitors.ticket("a")
    visitors.stop("a")
    third = visitors.ticket("a")
    assert visitors.stopped("a", first)
    assert visitors.stopped("a", second)
    assert not visitors.stopped("a", third)


def test_a_visitor_stops_only_their_own_runs():
    visitors = Stops()
    mine, theirs = visitors.ticket("a"), visitors.ticket("b")
    visitors.stop("a")
    assert visitors.stopped("a", mine)
    assert not visitors.stopped("b", theirs)


def test_stop_before_any_run_stops_nothing():
    visitors = Stops()
    visitors.stop("a")
    assert not visitors.stopped("a", visitors.ticket("a"))


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(stops, "VISITORS", 3)
    visitors = Stops()
    for session in "abcde":
        visitors.ticket(session)
    assert len(visitors._visitors) == 3
