"""Which waiting runs may begin: by rows, in their order, and by the share of each address."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.queue.room import Room
from app.jobs.queue.visitor import Visitor


@dataclass(eq=False)
class Asking:
    visitor: Visitor
    rows: int

    @classmethod
    def of(cls, text: str) -> "Asking":
        """A run written as its address and rows, such as "A4"."""
        return cls(Visitor(text[0], text), int(text[1:]))

    def __str__(self) -> str:
        return f"{self.visitor.address}{self.rows}"


def runs_of(text: str) -> list[Asking]:
    return [Asking.of(name) for name in text.split()]


@pytest.mark.parametrize(
    ("running", "waiting", "begun"),
    [
        ("", "A2 B2 C2 D2 E2", "A2 B2 C2 D2"),
        ("A2", "B8 C2", ""),
        ("A2", "B6 C2", "B6"),
        ("", "A8 B2", "A8"),
        ("", "A2 A2 A2", "A2 A2"),
        ("A4", "A2 B2 A2 C2", "B2 C2"),
        ("A2", "A8 A2 B2", "B2"),
        ("A5", "A1 B3", "B3"),
        ("A5 B2", "C2 D1", ""),
        ("A8", "A1 B1", ""),
    ],
)
def test_of_eight_rows(running, waiting, begun):
    """They begin in their order. Who has half already is passed over with all that it has, and nobody else is."""
    room = Room(8, runs_of(running), runs_of(waiting))
    assert " ".join(map(str, room.let_in())) == begun


def test_of_one_row_runs_go_on_one_at_a_time():
    first, second, third = runs_of("A1 A1 B1")
    room = Room(1, [], [first, second, third])
    assert room.let_in() == [first]
    room.end(first)
    assert room.let_in() == [second]
    room.end(second)
    assert room.let_in() == [third]


@pytest.mark.parametrize(
    ("running", "waiting", "comes", "fits"),
    [
        ("", "", "A8", True),
        ("A6", "", "B2", True),
        ("A6", "", "B3", False),
        ("A2", "", "A2", True),
        ("A4", "", "A2", False),
        ("A4", "A2", "B2", True),
        ("A4", "A2", "A1", False),
        ("A2", "B8", "C2", False),
    ],
)
def test_who_comes_fits_if_nobody_is_passed_over_for_it(running, waiting, comes, fits):
    room = Room(8, runs_of(running), runs_of(waiting))
    room.let_in()
    assert room.fits(Asking.of(comes)) == fits


def held_back(waiting: list[Asking], running: list[Asking], rows: int) -> set[str]:
    """The addresses whose next run would take them beyond half of the rows."""
    held = set()
    for address in {run.visitor.address for run in waiting}:
        following = next(run for run in waiting if run.visitor.address == address)
        taken = sum(run.rows for run in running if run.visitor.address == address)
        if taken and taken + following.rows > rows // 2:
            held.add(address)
    return held


@given(
    rows=st.integers(1, 16),
    asked=st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 16)), max_size=30),
    ends=st.lists(st.integers(0, 100), max_size=30),
)
def test_rows_and_shares_are_kept_and_every_run_begins_in_its_order(rows, asked, ends):
    waiting = [Asking(Visitor(address, ""), min(size, rows)) for address, size in asked]
    room, running, places = Room(rows, [], list(waiting)), [], iter(ends)
    while waiting or running:
        for run in room.let_in():
            passed_over = {other.visitor.address for other in waiting[: waiting.index(run)]}
            assert passed_over <= held_back(waiting, running, rows) - {run.visitor.address}
            own = sum(other.rows for other in running if other.visitor == run.visitor)
            assert not own or own + run.rows <= rows // 2
            waiting.remove(run)
            running.append(run)
        free = rows - sum(run.rows for run in running)
        assert free >= 0
        held = held_back(waiting, running, rows)
        kept = next((run for run in waiting if run.visitor.address not in held), None)
        assert kept is None or kept.rows > free, "no row is idle that the next one needs"
        assert running, "nobody waits for ever"
        room.end(running.pop(next(places, 0) % len(running)))
