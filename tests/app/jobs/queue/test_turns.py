"""In which order runs begin: everybody gets a like share of the turns, whatever somebody asks for."""

import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.queue import turns as module
from app.jobs.queue.turns import FORGOTTEN, MOST_TURNS, Turns
from app.jobs.queue.visitor import Visitor


@dataclass(frozen=True)
class WaitingRun:
    visitor: Visitor
    number: int


def visitors(*names: str) -> list[Visitor]:
    """Visitors written as "address" or "address/session"."""
    return [Visitor(name.partition("/")[0], name) for name in names]


def begun(arrivals: list[Visitor], costs: dict[str, float] | None = None, turns: Turns | None = None) -> list[str]:
    """The sessions in the order in which their runs begin, one at a time, if all of them wait from the start."""
    turns = turns or Turns()
    waiting = []
    for number, visitor in enumerate(arrivals):
        turns.join(visitor, [run.visitor for run in waiting])
        waiting.append(WaitingRun(visitor, number))
    sessions = []
    while waiting:
        run = turns.order(waiting)[0]
        sessions.append(run.visitor.session)
        turns.begin(run.visitor)
        turns.end(run.visitor, (costs or {}).get(run.visitor.session, 1.0))
        waiting.remove(run)
    return sessions


@pytest.mark.parametrize(
    ("arrivals", "order"),
    [
        ("A A A A A B", "A B A A A A"),
        ("A A A B B C", "A B C A B A"),
        ("A/1 A/2 A/3 A/4 B B", "A/1 B A/2 B A/3 A/4"),
        ("A/1 A/1 A/1 A/2 A/3", "A/1 A/2 A/3 A/1 A/1"),
        ("A B C", "A B C"),
    ],
)
def test_addresses_take_turns_and_so_do_the_sessions_of_each(arrivals, order):
    assert begun(visitors(*arrivals.split())) == order.split()


names = st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from("1234")), min_size=1, max_size=30)


@given(names)
def test_what_is_told_to_those_who_wait_is_what_happens(pairs):
    """The order that is foretold is the order in which runs begin, if no others come."""
    arrivals = visitors(*(f"{address}/{session}" for address, session in pairs))
    turns, waiting = Turns(), []
    for number, visitor in enumerate(arrivals):
        turns.join(visitor, [run.visitor for run in waiting])
        waiting.append(WaitingRun(visitor, number))
    told = [run.visitor.session for run in turns.order(waiting)]
    assert sorted(run.number for run in turns.order(waiting)) == list(range(len(waiting)))
    assert begun(arrivals) == told


@given(names)
def test_while_two_addresses_wait_neither_gets_more_than_one_turn_ahead(pairs):
    order = begun(visitors(*(f"{address}/{session}" for address, session in pairs)))
    asked = {address: sum(one == address for one, _ in pairs) for address, _ in pairs}
    got = dict.fromkeys(asked, 0)
    for session in order:
        got[session[0]] += 1
        left = [address for address in asked if got[address] < asked[address]]
        assert all(got[session[0]] <= got[other] + 1 for other in left)


def test_a_long_run_counts_as_several_turns():
    order = begun(visitors(*["A"] * 3, *["B"] * 5), {"A": 3.0})
    assert order == ["A", "B", "B", "B", "A", "B", "B", "A"]


def test_nobody_waits_for_ever_because_of_one_endless_run():
    order = begun(visitors("A", "A", *["B"] * 30), {"A": 1e9})
    assert order.index("A", 1) == 1 + MOST_TURNS


def test_to_have_stayed_away_is_no_credit():
    turns = Turns()
    begun(visitors(*["A"] * 10), turns=turns)
    order = begun(visitors(*["B"] * 12, "A"), turns=turns)
    assert order.index("A") == 2, "not behind the ten that the other was served while nobody else was there"


def test_sessions_that_are_invented_gain_their_address_nothing():
    invented = [f"A/{number}" for number in range(20)]
    order = begun(visitors(*invented, *["B"] * 5))
    assert [place for place, session in enumerate(order) if session == "B"] == [1, 3, 5, 7, 9]


def test_what_was_served_long_ago_does_not_count(monkeypatch):
    now, turns = [1000.0], Turns()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    begun(visitors("A"), {"A": MOST_TURNS}, turns)
    now[0] += FORGOTTEN + 1
    assert begun(visitors("A", "B"), turns=turns) == ["A", "B"]


def test_no_more_addresses_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(module, "MOST_ADDRESSES", 50)
    turns = Turns()
    for number in range(500):
        begun(visitors(f"{number}/{number}"), turns=turns)
    assert len(turns._addresses) <= 51
