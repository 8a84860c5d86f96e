"""Clicks and keys: whatever a browser sends, a view comes out, and it can be shown."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.compare_tab import navigation
from app.render.figures import plausible_head_card
from app.render.inspection import Inspection
from app.render.view_state import MAX_PINNED, View
from app.ui.events import FIELDS

START = View(lane=1, index=2, layer=12, alpha=0.01)
MOVES = (
    navigation.to_token,
    navigation.to_step,
    navigation.to_cell(0),
    navigation.to_cell(1),
    navigation.to_layer,
    navigation.to_setting,
    navigation.pin,
    navigation.by_layers,
    navigation.to_difference(1),
    navigation.to_difference(-1),
)


@pytest.fixture
def look(forked):
    """A view of the trace as an inspection."""
    return lambda view: Inspection(forked, view)


def test_a_token_a_step_a_cell_and_a_layer_lead_where_they_say(look):
    assert navigation.to_token(look(START), {"lane": 0, "step": 4}) == replace(START, lane=0, index=3)
    assert navigation.to_step(look(START), {"x": 1}) == replace(START, index=0)
    assert navigation.to_cell(0)(look(START), {"x": 5, "y": 7}) == replace(START, lane=0, index=4, layer=7)
    assert navigation.to_cell(0)(look(START), {"x": 5, "y": 30}) == replace(START, lane=0, index=4)
    assert navigation.to_layer(look(START), {"x": 29}) == replace(START, layer=29)
    assert navigation.to_setting(look(START), {"x": 3, "y": "0.5"}) == replace(START, layer=3, alpha=0.5)


def test_a_cell_clicked_again_pins_its_first_choice_and_lets_it_go(look):
    view = replace(START, index=4, layer=7)
    click = {"x": 5, "y": 7}
    pinned = navigation.to_cell(1)(look(view), click)
    assert pinned == replace(view, pinned=(int(look(view).step.top_ids[6]),))
    assert navigation.to_cell(1)(look(pinned), click) == view
    assert navigation.to_cell(0)(look(view), click) == replace(view, lane=0)
    assert navigation.to_cell(1)(look(view), {"x": 5, "y": 30}) == view


def test_layers_stop_at_the_ends(look):
    assert navigation.by_layers(look(START), {"by": -1}).layer == 11
    assert navigation.by_layers(look(START), {"by": -100}).layer == 1
    assert navigation.by_layers(look(START), {"by": 100}).layer == 29


def test_differences_are_walked_one_by_one_and_end(look, forked):
    differ = [s.index for s in forked.lane_steps(1) if s.choices[0].id != s.choices[1].id]
    view, walked = replace(START, index=-1), []
    for _ in differ:
        view = navigation.to_difference(1)(look(view), {})
        walked.append(view.index)
    assert walked == differ
    assert navigation.to_difference(1)(look(view), {}) == view
    back = navigation.to_difference(-1)(look(replace(view, index=differ[-1] + 1)), {})
    assert back.index == differ[-1]


def test_a_token_is_pinned_let_go_and_the_oldest_gives_way(look, forked):
    tokens = list(forked.pieces)[: MAX_PINNED + 1]
    view = START
    for token in tokens:
        view = navigation.pin(look(view), {"custom": ["x", token]})
    assert view.pinned == tuple(tokens[1:])
    assert navigation.pin(look(view), {"custom": ["x", tokens[1]]}).pinned == tuple(tokens[2:])
    assert navigation.pin(look(view), {"custom": ["x", 10**9]}) == view


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()),
    st.dictionaries(st.text(), st.none()),
)  # fmt: skip


@pytest.mark.parametrize("move", MOVES)
@given(data=st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_whatever_the_browser_sends_there_is_a_view_that_can_be_shown(forked, move, data):
    view = move(Inspection(forked, START), data)
    assert view.lane in (0, 1)
    assert 1 <= view.layer < forked.model.n_layers
    assert 0.01 <= view.alpha <= 1
    seen = Inspection.of(forked, view)
    assert seen is not None
    assert plausible_head_card(seen)["figure"]["data"]
