"""The chart of the candidates through the layers."""

import numpy as np
import pytest

from app.render.figures import layer_card
from app.render.token_text import token
from tests.app.looking import inspecting
from tests.app.render.figures.drawing import drawn


def recorded_besides_choices(step):
    return next(int(t) for t in step.tokens if t not in {choice.id for choice in step.choices})


def test_the_lines_run_over_all_layers_and_end_at_q_n(forked):
    inspection = inspecting(forked)
    step, layer = inspection.step, inspection.view.layer
    base, dola = drawn(layer_card(inspection)).data
    assert list(base.x) == list(range(1, 31))
    assert base.y[-1] == pytest.approx(step.choices[0].p, abs=1e-4)
    q_J = inspection.plausible_head.q_J
    assert dola.y[layer - 1] == pytest.approx(q_J[step.index_of(step.choices[1].id)], abs=1e-5)
    assert base.line.dash != dola.line.dash
    assert base.marker.symbol != dola.marker.symbol


def test_ranks_are_on_a_logarithmic_axis_with_one_on_top(forked):
    inspection = inspecting(forked, layers="rank")
    figure, step = drawn(layer_card(inspection)), inspection.step
    for line, ranks, choice in zip(figure.data, step.rank_table, step.choices, strict=True):
        assert list(line.y) == ranks.tolist()
        assert line.y[-1] == choice.rank
    assert (figure.layout.yaxis.type, figure.layout.yaxis.autorange) == ("log", "reversed")
    assert figure.layout.yaxis.tickvals[:5] == (1, 2, 5, 10, 20)


def test_a_pinned_token_has_its_rank_in_every_layer(forked):
    step = inspecting(forked).step
    other = recorded_besides_choices(step)
    card = layer_card(inspecting(forked, layers="rank", pinned=(other,)))
    *_, pinned = drawn(card).data
    assert list(pinned.y) == step.ranks_of(other).tolist()
    assert pinned.y[-1] == 1 + step.index_of(other)
    assert "within 3 %" in card["sub"]


@pytest.mark.parametrize("quantity", ["probability", "rank"])
def test_a_pinned_token_that_was_not_recorded_has_points_where_a_layer_has_it_first(forked, quantity):
    step = next(s for s in forked.lane_steps(1) if not np.isin(s.top_ids, s.tokens).all())
    stray = next(int(t) for t in step.top_ids if t not in step.tokens)
    card = layer_card(inspecting(forked, step.index, layers=quantity, pinned=(stray,)))
    *_, pinned = drawn(card).data
    assert [y is not None for y in pinned.y] == (step.top_ids == stray).tolist()
    first = int(np.flatnonzero(step.top_ids == stray)[0])
    assert pinned.y[first] == (1 if quantity == "rank" else pytest.approx(float(step.top_p[first]), abs=1e-3))
    assert "not recorded" in card["sub"]
    nowhere = next(t for t in forked.pieces if t not in {*step.tokens, *step.top_ids})
    assert len(drawn(layer_card(inspecting(forked, step.index, pinned=(nowhere,)))).data) == 2


def test_a_pinned_token_gets_a_line_of_its_own(forked):
    step = inspecting(forked).step
    other = recorded_besides_choices(step)
    *lanes, pinned = drawn(layer_card(inspecting(forked, pinned=(other,)))).data
    assert len(lanes) == 2
    assert token(forked, other) in pinned.name
    np.testing.assert_allclose(pinned.y, np.exp(step.log_q_table[step.index_of(other)]), atol=1e-5)
    assert pinned.line.color not in {line.line.color for line in lanes}


def test_a_pinned_token_that_a_lane_chooses_gets_no_second_line(forked):
    chosen = inspecting(forked).choices[1]
    assert len(drawn(layer_card(inspecting(forked, pinned=(chosen,)))).data) == 2


def test_a_pinned_token_that_a_step_has_not_recorded_is_named(forked):
    missing = next(t for t in forked.pieces if t not in inspecting(forked).step.tokens)
    note = f"not recorded at this step but where it comes first: “{token(forked, missing)}”"
    assert note in layer_card(inspecting(forked, pinned=(missing,)))["sub"]
    assert "not recorded" not in layer_card(inspecting(forked))["sub"]
