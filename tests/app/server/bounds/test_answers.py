"""Which answers are dropped that nobody fetches."""

from hypothesis import given
from hypothesis import strategies as st

from app.server.bounds.answers import KEPT_SECONDS, Unread, surplus_answers

TOTAL = 1000
WAITING = st.lists(
    st.builds(Unread, st.uuids().map(str), st.sampled_from("ABC"), st.floats(0, 2 * KEPT_SECONDS), st.integers(1, 400)),
    max_size=30,
)


@given(WAITING)
def test_what_is_kept_is_young_and_not_too_much(waiting):
    dropped = surplus_answers(waiting, TOTAL)
    kept = [one for one in waiting if one.session not in dropped]
    assert len(dropped) == len(set(dropped)) == len(waiting) - len(kept)
    assert sum(one.size for one in kept) <= TOTAL
    assert all(one.alone <= KEPT_SECONDS for one in kept)
    if sum(one.size for one in waiting if one.alone <= KEPT_SECONDS) <= TOTAL:
        assert {*dropped} == {one.session for one in waiting if one.alone > KEPT_SECONDS}


def test_one_address_that_leaves_much_unread_loses_its_own_oldest():
    much = [Unread(f"much {number}", "A", 10.0 - number, 200) for number in range(10)]
    assert surplus_answers([*much, Unread("little", "B", 50.0, 100)], TOTAL) == [f"much {n}" for n in range(6)]
