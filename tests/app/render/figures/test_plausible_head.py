"""The chart of the plausible head."""

import numpy as np
import pytest

from app.render.figures import plausible_head_card
from app.render.figures.plausible_head import SHOWN
from app.render.token_text import token
from tests.app.looking import inspecting
from tests.app.render.figures.drawing import drawn


def token_names(inspection):
    return plausible_head_card(inspection)["figure"]["layout"]["yaxis"]["ticktext"]


def test_the_bars_show_the_probabilities_and_fade_outside_the_head(forked):
    inspection = inspecting(forked, layer=22, alpha=0.2)
    figure, head = drawn(plausible_head_card(inspection)), inspection.plausible_head
    q_n, q_j, p_hat = figure.data
    np.testing.assert_allclose(q_n.x[:5], head.q_N[:5], atol=1e-5)
    np.testing.assert_allclose(q_j.x[:5], head.q_J[:5], atol=1e-5)
    np.testing.assert_allclose(p_hat.x[:5], head.p_hat[:5], atol=1e-5)
    assert q_j.name == "q_22"
    assert len(q_n.x) >= SHOWN
    assert [o < 1 for o in q_n.marker.opacity[:5]] == (~head.kept[:5]).tolist()
    assert figure.layout.shapes[0].x0 == pytest.approx(0.2 * head.q_N.max())


def test_the_log_ratio_is_shown_in_nats_and_fades_outside_the_head(forked):
    inspection = inspecting(forked, plausible_head="log-ratio F")
    card, head = plausible_head_card(inspection), inspection.plausible_head
    (bars,) = drawn(card).data
    np.testing.assert_allclose(bars.x[:5], head.F[:5], atol=1e-5)
    assert [o < 1 for o in bars.marker.opacity[:5]] == (~head.kept[:5]).tolist()
    assert "no probability" in card["sub"]


def test_both_choices_are_marked_by_shape(forked):
    inspection = inspecting(forked)
    names = token_names(inspection)
    assert sum("●" in name for name in names) == 1
    assert sum("◆" in name for name in names) == 1
    dola = inspection.step.choices[1].id
    assert any("◆" in name and token(forked, dola) in name for name in names)


def test_an_arrow_shows_how_far_a_token_climbs_or_falls(forked):
    inspection = inspecting(forked)
    climbed = inspection.plausible_head.climbed
    assert (climbed > 0).any()
    for name, ranks in zip(token_names(inspection)[:SHOWN], climbed[:SHOWN], strict=True):
        assert (f"↑{ranks}" in name) == (ranks > 0)
        assert (f"↓{-ranks}" in name) == (ranks < 0)


def test_a_pinned_token_is_marked(forked):
    pinned = int(inspecting(forked).step.tokens[2])
    names = token_names(inspecting(forked, pinned=(pinned,)))
    assert [name.startswith("■") for name in names] == [i == 2 for i in range(len(names))]
