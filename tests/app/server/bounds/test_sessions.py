"""Which visitors' traces are remembered, and which are forgotten first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.server.bounds import sessions as module
from app.server.bounds.sessions import EMPTY, IDLE_SECONDS, MEASURED_SECONDS, Sessions

ROOM = 100 * EMPTY


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that goes on by a second each time it is read."""
    now = iter(range(10**9))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(now)))


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 30), st.integers(0, 20)), max_size=80))
def test_no_more_is_remembered_than_may_be_whatever_comes(visits):
    sessions = Sessions(ROOM)
    for address, name, size in visits:
        sessions.use(f"{address}{name}", address, lambda size=size: size * EMPTY)
        sessions.surplus()
        assert sessions.size <= ROOM
        assert sessions.size == sum(one.size for one in sessions._sessions.values()) == sum(sessions._of.values())
        assert f"{address}{name}" in sessions, "what was just looked at is there"


def test_a_thousand_arrivals_from_one_address_make_nobody_else_forgotten():
    sessions = Sessions(ROOM)
    for number in range(10):
        sessions.use(f"honest {number}", f"10.0.0.{number}", lambda: 4 * EMPTY)
    gone = []
    for number in range(1000):
        sessions.use(f"arrival {number}", "10.9.9.9", lambda: 0)
        gone += sessions.surplus()
    assert len(gone) > 900
    assert all(name.startswith("arrival") for name in gone)


def test_those_whose_page_is_closed_go_first_and_of_one_address_the_oldest():
    sessions = Sessions(10 * EMPTY)
    for number in range(10):
        sessions.use(f"{number}", "A" if number < 7 else "B", lambda: 0)
    sessions.use("more", "A", lambda: 0)
    assert sessions.surplus() == ["0"]
    for _ in range(int(IDLE_SECONDS)):
        sessions.use("more", "A", lambda: 0)
    sessions.use("most", "A", lambda: 0)
    assert sessions.surplus(lambda name: name == "8") == ["8"]


def test_a_size_is_measured_again_only_after_some_time():
    sessions, measured = Sessions(ROOM), []

    def measure() -> int:
        measured.append(None)
        return 5 * EMPTY

    for _ in range(int(MEASURED_SECONDS) * 3):
        sessions.use("one", "A", measure)
    assert 2 <= len(measured) <= 4
    assert sessions.size == 6 * EMPTY


def test_little_is_kept_of_closed_pages_and_that_of_the_last():
    sessions = Sessions(ROOM, closed=3 * EMPTY)
    for number in range(20):
        sessions.use(f"closed {number}", "A", lambda: 0)
    for _ in range(int(IDLE_SECONDS) + 1):
        sessions.use("open", "B", lambda: 0)
    gone = sessions.surplus(lambda name: name.startswith("closed"))
    assert gone == [f"closed {number}" for number in range(17)]
    assert sessions.size == 4 * EMPTY
    assert sessions.surplus(lambda name: name.startswith("closed")) == []
