"""What holds for every chart of a trace."""

import json
import re
from functools import partial

import pytest

from app.language import CODES, language
from app.render.figures import (
    changed_by_layer_card,
    divergence_card,
    heat_card,
    layer_card,
    map_card,
    plausible_head_card,
)
from app.render.view_state import CANDIDATE_SETS, HEAT_QUANTITIES, LAYER_QUANTITIES, PLAUSIBLE_HEAD_QUANTITIES
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
ONE_LINE = 60
"""Characters of 12 px that a card of 378 px holds."""


@pytest.mark.parametrize("card", CARDS)
def test_markup_in_a_token_stays_text(forked, card):
    nasty = forked.model_copy(update={"pieces": dict.fromkeys(forked.pieces, "<b>&x")})
    assert not re.findall(r".?<b>", repr(card(inspecting(nasty))["figure"]))


@pytest.mark.parametrize("name", ["<b>&x", "<a href='javascript:alert(1)'>x</a>", "%{x}${alert(1)}"])
@pytest.mark.parametrize("card", CARDS)
def test_markup_in_the_name_that_a_file_gives_a_lane_stays_text(forked, card, name):
    lanes = tuple(lane.model_copy(update={"name": name}) for lane in forked.lanes)
    drawing = repr(card(inspecting(forked.model_copy(update={"lanes": lanes})))["figure"])
    assert not re.findall("<b>|<a ", drawing)
    assert "%{x}${" not in re.sub("'name': '[^']*'", "", drawing), "only hover texts are templates, no names"


def test_cards_name_the_norm_that_early_layers_were_read_with(forked, compared):
    raw = compared(decoding={"early_norm": False})
    for card in (plausible_head_card, layer_card, partial(heat_card, lane=0)):
        assert "Early layers are read through the final norm." in card(inspecting(forked))["more"]
        assert "Early layers are read raw, without the final norm." in card(inspecting(raw))["more"]


@pytest.mark.parametrize("card", CARDS)
def test_every_chart_has_a_text_twin_and_is_plain_json(forked, card):
    made = card(inspecting(forked))
    assert made["alt"].endswith(".")
    assert json.loads(json.dumps(made, allow_nan=False)) == made


@pytest.mark.parametrize("card", CARDS)
def test_charts_need_no_model_only_a_trace(forked, card):
    copy = type(forked).model_validate_json(forked.to_json())
    assert repr(card(inspecting(copy))) == repr(card(inspecting(forked)))


KINDS = list(
    zip(
        PLAUSIBLE_HEAD_QUANTITIES * 2,
        (*LAYER_QUANTITIES, LAYER_QUANTITIES[0]),
        HEAT_QUANTITIES,
        CANDIDATE_SETS * 2,
        strict=True,
    )
)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("plausible_head", "layers", "heat", "candidates"), KINDS)
def test_a_caption_is_one_short_line_and_what_clicks_do_stands_apart(
    forked, code, plausible_head, layers, heat, candidates
):
    look = {"plausible_head": plausible_head, "layers": layers, "heat": heat, "candidates": candidates}
    inspection = inspecting(forked, words=language(code), **look)
    for number, card in enumerate(CARDS):
        made = card(inspection)
        assert 0 < len(made["title"]) < 40
        assert not re.search("[;；]", made["title"])
        assert len(made["sub"]) <= ONE_LINE
        assert bool(made["sub"] and made["hints"]) is (number != 4), "one caption for both heatmaps"
        assert not re.search("(?i)click|点击", " ".join([made["sub"], made["alt"], *made["more"]]))
        assert all(re.search("(?i)click|点击", hint) for hint in made["hints"])
        assert all(text[-1] in ".。" for text in (*made["more"], *made["hints"]))


@pytest.mark.parametrize(("plausible_head", "layers", "heat", "candidates"), KINDS)
@pytest.mark.parametrize("decoding", [{"temperature": 1.5, "seed": 3}, {"repetition_penalty": 1.3}, {"num_beams": 3}])
def test_plotly_accepts_every_chart_of_every_kind_of_run(compared, decoding, plausible_head, layers, heat, candidates):
    trace = compared(decoding=decoding)
    look = {"plausible_head": plausible_head, "layers": layers, "heat": heat, "candidates": candidates}
    for index in range(len(trace.lane_steps(1))):
        inspection = inspecting(trace, index, **look)
        for card in CARDS:
            drawn(card(inspection))


def test_charts_of_one_step_count_in_the_singular_and_have_whole_ticks(compared):
    trace = compared(decoding={"max_new_tokens": 1})
    divergence, changed = divergence_card(inspecting(trace)), changed_by_layer_card(inspecting(trace))
    assert "At the only step" in divergence["alt"]
    assert list(drawn(divergence).layout.xaxis.tickvals) == [1]
    assert "the one choice" in changed["sub"]
    assert drawn(changed).layout.yaxis.dtick == 1
