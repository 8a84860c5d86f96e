"""The heatmaps."""

import base64

import numpy as np
import pytest

from app.render.figures import heat_card
from app.render.figures.heat import WINDOW
from app.render.token_text import token
from app.render.view_state import HEAT_QUANTITIES
from dola_core.contrast import LN_2
from tests.app.looking import inspecting
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
    expected = [1 - s.layer_entropy[9] / np.log(forked.model.vocab_size) for s in steps]
    assert z[9] == pytest.approx(expected, abs=1e-3)
    z, steps = cells("p(chosen)")
    assert z[-1] == pytest.approx([s.choices[0].p for s in steps], abs=1e-3)
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
