"""What holds for every chart of a trace."""

import json
import re
from functools import partial

import pytest

from app.render.figures import (
    changed_by_layer_card,
    divergence_card,
    heat_card,
    layer_card,
    map_card,
    plausible_head_card,
)
from app.render.view_state import HEAT_QUANTITIES, LAYER_QUANTITIES, PLAUSIBLE_HEAD_QUANTITIES
from tests.app.looking import inspecting
from tests.app.render.figures.drawing import drawn

CARDS = (
    plausible_head_card,
    layer_card,
    divergence_card,
    partial(heat_card, lane=0),
    partial(heat_card, lane=1),
    map_card,
    changed_by_layer_card,
)


@pytest.mark.parametrize("card", CARDS)
def test_markup_in_a_token_stays_text(forked, card):
    nasty = forked.model_copy(update={"pieces": dict.fromkeys(forked.pieces, "<b>&x")})
    assert not re.findall(r".?<b>", repr(card(inspecting(nasty))["figure"]))


def test_cards_name_the_norm_that_early_layers_were_read_with(forked, compared):
    raw = compared(decoding={"early_norm": False})
    for card in (plausible_head_card, layer_card, partial(heat_card, lane=1)):
        assert "through the final norm" in card(inspecting(forked))["sub"]
        assert "raw, without the norm" in card(inspecting(raw))["sub"]


@pytest.mark.parametrize("card", CARDS)
def test_every_chart_has_a_text_twin_and_is_plain_json(forked, card):
    made = card(inspecting(forked))
    assert made["alt"].endswith(".")
    assert json.loads(json.dumps(made["figure"], allow_nan=False)) == made["figure"]


@pytest.mark.parametrize("card", CARDS)
def test_charts_need_no_model_only_a_trace(forked, card):
    copy = type(forked).model_validate_json(forked.to_json())
    assert repr(card(inspecting(copy))) == repr(card(inspecting(forked)))


KINDS = list(zip(PLAUSIBLE_HEAD_QUANTITIES * 2, LAYER_QUANTITIES * 2, HEAT_QUANTITIES, strict=True))


@pytest.mark.parametrize(("plausible_head", "layers", "heat"), KINDS)
@pytest.mark.parametrize("decoding", [{"temperature": 1.5, "seed": 3}, {"repetition_penalty": 1.3}, {"num_beams": 3}])
def test_plotly_accepts_every_chart_of_every_kind_of_run(compared, decoding, plausible_head, layers, heat):
    trace = compared(decoding=decoding)
    for index in range(len(trace.lane_steps(1))):
        inspection = inspecting(trace, index, plausible_head=plausible_head, layers=layers, heat=heat)
        for card in CARDS:
            drawn(card(inspection))
