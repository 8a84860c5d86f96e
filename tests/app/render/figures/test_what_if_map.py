"""The map of the tokens that DoLa chooses for every (j*, α)."""

import pytest

from app.render.figures import map_card
from app.render.figures.what_if_map import ALPHAS
from app.render.token_text import token
from dola_core.lanes import DolaStatic
from tests.app.looking import inspecting
from tests.app.render.figures.drawing import drawn


def test_every_cell_is_what_dola_would_choose_there(forked):
    inspection = inspecting(forked)
    step = inspection.step
    (cells,) = drawn(map_card(inspection)).data
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
