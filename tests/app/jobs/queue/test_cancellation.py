"""Cancelling ends exactly the runs that were asked for before it."""

from app.jobs.queue import cancellation
from app.jobs.queue.cancellation import Cancellations


def test_cancelling_ends_what_was_registered_before_and_nothing_after():
    visitors = Cancellations()
    first, second = visitors.register("a"), visitors.register("a")
    visitors.cancel("a")
    third = visitors.register("a")
    assert visitors.is_cancelled("a", first)
    assert visitors.is_cancelled("a", second)
    assert not visitors.is_cancelled("a", third)


def test_what_is_abandoned_is_cancelled_and_what_is_cancelled_is_still_shown():
    visitors = Cancellations()
    first = visitors.register("a")
    visitors.cancel("a")
    assert not visitors.is_abandoned("a", first)
    second = visitors.register("a")
    assert visitors.abandon("a")
    assert not visitors.abandon("a")
    third, other = visitors.register("a"), visitors.register("b")
    assert visitors.is_cancelled("a", second)
    assert visitors.is_abandoned("a", second)
    for session, number in (("a", third), ("b", other)):
        assert not visitors.is_cancelled(session, number)
        assert not visitors.is_abandoned(session, number)


def test_a_run_without_a_number_is_cancelled_but_told_so():
    visitors = Cancellations()
    for end in (visitors.cancel, visitors.abandon):
        end("a")
        assert visitors.is_cancelled("a", 0)
        assert not visitors.is_abandoned("a", 0)
    visitors.register("a")
    visitors.abandon("a")
    assert not visitors.is_abandoned("a", 0)


def test_a_visitor_cancels_only_their_own_runs():
    visitors = Cancellations()
    mine, theirs = visitors.register("a"), visitors.register("b")
    visitors.cancel("a")
    assert visitors.is_cancelled("a", mine)
    assert not visitors.is_cancelled("b", theirs)


def test_cancelling_before_any_run_ends_nothing():
    visitors = Cancellations()
    visitors.cancel("a")
    assert not visitors.is_cancelled("a", visitors.register("a"))


def test_the_number_of_visitors_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(cancellation, "VISITORS", 3)
    visitors = Cancellations()
    for session in "abcde":
        visitors.register(session)
    assert len(visitors._visitors) == 3


def test_a_visitor_has_no_run_left_when_each_that_was_asked_for_has_ended():
    visitors = Cancellations()
    first, second = visitors.register("a"), visitors.register("a")
    assert visitors.is_last("a", second)
    assert not visitors.is_last("a", first)
    assert not visitors.end("a")
    assert visitors.end("a")
    visitors.register("a")
    assert visitors.end("a")
