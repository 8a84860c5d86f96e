"""The heatmaps."""

import base64

import numpy as np
import pytest

from app.render.figures import heat_card
from app.render.figures.heat import MANY, NARROW_WINDOW, ROW, WINDOW
from app.render.figures.shades import shade
from app.render.view_state import HEAT_QUANTITIES
from dola_core.contrast import LN_2
from dola_core.display import format_number
from dola_core.lanes import DolaDynamic
from dola_core.trace.token_text import token
from tests.app.looking import inspecting, looking
from tests.app.render.figures.drawing import drawn


@pytest.mark.parametrize("quantity", HEAT_QUANTITIES)
def test_a_heatmap_shows_every_layer_at_a_window_of_steps_on_a_scale_from_0_to_1(forked, quantity):
    inspection = inspecting(forked, heat=quantity)
    for lane in (0, 1):
        cells, overview = drawn(heat_card(inspection, lane)).data
        bytes_ = np.frombuffer(base64.b64decode(overview.z["bdata"]), np.uint8).reshape(30, -1)
        assert bytes_.shape[1] == len(forked.lane_steps(lane))
        np.testing.assert_allclose(bytes_[:, np.array(cells.x) - 1] / 255, cells.z, atol=1 / 255)
        steps = [forked.lane_steps(lane)[x - 1] for x in cells.x]
        assert np.shape(cells.z) == (30, len(steps))
        assert 0 < len(steps) <= WINDOW
        assert inspection.view.index + 1 in cells.x
        assert (cells.zmin, cells.zmax) == (0, 1)
        assert np.min(cells.z) >= 0
        assert np.max(cells.z) <= 1
        named = [[token(forked, int(i)) for i in step.top_ids] for step in steps]
        shown = [[name for name, _ in row] for row in np.transpose(cells.customdata, (1, 0, 2)).tolist()]
        assert [[name.replace("&lt;", "<") for name in row] for row in shown] == named


def test_the_colours_are_those_of_the_recorded_numbers(forked):
    def cells(quantity, lane=0):
        cells, _ = drawn(heat_card(inspecting(forked, heat=quantity), lane)).data
        return np.array(cells.z), [forked.lane_steps(lane)[x - 1] for x in cells.x]

    z, steps = cells("JSD")
    assert z[-1] == pytest.approx(1)  # the last layer does not differ from itself
    assert z[9] == pytest.approx([1 - s.jsd[9] / LN_2 for s in steps], abs=1e-3)
    z, steps = cells("entropy")
    assert z[9] == pytest.approx(shade("entropy", np.array([s.layer_entropy[9] for s in steps])), abs=1e-3)
    z, steps = cells("p(chosen)")
    assert z[-1] == pytest.approx(shade("p(chosen)", np.array([s.choices[0].p for s in steps])), abs=1e-3)
    z, steps = cells("rank", lane=1)
    assert [s.choices[1].rank == 1 for s in steps] == (z[-1] == 1).tolist()


def test_both_heatmaps_scroll_together_and_both_keep_to_their_texts(forked):
    for index in (0, 5, len(forked.lane_steps(1)) - 1):
        inspection = inspecting(forked, index)
        cards = [heat_card(inspection, lane) for lane in (0, 1)]
        ranges = [drawn(card).layout.xaxis.range for card in cards]
        assert ranges[0] == ranges[1]
        assert ranges[0][0] < index + 1 < ranges[0][1]
        layouts = [card["figure"]["layout"] for card in cards]
        assert layouts[0]["xaxis2"]["range"] == layouts[1]["xaxis2"]["range"]
        window = next(shape for shape in layouts[0]["shapes"] if shape.get("xref") == "x2")
        assert [window["x0"], window["x1"]] == list(ranges[0])


@pytest.mark.parametrize("lane", [0, 1])
def test_a_step_line_shows_the_layer_that_a_dynamic_lane_chooses_over_cells_and_overview(forked, lane):
    dynamic = DolaDynamic(bucket="all", alpha=0.2).fitted(30, tied=False)
    inspection = inspecting(forked).at(looking(forked).with_lane(1, dynamic))
    card = heat_card(inspection, lane)
    near, whole = [line for line in drawn(card).data if line.name == "M_t"]
    chosen = [step.contrasted(dynamic) for step in forked.lane_steps(lane)]
    assert list(whole.y) == [chosen[0], *chosen, chosen[-1]]
    assert list(whole.x) == [0.5, *range(1, len(chosen) + 1), len(chosen) + 0.5]
    shown = [int(x) - 1 for x in near.x[1:-1]]
    assert list(near.y[1:-1]) == [chosen[index] for index in shown]
    assert near.line.shape == whole.line.shape == "hvh"
    told = heat_card(inspection, 0)["more"]
    assert "The line is M_t, the layer chosen at each step." in told


def test_the_contrast_layer_is_named_in_the_margin_and_its_row_framed(forked):
    for layer in (3, 22):
        layout = drawn(heat_card(inspecting(forked, layer=layer), 1)).layout
        (note,) = [note for note in layout.annotations if note.xref == "paper" and note.x == 0]
        assert (note.text, note.y, note.xanchor) == (f"j* = {layer} ▸", layer, "right")
        (row,) = [shape for shape in layout.shapes if shape.xref == "x domain"]
        assert (row.type, row.y0, row.y1) == ("rect", layer - 0.5, layer + 0.5)


def test_moving_the_layer_changes_marks_only(forked):
    """So that the browser need not draw the cells again."""
    one, other = (heat_card(inspecting(forked, layer=layer), 1)["figure"] for layer in (10, 11))
    marks = ("shapes", "annotations", "meta")
    assert one["data"] == other["data"]
    assert {name for name in one["layout"] if one["layout"][name] != other["layout"][name]} == set(marks)


def test_a_phone_shows_fewer_steps_with_the_one_looked_at_among_them(forked):
    for index in (0, 5, len(forked.lane_steps(1)) - 1):
        layout = heat_card(inspecting(forked, index), 1)["figure"]["layout"]
        first, last = layout["meta"]["narrow"]["xaxis"]["range"]
        assert last - first == NARROW_WINDOW
        assert first < index + 1 < last
        assert layout["xaxis"]["range"][0] <= first
        assert last <= layout["xaxis"]["range"][1]
        window = next(shape for shape in layout["meta"]["narrow"]["shapes"] if shape.get("xref") == "x2")
        assert [window["x0"], window["x1"]] == [first, last]


def test_rows_are_high_enough_to_read(forked):
    layout, n = heat_card(inspecting(forked), 0)["figure"]["layout"], forked.model.n_layers
    inner = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
    first, last = layout["yaxis"]["domain"]
    assert n <= MANY
    assert inner * (last - first) / n == pytest.approx(ROW)


def test_one_caption_and_one_bar_of_shades_serve_all_heatmaps(forked):
    first, second = (heat_card(inspecting(forked), lane) for lane in (0, 1))
    assert first["scale"]["deep"] == "the same"
    assert (second["title"], second["sub"], second["more"], second["scale"]) == ("DoLa-static", "", [], None)


def test_the_text_twin_has_numbers_of_the_step_looked_at(forked):
    inspection = inspecting(forked, layer=22)
    step, alt = inspection.step, heat_card(inspection, 1)["alt"]
    assert f"At step {step.index + 1}: layer 1 {format_number(float(step.jsd[0]))}, first choice" in alt
    first = token(forked, int(step.top_ids[21]))
    assert f"layer 22 {format_number(float(step.jsd[21]))}, first choice {first}; layer 30 0" in alt
