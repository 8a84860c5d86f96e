"""The chart of the divergence over a text."""

import numpy as np

from app.render.figures import divergence_card
from tests.app.looking import inspecting
from tests.app.render.figures.drawing import drawn


def test_steps_where_the_choices_differ_are_marked(forked):
    inspection = inspecting(forked)
    line, marks = drawn(divergence_card(inspection)).data
    steps = forked.lane_steps(1)
    assert list(marks.x) == [s.index + 1 for s in steps if s.choices[0].id != s.choices[1].id]
    np.testing.assert_allclose(line.y, [s.jsd[inspection.view.layer - 1] for s in steps], atol=1e-4)


def test_the_marks_are_those_of_the_text_looked_at(forked):
    inspection = inspecting(forked, 0, lane=0)
    _, marks = drawn(divergence_card(inspection)).data
    assert list(marks.x) == [index + 1 for index in inspection.differing[0]]
