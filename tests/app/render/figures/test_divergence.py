"""The chart of the divergence over a text."""

import numpy as np
import pytest

from app.render.figures import divergence_card
from dola_core.display import format_number
from dola_core.lanes import DolaDynamic
from tests.app.looking import inspecting, looking
from tests.app.render.figures.drawing import drawn


def test_steps_where_the_choices_differ_are_marked(forked):
    inspection = inspecting(forked)
    line, marks = drawn(divergence_card(inspection)).data
    steps = forked.lane_steps(1)
    assert list(marks.x) == [s.index + 1 for s in steps if s.choices[0].id != s.choices[1].id]
    np.testing.assert_allclose(line.y, [s.jsd[inspection.focus_lane.layer - 1] for s in steps], atol=1e-4)


def test_the_marks_are_those_of_the_text_looked_at(forked):
    inspection = inspecting(forked, 0, lane=0)
    _, marks = drawn(divergence_card(inspection)).data
    assert list(marks.x) == [index + 1 for index in inspection.differing[0]]


@pytest.mark.parametrize("bucket", ["high", "all", "lower"])
def test_the_line_follows_the_layer_that_a_dynamic_lane_chooses(forked, bucket):
    lane = DolaDynamic(bucket=bucket, alpha=0.2).fitted(30, tied=False)
    inspection = inspecting(forked).at(looking(forked).with_lane(1, lane))
    card = divergence_card(inspection)
    line, _ = drawn(card).data
    steps = forked.lane_steps(1)
    chosen = [step.contrasted(lane) for step in steps]
    assert list(line.customdata) == chosen
    np.testing.assert_allclose(line.y, [s.jsd[j - 1] for s, j in zip(steps, chosen, strict=True)], atol=1e-4)
    named = [int(text) for text in line.text if text]
    assert named == [j for n, j in enumerate(chosen) if n == 0 or j != chosen[n - 1]]
    assert "DoLa-dynamic's layer" in card["sub"]
    assert "The layer's number stands where it changes." in card["more"]


def test_the_text_twin_names_the_highest_divergence_and_the_steps_that_differ(forked):
    inspection = inspecting(forked)
    jsd = [float(step.jsd[inspection.focus_lane.layer - 1]) for step in forked.lane_steps(1)]
    alt = divergence_card(inspection)["alt"]
    assert f"highest, {format_number(max(jsd))} nats, at step {1 + int(np.argmax(jsd))}," in alt
    steps = ", ".join(str(index + 1) for index in inspection.differing[1])
    assert alt.endswith(f"The choices differ at step {steps}.")
