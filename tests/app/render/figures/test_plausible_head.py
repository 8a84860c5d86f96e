"""The chart of the candidates."""

import numpy as np
import pytest

from app.render.figures import plausible_head_card
from app.render.figures.plausible_head import CUT, ROWS
from app.render.figures.style import HEIGHT, KEY_HEIGHT, small_number
from dola_core.trace.token_text import token
from tests.app.looking import inspecting
from tests.app.render.figures.drawing import drawn


def token_names(inspection):
    return plausible_head_card(inspection)["figure"]["layout"]["yaxis"]["ticktext"]


def test_the_bars_show_the_probabilities_and_fade_outside_the_head(forked):
    inspection = inspecting(forked, layer=22, alpha=0.2, candidates="all")
    figure, head = drawn(plausible_head_card(inspection)), inspection.plausible_head
    q_n, q_j, p_hat = figure.data
    np.testing.assert_allclose(q_n.x[:5], head.q_N[:5], atol=1e-5)
    np.testing.assert_allclose(q_j.x[:5], head.q_J[:5], atol=1e-5)
    np.testing.assert_allclose(p_hat.x[:5], head.p_hat[:5], atol=1e-5)
    assert q_j.name == "q_22"
    assert [o < 1 for o in q_n.marker.opacity[:5]] == (~head.kept[:5]).tolist()
    assert figure.layout.shapes[0].x0 == pytest.approx(0.2 * head.q_N.max())


def test_the_log_ratio_is_shown_in_nats_and_fades_outside_the_head(forked):
    inspection = inspecting(forked, plausible_head="log-ratio F", candidates="all")
    card, head = plausible_head_card(inspection), inspection.plausible_head
    (bars,) = drawn(card).data
    np.testing.assert_allclose(bars.x[:5], head.F[:5], atol=1e-5)
    assert [o < 1 for o in bars.marker.opacity[:5]] == (~head.kept[:5]).tolist()
    assert "nats" in card["sub"]
    assert any("a log-ratio, no probability" in text for text in card["more"])


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
    for name, ranks in zip(token_names(inspecting(forked, candidates="all")), climbed, strict=True):
        assert (f"↑{ranks}" in name) == (ranks > 0)
        assert (f"↓{-ranks}" in name) == (ranks < 0)


def test_a_pinned_token_is_marked(forked):
    pinned = int(inspecting(forked).step.tokens[2])
    names = token_names(inspecting(forked, pinned=(pinned,)))
    assert [name.startswith("■") for name in names] == [i == 2 for i in range(len(names))]


def rows_of(inspection):
    return [token_id for _, token_id, _ in plausible_head_card(inspection)["figure"]["data"][0]["customdata"]]


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.3, 1.0])
def test_at_first_there_are_the_kept_tokens_the_first_cut_ones_and_the_choices(forked, alpha):
    for index in range(len(forked.lane_steps(1))):
        inspection = inspecting(forked, index, alpha=alpha)
        head, shown = inspection.plausible_head, rows_of(inspection)
        kept = dict(zip(head.tokens.tolist(), head.kept.tolist(), strict=True))
        assert len(shown) <= ROWS
        assert set(inspection.choices) <= set(shown)
        assert sum(not kept[t] for t in shown if t not in inspection.choices) <= CUT
        assert shown == sorted(shown, key=head.tokens.tolist().index)
        if head.size + CUT <= ROWS:
            assert sum(kept[t] for t in shown) == head.size
        assert plausible_head_card(inspection)["figure"]["layout"]["height"] == HEIGHT - KEY_HEIGHT


def test_all_recorded_tokens_have_bars_on_demand_and_what_is_hidden_is_counted(compared):
    trace = compared(alpha=0.01, decoding={"temperature": 1.5, "seed": 3})
    steps = range(len(trace.lane_steps(1)))
    index = max(steps, key=lambda index: inspecting(trace, index).plausible_head.size)
    few, every = (inspecting(trace, index, candidates=which) for which in ("first", "all"))
    head, card = few.plausible_head, plausible_head_card(few)
    assert rows_of(every) == head.tokens.tolist()
    assert "not shown" not in " ".join(plausible_head_card(every)["more"])
    assert plausible_head_card(every)["figure"]["layout"]["height"] > HEIGHT
    hidden = [i for i, token_id in enumerate(head.tokens.tolist()) if token_id not in rows_of(few)]
    kept = int(head.kept[hidden].sum())
    assert kept > 1
    assert f"{kept} more kept tokens are not shown." in card["more"]


def test_the_axis_of_the_log_ratio_fits_the_kept_tokens_and_marks_longer_bars(forked):
    seen = False
    for index in range(len(forked.lane_steps(1))):
        inspection = inspecting(forked, index, alpha=0.3, plausible_head="log-ratio F", candidates="all")
        figure, head = drawn(plausible_head_card(inspection)), inspection.plausible_head
        low, high = figure.layout.xaxis.range
        assert max(high, -low) <= 1.09 * max(np.abs(head.F[head.kept]).max(), 1e-3)
        assert (low <= head.F[head.kept]).all()
        assert (head.F[head.kept] <= high).all()
        longer = np.flatnonzero((np.nan_to_num(head.F) < low) | (np.nan_to_num(head.F) > high)).tolist()
        assert [note.y for note in figure.layout.annotations] == longer
        seen |= bool(longer)
    assert seen, "no step has a cut token beyond the kept ones"


def test_the_text_twin_has_the_numbers_of_every_bar(forked):
    inspection = inspecting(forked, layer=22, alpha=0.2)
    head, alt = inspection.plausible_head, plausible_head_card(inspection)["alt"]
    n = head.size
    assert f"{n} tokens are kept" in alt or (n == 1 and "1 token is kept" in alt)
    q_N, q_J, p_hat = (small_number(float(np.log(v[0]))) for v in (head.q_N, head.q_J, head.p_hat))
    first = token(forked, int(head.tokens[0]))
    assert f"{first} (final layer {q_N}, layer 22 {q_J}, DoLa-static {p_hat})" in alt


def test_the_key_names_the_bars_as_they_are_coloured(forked):
    card = plausible_head_card(inspecting(forked, layer=22))
    assert [entry["text"] for entry in card["key"]] == ["final layer", "layer 22", "DoLa-static"]
    assert [entry["colour"] for entry in card["key"]] == [bars["marker"]["color"] for bars in card["figure"]["data"]]


def test_one_kept_token_is_told_in_the_singular(forked):
    card = plausible_head_card(inspecting(forked, alpha=1.0))
    assert "1 token kept" in card["sub"]
    assert card["alt"].startswith("1 token is kept")
