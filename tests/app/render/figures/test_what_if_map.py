"""The map of the tokens that DoLa chooses for every (j*, α)."""

import numpy as np
import pytest

from app.render.figures import map_card
from app.render.figures.what_if_map import ALPHAS, area_name
from app.ui.palette import LIGHT
from dola_core.lanes import BUCKETS, DolaDynamic, DolaStatic
from dola_core.trace.step import NO_FLOATS
from dola_core.trace.token_text import token
from tests.app.looking import inspecting, looking
from tests.app.render.figures.drawing import drawn


def test_every_cell_is_what_dola_would_choose_there(forked):
    inspection = inspecting(forked)
    step = inspection.step
    cells, _ = drawn(map_card(inspection)).data
    for row, alpha in enumerate(ALPHAS):
        for layer in range(1, 30):
            if alpha >= step.exact_alpha:
                named = token(forked, step.what_if(DolaStatic(layer=layer, alpha=alpha), forked.decoding)).replace(
                    "<", "&lt;"
                )
                assert cells.text[row][layer - 1] == named
                same = cells.z[row][layer - 1] == cells.z[-1][0]
                assert same == (named == cells.text[-1][0])
            else:
                assert cells.z[row][layer - 1] is None
    only = {token(forked, step.choices[0].id)}
    assert set(cells.text[-1]) == only, "at α = 1 the plausible head is the argmax"


def test_a_cross_marks_the_present_setting(forked):
    def cross(**settings):
        return drawn(map_card(inspecting(forked, **settings))).layout.annotations[-1]

    assert [cross(alpha=alpha).y for alpha in ALPHAS] == pytest.approx(list(range(len(ALPHAS))))
    between = cross(layer=3, alpha=0.4)
    assert (between.x, round(between.y)) == (3, 7)
    assert 6 < between.y < 7


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.3}, {"alpha": 0.2, "beta": 0.5}])
def test_above_stands_what_dola_dynamic_would_choose_from_every_bucket(forked, settings):
    inspection = inspecting(forked, **settings)
    step, now = inspection.step, inspection.focus_lane
    card = map_card(inspection)
    _, row = drawn(card).data
    assert list(row.x) == list(BUCKETS)
    for place, bucket in enumerate(BUCKETS):
        lane = DolaDynamic(bucket=bucket, alpha=now.alpha, beta=now.beta).fitted(30, tied=False)
        if 0 in lane.reads or now.alpha < step.exact_alpha:
            assert row.z[0][place] is None, "the embeddings were not recorded"
        else:
            assert row.text[0][place] == token(forked, step.what_if(lane, forked.decoding)).replace("<", "&lt;")
            assert list(row.customdata[0][place]) == [bucket, str(step.contrasted(lane))]
            assert f"{bucket} {token(forked, step.what_if(lane, forked.decoding))}" in card["alt"]


def test_a_cross_marks_the_bucket_of_a_dynamic_lane(forked):
    lane = DolaDynamic(bucket="upper", alpha=0.2).fitted(30, tied=False)
    cross = drawn(map_card(inspecting(forked).at(looking(forked).with_lane(1, lane)))).layout.annotations[-1]
    assert (cross.xref, cross.x) == ("x2", BUCKETS.index("upper"))


def test_a_trace_that_does_not_tell_which_layer_would_be_chosen_has_no_such_row(forked):
    steps = tuple(step.model_copy(update={"closeness": NO_FLOATS}) for step in forked.steps)
    card = map_card(inspecting(forked.model_copy(update={"steps": steps})))
    assert len(drawn(card).data) == 1
    assert "bucket" not in " ".join([card["sub"], card["alt"], *card["more"]])


def area(rows, columns, width=29):
    """A map of token 0 with an area of token 1."""
    chosen = np.zeros((10, width), dtype=np.int64)
    chosen[rows, columns] = 1
    return chosen


def test_a_token_is_named_on_the_longest_stretch_of_its_area(forked):
    trace = forked.model_copy(update={"pieces": forked.pieces | {1: " a<b"}})
    chosen = area(4, slice(8, 20))
    chosen[2, 10:15] = chosen[6, 10:15] = 1
    name = area_name(trace, chosen, 1, LIGHT["dola"])
    assert (name["text"], name["x"], name["y"], name["xanchor"]) == ("␣a&lt;b", 14.5, 4, "center")
    assert name["font"]["color"] == LIGHT["card"]
    assert "bgcolor" not in name
    assert area_name(trace, chosen, 1, LIGHT["mute"])["bgcolor"] == LIGHT["card"]


def test_a_name_near_a_side_stays_within_the_map(forked):
    at_the_right = area_name(forked, area(0, slice(22, 29)), 1, LIGHT["dola"])
    assert (at_the_right["x"], at_the_right["xanchor"]) == (29.5, "right")
    at_the_left = area_name(forked, area(0, slice(0, 7)), 1, LIGHT["dola"])
    assert (at_the_left["x"], at_the_left["xanchor"]) == (0.5, "left")


def test_an_area_without_room_for_the_name_has_none(forked):
    trace = forked.model_copy(update={"pieces": forked.pieces | {1: " Hemisphere"}})
    assert area_name(trace, area(slice(0, 9), slice(8, 11)), 1, LIGHT["dola"]) is None
    assert area_name(trace, area(slice(0, 9), slice(8, 18)), 1, LIGHT["dola"]) is not None


def test_the_text_twin_says_who_wins_now_and_how_often(forked):
    inspection = inspecting(forked)
    cells = drawn(map_card(inspection)).data[0]
    now = token(forked, inspection.choices[1])
    won = sum(row.count(now) for row in map(list, cells.text))
    alt = map_card(inspection)["alt"]
    assert f"{now} {won}" in alt
    assert f"At j* = {inspection.focus_lane.layer}, α = {inspection.focus_lane.alpha:g} it is {now}." in alt
