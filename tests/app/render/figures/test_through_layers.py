"""The chart of the candidates through the layers."""

import re
from dataclasses import replace

import numpy as np
import pytest

from app.render.figures import layer_card
from app.render.figures.layer_gap import LayerGap, bracket, gap_of
from app.render.figures.style import short, small_number, times
from app.render.figures.through_layers import LEAST, LED, NAMED
from app.ui.palette import LIGHT
from dola_core.lanes import DolaDynamic, LinearContrast
from dola_core.trace.token_text import token
from tests.app.looking import inspecting, looking
from tests.app.render.figures.drawing import drawn


def recorded_besides_choices(step):
    return next(int(t) for t in step.tokens if t not in {choice.id for choice in step.choices})


def own_lines(figure):
    """The lines of the lanes' choices and of pinned tokens, which have marks."""
    return [line for line in figure.data if line.name[0] in "●◆■"]


def test_the_lines_run_over_all_layers_and_end_at_q_n(forked):
    inspection = inspecting(forked)
    step, layer = inspection.step, inspection.focus_lane.layer
    base, dola, *_ = drawn(layer_card(inspection)).data
    assert list(base.x) == list(range(1, 31))
    assert base.y[-1] == pytest.approx(step.choices[0].p, rel=1e-3)
    q_J = inspection.plausible_head.q_J
    assert dola.y[layer - 1] == pytest.approx(q_J[step.index_of(step.choices[1].id)], rel=1e-3)
    assert base.line.dash != dola.line.dash
    assert base.marker.symbol != dola.marker.symbol


def test_probabilities_below_the_scale_are_drawn_hollow_at_its_end_and_told_when_pointed_at(forked):
    inspection = inspecting(forked)
    tiny = inspection.step.log_q.copy()
    tiny[: forked.model.n_layers - 1] = np.log(3.4e-20)  # the first token, in all layers but the last
    step = inspection.step.model_copy(update={"log_q": tiny})
    steps = tuple(step if s is inspection.step else s for s in forked.steps)
    trace = forked.model_copy(update={"steps": steps})
    line = next(
        line
        for line in drawn(layer_card(inspecting(trace, pinned=(int(step.tokens[0]),)))).data
        if token(forked, int(step.tokens[0])).replace("<", "&lt;") in line.name
    )
    assert set(line.y[:-1]) == {LEAST}
    assert set(line.marker.color[:-1]) == {LIGHT["card"]}
    assert line.marker.color[-1] == line.line.color
    assert {read for _, read in line.customdata[:-1]} == {"3.4·10⁻²⁰"}
    linear = drawn(layer_card(inspecting(trace, layers="linear", pinned=(int(step.tokens[0]),))))
    assert {color for line in linear.data for color in line.marker.color}.isdisjoint({LIGHT["card"]})


def test_ranks_are_on_a_logarithmic_axis_with_one_on_top(forked):
    inspection = inspecting(forked, layers="rank")
    figure, step = drawn(layer_card(inspection)), inspection.step
    for line, ranks, choice in zip(figure.data[:2], step.rank_table, step.choices, strict=True):
        assert list(line.y) == ranks.tolist()
        assert line.y[-1] == choice.rank
    assert (figure.layout.yaxis.type, figure.layout.yaxis.autorange) == ("log", "reversed")
    assert figure.layout.yaxis.tickvals[:3] == (1, 10, 100)


def test_a_pinned_token_has_its_rank_in_every_layer(forked):
    step = inspecting(forked).step
    other = recorded_besides_choices(step)
    card = layer_card(inspecting(forked, layers="rank", pinned=(other,)))
    *_, pinned = own_lines(drawn(card))
    assert list(pinned.y) == step.ranks_of(other).tolist()
    assert pinned.y[-1] == 1 + step.index_of(other)
    assert any("within 3 %" in text for text in card["more"])


@pytest.mark.parametrize("quantity", ["log", "linear", "rank"])
def test_a_pinned_token_that_was_not_recorded_has_points_where_a_layer_has_it_first(forked, quantity):
    step = next(s for s in forked.lane_steps(1) if not np.isin(s.top_ids, s.tokens).all())
    stray = next(int(t) for t in step.top_ids if t not in step.tokens)
    card = layer_card(inspecting(forked, step.index, layers=quantity, pinned=(stray,)))
    *_, pinned = own_lines(drawn(card))
    assert [y is not None for y in pinned.y] == (step.top_ids == stray).tolist()
    first = int(np.flatnonzero(step.top_ids == stray)[0])
    assert pinned.y[first] == (1 if quantity == "rank" else pytest.approx(float(step.top_p[first]), abs=1e-3))
    assert any("Not recorded" in text for text in card["more"])
    nowhere = next(t for t in forked.pieces if t not in {*step.tokens, *step.top_ids})
    assert len(own_lines(drawn(layer_card(inspecting(forked, step.index, pinned=(nowhere,)))))) == 2


def test_a_pinned_token_gets_a_line_of_its_own(forked):
    step = inspecting(forked).step
    other = recorded_besides_choices(step)
    *lanes, pinned = own_lines(drawn(layer_card(inspecting(forked, layers="linear", pinned=(other,)))))
    assert len(lanes) == 2
    assert token(forked, other) in pinned.name
    np.testing.assert_allclose(pinned.y, np.exp(step.log_q_table[step.index_of(other)]), atol=1e-5)
    assert pinned.line.color not in {line.line.color for line in lanes}


def test_the_first_choices_of_layers_have_lines_of_their_own(forked):
    """At most two: that of the contrast layer, and that of most layers."""
    seen = set()
    for index in range(len(forked.lane_steps(1))):
        inspection = inspecting(forked, index)
        step, layer, card = inspection.step, inspection.focus_lane.layer, layer_card(inspection)
        lines = drawn(card).data
        led = [line for line in lines if line not in own_lines(drawn(card))]
        assert len(led) <= LED
        assert len(card["key"]) == len(lines) <= NAMED
        others = [t for t in step.top_ids.tolist() if t not in inspection.choices]
        leader = int(step.top_ids[layer - 1])
        if leader in others:
            name = short(token(forked, leader))
            assert card["key"][2]["text"] == f"{name} (led layer {layer})"
            assert led[0].y[layer - 1] == pytest.approx(float(step.top_p[layer - 1]), rel=2e-3)
            assert f"{token(forked, leader)} leads layer {layer} with {step.top_p[layer - 1]:.2f}." in card["alt"]
        assert len(led) == min(LED, len(set(others)))
        seen.add(len(led))
    assert seen > {0, 2}


def test_the_gap_at_the_contrast_layer_is_bracketed_and_explained(forked):
    inspection = inspecting(forked)
    step, layer = inspection.step, inspection.focus_lane.layer
    log_q = [step.log_q_table[step.index_of(choice.id), layer - 1] for choice in step.choices]
    factor = times(abs(float(log_q[0] - log_q[1])))
    card = layer_card(inspection)
    layout = drawn(card).layout
    assert layout.annotations[-1].text == f"× {factor}"
    (path,) = [shape.path for shape in layout.shapes if shape.type == "path"]
    ends = [float(y) for y in re.findall(r",(\S+)", path)]
    assert [min(ends), max(ends)] == pytest.approx(sorted(np.exp(log_q)), rel=1e-3)
    less, more = (token(forked, step.choices[n].id) for n in np.argsort(log_q))
    assert any(f"“{more}” is {factor} times as probable as “{less}”" in text for text in card["more"])
    assert not [shape for shape in drawn(layer_card(inspecting(forked, layers="rank"))).layout.shapes if shape.path]


def test_a_gap_too_small_to_be_seen_is_pointed_at():
    gap = LayerGap(22, 1, 2, log_q_less=-55.3, log_q_more=-44.8, beta=1.0)
    below = bracket(gap, least=LEAST, n_layers=30)
    assert below["shapes"] == []
    assert (below["annotations"][0]["text"], below["annotations"][0]["y"]) == ("× 36,316", -9)
    assert bracket(gap, least=1e-30, n_layers=30)["shapes"]


def test_a_weaker_contrast_is_said_to_lift_less(forked):
    gap = gap_of(inspecting(forked))
    told = replace(gap, beta=0.5).told(inspecting(forked))
    assert "to the power β = 0.5" in told
    assert f"{times(0.5 * (gap.log_q_more - gap.log_q_less))} times." in told
    assert "power" not in gap.told(inspecting(forked))
    half = inspecting(forked, beta=0.9)
    assert gap_of(half).beta == 0.9


def test_lanes_with_one_choice_have_no_gap(forked):
    same = next(s.index for s in forked.lane_steps(1) if s.choices[0].id == s.choices[1].id)
    assert gap_of(inspecting(forked, same)) is None


def test_the_text_twin_has_the_numbers_at_the_contrast_layer_and_in_the_last(forked):
    inspection = inspecting(forked)
    step, layer = inspection.step, inspection.focus_lane.layer
    alt = layer_card(inspection)["alt"]
    for at in (layer, 30):
        values = [
            f"{token(forked, choice.id)} {small_number(float(step.log_q_table[step.index_of(choice.id), at - 1]))}"
            for choice in step.choices
        ]
        assert f"at layer {at} {', '.join(values)}" in alt


def test_a_pinned_token_that_a_lane_chooses_gets_no_second_line(forked):
    chosen = inspecting(forked).choices[1]
    assert len(own_lines(drawn(layer_card(inspecting(forked, pinned=(chosen,)))))) == 2


def test_a_pinned_token_that_a_step_has_not_recorded_is_named(forked):
    missing = next(t for t in forked.pieces if t not in inspecting(forked).step.tokens)
    note = f"Not recorded at this step but where it comes first: “{token(forked, missing)}”."
    assert note in layer_card(inspecting(forked, pinned=(missing,)))["more"]
    assert "Not recorded" not in " ".join(layer_card(inspecting(forked))["more"])


def test_the_layer_that_is_chosen_is_marked_and_its_bucket_ticked(forked):
    lane = DolaDynamic(bucket="16-28/4", alpha=0.2).fitted(30, tied=False)
    inspection = inspecting(forked).at(looking(forked).with_lane(1, lane))
    layer = inspection.step.contrasted(lane)
    card = layer_card(inspection)
    figure = drawn(card)
    assert figure.layout.annotations[0].text == f"M_t = {layer}"
    assert [shape.x0 for shape in figure.layout.shapes if shape.type == "line"] == [layer, 16, 20, 24, 28]
    assert f"M_t = {layer} is the layer chosen here among 16, 20, 24, 28." in card["more"]


def test_every_layer_with_a_weight_is_marked(forked):
    lane = LinearContrast(weights={5: -0.5, 22: -0.5}, alpha=0.2)
    figure = drawn(layer_card(inspecting(forked).at(looking(forked).with_lane(1, lane))))
    assert [note.text for note in figure.layout.annotations] == ["5", "22"]
