"""Clicks and keys: whatever a browser sends, a view comes out, and it can be shown."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.render.figures import plausible_head_card
from app.render.inspection import Inspection
from app.render.view_state import MAX_PINNED, View
from app.tabs.compare import navigation
from app.ui.events import FIELDS
from dola_core.lanes import Baseline, DolaDynamic, DolaStatic

LANES = Baseline(), DolaStatic(layer=12, alpha=0.01)
START = View(lane=1, index=2, lanes=LANES)
MOVES = (
    navigation.to_token,
    navigation.to_step,
    navigation.to_cell(0),
    navigation.to_cell(1),
    navigation.to_cell(3),
    navigation.to_layer,
    navigation.to_setting,
    navigation.pin,
    navigation.by_layers,
    navigation.to_difference(1),
    navigation.to_difference(-1),
    navigation.by_steps(1),
    navigation.back,
    navigation.reset,
    navigation.at_bar,
)


def at(view, **values):
    """A view with other values of the second lane."""
    return view.with_lane(1, view.lanes[1].model_copy(update=values))


@pytest.fixture
def look(forked):
    """A view of the trace as an inspection."""
    return lambda view: Inspection(forked, view)


def test_a_token_a_step_a_cell_and_a_layer_lead_where_they_say(look):
    assert navigation.to_token(look(START), {"lane": 0, "step": 4}) == replace(START, lane=0, index=3)
    assert navigation.to_step(look(START), {"x": 1}) == replace(START, index=0)
    assert navigation.to_cell(0)(look(START), {"x": 5, "y": 7}) == at(replace(START, lane=0, index=4), layer=7)
    assert navigation.to_cell(0)(look(START), {"x": 5, "y": 30}) == replace(START, lane=0, index=4)
    assert navigation.to_layer(look(START), {"x": 29}) == at(START, layer=29)
    assert navigation.to_setting(look(START), {"x": 3, "y": "0.5"}) == at(START, layer=3, alpha=0.5)


def test_a_cell_clicked_again_pins_its_first_choice_and_lets_it_go(look):
    view = at(replace(START, index=4), layer=7)
    click = {"x": 5, "y": 7}
    pinned = navigation.to_cell(1)(look(view), click)
    assert pinned == replace(view, pinned=(int(look(view).step.top_ids[6]),))
    assert navigation.to_cell(1)(look(pinned), click) == view
    assert navigation.to_cell(0)(look(view), click) == replace(view, lane=0)
    assert navigation.to_cell(1)(look(view), {"x": 5, "y": 30}) == view


def test_a_bucket_of_the_map_makes_the_lane_dynamic_and_a_layer_makes_it_static_again(look):
    chosen = navigation.to_setting(look(START), {"x": "high", "y": "M_t", "custom": ["high", "20"]})
    assert chosen.lanes[1] == DolaDynamic(bucket="high", alpha=0.01).fitted(30, tied=True)
    assert navigation.by_layers(look(chosen), {"by": 1}) == chosen, "it has no j* to move"
    assert navigation.to_cell(1)(look(chosen), {"x": 5, "y": 7}) == replace(chosen, index=4)
    assert navigation.to_layer(look(chosen), {"x": 9}).lanes[1] == DolaStatic(layer=9, alpha=0.01)
    back = navigation.to_setting(look(chosen), {"x": 3, "y": "0.5"})
    assert back.lanes[1] == DolaStatic(layer=3, alpha=0.5)


def test_a_cell_of_the_map_is_taken_with_what_the_map_was_drawn_with(compared):
    """The trace has not read the layers with the plain lane's own penalty, so the map is without it."""
    trace = compared(lanes=(Baseline(), Baseline(repetition_penalty=1.5)), decoding={"max_new_tokens": 4})
    inspection = Inspection.of(trace, View(lane=1, index=0, lanes=trace.lanes))
    for click in ({"x": 7, "y": "1"}, {"custom": ["high", "20"]}):
        taken = navigation.to_setting(inspection, click)
        after = inspection.at(taken)
        assert after.is_told(1)
        assert after.focus == 1
        assert taken.lanes[1].repetition_penalty is None


def test_layers_stop_at_the_ends(look):
    assert navigation.by_layers(look(START), {"by": -1}).lanes[1].layer == 11
    assert navigation.by_layers(look(START), {"by": -100}).lanes[1].layer == 1
    assert navigation.by_layers(look(START), {"by": 100}).lanes[1].layer == 29


def test_differences_are_walked_over_both_texts_one_by_one_and_end(look):
    places = look(START).differences
    assert {lane for lane, _ in places} == {0, 1}
    view, walked = replace(START, lane=0, index=-1), []
    for _ in places:
        view = navigation.to_difference(1)(look(view), {})
        walked.append((view.lane, view.index))
    assert walked == places
    assert navigation.to_difference(1)(look(view), {}) == view
    # Backwards, the second text's own underlined choices count, the shared one among them.
    own = [(1, index) for index in look(START).differing[1]]
    for place in reversed([*(place for place in places if place[0] == 0), *own][:-1]):
        view = navigation.to_difference(-1)(look(view), {})
        assert (view.lane, view.index) == place


def test_the_bar_steps_walks_goes_back_and_resets(look):
    moved = at(START, layer=3, alpha=0.5, beta=0.5)
    assert navigation.at_bar(look(START), {"text": "step", "by": 1}) == replace(START, index=3)
    assert navigation.at_bar(look(START), {"text": "step", "by": -1}) == replace(START, index=1)
    assert navigation.at_bar(look(moved), {"text": "back"}) == START
    assert navigation.at_bar(look(moved), {"text": "reset", "custom": [1, "layer"]}) == at(moved, layer=12)
    assert navigation.at_bar(look(moved), {"text": "reset", "custom": [1, "alpha"]}) == at(moved, alpha=0.01)
    for wrong in ([0, "layer"], [9, "layer"], [1, "name"], [1], "layer", [True, "layer"]):
        assert navigation.at_bar(look(moved), {"text": "reset", "custom": wrong}) == moved
    assert navigation.at_bar(look(moved), {"text": "nonsense", "by": 1}) == moved


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
    for lane in view.lanes:
        assert all(0 <= layer < forked.model.n_layers for layer in lane.reads)
        assert lane.least_share == 0 or 0.01 <= lane.least_share <= 1
    seen = Inspection.of(forked, view)
    assert seen is not None
    assert plausible_head_card(seen)["figure"]["data"]
