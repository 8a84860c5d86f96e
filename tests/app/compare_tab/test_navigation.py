"""Clicks and keys: whatever a browser sends, a view comes out, and it can be shown."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.compare_tab import navigation as moves
from app.render.figures import head_card
from app.render.view_state import MAX_PINNED, View

START = View(lane=1, index=2, layer=12, alpha=0.01)
MOVES = (
    moves.to_token,
    moves.to_step,
    moves.to_cell(0),
    moves.to_cell(1),
    moves.to_layer,
    moves.to_setting,
    moves.pin,
    moves.by_layers,
    moves.to_difference(1),
    moves.to_difference(-1),
)


def test_a_token_a_step_a_cell_and_a_layer_lead_where_they_say(forked):
    assert moves.to_token(forked, START, {"lane": 0, "step": 4}) == replace(START, lane=0, index=3)
    assert moves.to_step(forked, START, {"x": 1}) == replace(START, index=0)
    assert moves.to_cell(0)(forked, START, {"x": 5, "y": 7}) == replace(START, lane=0, index=4, layer=7)
    assert moves.to_cell(0)(forked, START, {"x": 5, "y": 30}) == replace(START, lane=0, index=4)
    assert moves.to_layer(forked, START, {"x": 29}) == replace(START, layer=29)
    assert moves.to_setting(forked, START, {"x": 3, "y": "0.5"}) == replace(START, layer=3, alpha=0.5)


def test_a_cell_clicked_again_pins_its_first_choice_and_lets_it_go(forked):
    view = replace(START, index=4, layer=7)
    click = {"x": 5, "y": 7}
    pinned = moves.to_cell(1)(forked, view, click)
    assert pinned == replace(view, pinned=(int(view.step(forked).top_ids[6]),))
    assert moves.to_cell(1)(forked, pinned, click) == view
    assert moves.to_cell(0)(forked, view, click) == replace(view, lane=0)
    assert moves.to_cell(1)(forked, view, {"x": 5, "y": 30}) == view


def test_layers_stop_at_the_ends(forked):
    assert moves.by_layers(forked, START, {"by": -1}).layer == 11
    assert moves.by_layers(forked, START, {"by": -100}).layer == 1
    assert moves.by_layers(forked, START, {"by": 100}).layer == 29


def test_differences_are_walked_one_by_one_and_end(forked):
    differ = [s.index for s in forked.lane_steps(1) if s.choices[0].id != s.choices[1].id]
    view, walked = replace(START, index=-1), []
    for _ in differ:
        view = moves.to_difference(1)(forked, view, {})
        walked.append(view.index)
    assert walked == differ
    assert moves.to_difference(1)(forked, view, {}) == view
    back = moves.to_difference(-1)(forked, replace(view, index=differ[-1] + 1), {})
    assert back.index == differ[-1]


def test_a_token_is_pinned_let_go_and_the_oldest_gives_way(forked):
    tokens = list(forked.pieces)[: MAX_PINNED + 1]
    view = START
    for token in tokens:
        view = moves.pin(forked, view, {"custom": ["x", token]})
    assert view.pinned == tuple(tokens[1:])
    assert moves.pin(forked, view, {"custom": ["x", tokens[1]]}).pinned == tuple(tokens[2:])
    assert moves.pin(forked, view, {"custom": ["x", 10**9]}) == view


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()),
    st.dictionaries(st.text(), st.none()),
)  # fmt: skip


@pytest.mark.parametrize("move", MOVES)
@given(data=st.dictionaries(st.sampled_from(moves.FIELDS), ANYTHING))
def test_whatever_the_browser_sends_there_is_a_view_that_can_be_shown(forked, move, data):
    view = move(forked, START, data)
    assert view.lane in (0, 1)
    assert 1 <= view.layer < forked.model.n_layers
    assert 0.01 <= view.alpha <= 1
    seen = view.within(forked)
    assert seen is not None
    assert head_card(forked, seen)["figure"]["data"]
