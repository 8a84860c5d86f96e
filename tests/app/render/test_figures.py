import base64
import json
import re
from functools import partial

import numpy as np
import plotly.graph_objects as go
import pytest

from app.render.figures import head_card, heat_card, layer_card, map_card, spine_card, sweep_card
from app.render.figures.heat import WINDOW
from app.render.figures.step import SHOWN, Head
from app.render.figures.what_if import ALPHAS
from app.render.token_text import token
from app.render.view_state import HEAD_QUANTITIES, HEAT_QUANTITIES, LAYER_QUANTITIES
from dola_core.contrast import LN_2
from tests.app.looking import looking

CARDS = (
    head_card,
    layer_card,
    spine_card,
    partial(heat_card, lane=0),
    partial(heat_card, lane=1),
    map_card,
    sweep_card,
)


def drawn(card):
    """The figure of a card, checked by Plotly against its schema."""
    return go.Figure(card["figure"])


def test_the_head_is_read_from_the_recorded_numbers(forked):
    step = looking(forked).step(forked)
    head = Head.of(step, 22, 0.2, forked.decoding)
    assert head.kept.tolist() == (head.q_N >= 0.2 * head.q_N.max() * (1 - 1e-6)).tolist()
    assert head.p_hat[~head.kept].sum() == 0
    assert head.p_hat.sum() == pytest.approx(1)
    ratio = head.q_N[head.kept] / head.q_J[head.kept]
    np.testing.assert_allclose(head.p_hat[head.kept], ratio / ratio.sum(), rtol=1e-4)
    np.testing.assert_allclose(head.F[head.kept], np.log(ratio), atol=1e-4)


def test_what_climbs_in_the_head_and_what_falls():
    head = Head(
        tokens=np.array([7, 8, 9, 5]), q_N=np.array([0.4, 0.3, 0.2, 0.1]), q_J=np.zeros(4), F=np.zeros(4),
        p_hat=np.array([0.1, 0.3, 0.6, 0.0]), kept=np.array([True, True, True, False]), threshold=0.15, complete=True,
    )  # fmt: skip
    assert head.climbed.tolist() == [-2, 0, 2, 0]


def test_the_head_chart_shows_what_the_head_holds(forked):
    view = looking(forked, layer=22, alpha=0.2)
    figure = drawn(head_card(forked, view))
    q_n, q_j, p_hat = figure.data
    head = Head.of(view.step(forked), 22, 0.2, forked.decoding)
    np.testing.assert_allclose(q_n.x[:5], head.q_N[:5], atol=1e-5)
    np.testing.assert_allclose(q_j.x[:5], head.q_J[:5], atol=1e-5)
    np.testing.assert_allclose(p_hat.x[:5], head.p_hat[:5], atol=1e-5)
    assert q_j.name == "q_22"
    assert len(q_n.x) >= SHOWN
    assert [o < 1 for o in q_n.marker.opacity[:5]] == (~head.kept[:5]).tolist()
    assert figure.layout.shapes[0].x0 == pytest.approx(0.2 * head.q_N.max())


def test_the_log_ratio_is_shown_in_nats_and_greyed_where_cut(forked):
    view = looking(forked, head="log-ratio F")
    (bars,) = drawn(head_card(forked, view)).data
    head = Head.of(view.step(forked), view.layer, view.alpha, forked.decoding)
    np.testing.assert_allclose(bars.x[:5], head.F[:5], atol=1e-5)
    assert [o < 1 for o in bars.marker.opacity[:5]] == (~head.kept[:5]).tolist()
    assert "no probability" in head_card(forked, view)["sub"]


def test_both_choices_are_marked_by_shape_in_the_head_chart(forked):
    view = looking(forked)
    labels = head_card(forked, view)["figure"]["layout"]["yaxis"]["ticktext"]
    assert sum("●" in label for label in labels) == 1
    assert sum("◆" in label for label in labels) == 1
    dola = view.step(forked).choices[1].id
    assert any("◆" in label and token(forked, dola) in label for label in labels)


def test_a_token_that_climbs_says_how_far(forked):
    view = looking(forked)
    head = Head.of(view.step(forked), view.layer, view.alpha, forked.decoding)
    labels = head_card(forked, view)["figure"]["layout"]["yaxis"]["ticktext"]
    assert (head.climbed > 0).any()
    for label, climbed in zip(labels[:SHOWN], head.climbed[:SHOWN], strict=True):
        assert (f"↑{climbed}" in label) == (climbed > 0)
        assert (f"↓{-climbed}" in label) == (climbed < 0)


@pytest.mark.parametrize("card", CARDS)
def test_markup_in_a_token_stays_text(forked, card):
    nasty = forked.model_copy(update={"pieces": dict.fromkeys(forked.pieces, "<b>&x")})
    found = re.findall(r".?<b>", repr(card(trace=nasty, view=looking(nasty))["figure"]))
    assert not found


def test_the_layer_chart_runs_over_all_layers_and_ends_at_q_n(forked):
    view = looking(forked)
    step = view.step(forked)
    base, dola = drawn(layer_card(forked, view)).data
    assert list(base.x) == list(range(1, 31))
    assert base.y[-1] == pytest.approx(step.choices[0].p, abs=1e-4)
    head = Head.of(step, view.layer, view.alpha, forked.decoding)
    assert dola.y[view.layer - 1] == pytest.approx(head.q_J[step.place(step.choices[1].id)], abs=1e-5)
    assert base.line.dash != dola.line.dash
    assert base.marker.symbol != dola.marker.symbol


def test_ranks_through_the_layers_start_at_one_on_top(forked):
    view = looking(forked, layers="rank")
    figure = drawn(layer_card(forked, view))
    step = view.step(forked)
    for line, ranks, choice in zip(figure.data, step.rank_table, step.choices, strict=True):
        assert list(line.y) == ranks.tolist()
        assert line.y[-1] == choice.rank
    assert (figure.layout.yaxis.type, figure.layout.yaxis.autorange) == ("log", "reversed")
    assert figure.layout.yaxis.tickvals[:5] == (1, 2, 5, 10, 20)


def test_a_pinned_token_has_its_rank_in_every_layer(forked):
    view = looking(forked, layers="rank")
    step = view.step(forked)
    other = next(int(t) for t in step.tokens if t not in {c.id for c in step.choices})
    card = layer_card(forked, view.pin(other))
    *_, pinned = drawn(card).data
    assert list(pinned.y) == step.ranks_of(other).tolist()
    assert pinned.y[-1] == 1 + (step.tokens.tolist().index(other))
    assert "within 3 %" in card["sub"]


@pytest.mark.parametrize("quantity", ["probability", "rank"])
def test_a_pinned_token_that_was_not_recorded_stands_where_a_layer_has_it_on_top(forked, quantity):
    steps = range(len(forked.lane_steps(1)))
    views = (looking(forked, index, layers=quantity) for index in steps)
    view = next(view for view in views if not np.isin(view.step(forked).top_ids, view.step(forked).tokens).all())
    step = view.step(forked)
    stray = next(int(t) for t in step.top_ids if t not in step.tokens)
    card = layer_card(forked, view.pin(stray))
    *_, pinned = drawn(card).data
    assert [y is not None for y in pinned.y] == (step.top_ids == stray).tolist()
    first = int(np.flatnonzero(step.top_ids == stray)[0])
    assert pinned.y[first] == (1 if quantity == "rank" else pytest.approx(float(step.top_p[first]), abs=1e-3))
    assert "not recorded" in card["sub"]
    nowhere = next(t for t in forked.pieces if t not in {*step.tokens, *step.top_ids})
    assert len(drawn(layer_card(forked, view.pin(nowhere))).data) == 2


def test_a_pinned_token_gets_a_line_of_its_own(forked):
    view = looking(forked)
    step = view.step(forked)
    other = next(int(t) for t in step.tokens if t not in {c.id for c in step.choices})
    *lanes, pinned = drawn(layer_card(forked, view.pin(other))).data
    assert len(lanes) == 2
    assert token(forked, other) in pinned.name
    np.testing.assert_allclose(pinned.y, np.exp(step.log_q_table[step.place(other)]), atol=1e-5)
    assert pinned.line.color not in {line.line.color for line in lanes}
    assert len(drawn(layer_card(forked, view.pin(other).pin(other))).data) == 2


def test_a_pinned_token_that_a_step_has_not_recorded_is_named(forked):
    view = looking(forked)
    missing = next(t for t in forked.pieces if t not in view.step(forked).tokens)
    assert (
        f"not recorded at this step but where it comes first: “{token(forked, missing)}”"
        in layer_card(forked, view.pin(missing))["sub"]
    )
    assert "not recorded" not in layer_card(forked, view)["sub"]


@pytest.mark.parametrize("quantity", HEAT_QUANTITIES)
def test_a_heatmap_shows_every_layer_at_a_window_of_steps_on_a_scale_from_0_to_1(forked, quantity):
    view = looking(forked, heat=quantity)
    for lane in (0, 1):
        cells, whole = drawn(heat_card(forked, lane, view)).data
        bytes_ = np.frombuffer(base64.b64decode(whole.z["bdata"]), np.uint8).reshape(30, -1)
        assert bytes_.shape[1] == len(forked.lane_steps(lane))
        np.testing.assert_allclose(bytes_[:, np.array(cells.x) - 1] / 255, cells.z, atol=1 / 255)
        steps = [forked.lane_steps(lane)[x - 1] for x in cells.x]
        assert np.shape(cells.z) == (30, len(steps))
        assert 0 < len(steps) <= WINDOW
        assert view.index + 1 in cells.x
        assert (cells.zmin, cells.zmax) == (0, 1)
        assert np.min(cells.z) >= 0
        assert np.max(cells.z) <= 1
        named = [[token(forked, int(i)) for i in step.top_ids] for step in steps]
        shown = [[name for name, _ in row] for row in np.transpose(cells.customdata, (1, 0, 2)).tolist()]
        assert [[name.replace("&lt;", "<") for name in row] for row in shown] == named
        last = np.array(cells.z)[-1]
        if quantity == "JSD":
            assert last == pytest.approx(1)  # the last layer does not differ from itself
            assert np.array(cells.z)[9] == pytest.approx([1 - s.jsd[9] / LN_2 for s in steps], abs=1e-3)
        elif quantity == "rank":
            assert all((s.choices[lane].rank == 1) == (z == 1) for s, z in zip(steps, last, strict=True))
        elif quantity == "p(chosen)" and lane == 0:
            assert last == pytest.approx([s.choices[0].p for s in steps], abs=1e-3)


def test_both_heatmaps_scroll_together_and_both_keep_to_their_texts(forked):
    for index in (0, 5, len(forked.lane_steps(1)) - 1):
        view = looking(forked, index)
        ranges = [drawn(heat_card(forked, lane, view)).layout.xaxis.range for lane in (0, 1)]
        assert ranges[0] == ranges[1]
        assert ranges[0][0] < index + 1 < ranges[0][1]
        figures = [heat_card(forked, lane, view)["figure"]["layout"] for lane in (0, 1)]
        assert figures[0]["xaxis2"]["range"] == figures[1]["xaxis2"]["range"]
        window = next(shape for shape in figures[0]["shapes"] if shape.get("xref") == "x2")
        assert [window["x0"], window["x1"]] == list(ranges[0])


def test_the_spine_marks_the_steps_where_the_choices_differ(forked):
    view = looking(forked)
    line, marks = drawn(spine_card(forked, view)).data
    steps = forked.lane_steps(1)
    assert list(marks.x) == [s.index + 1 for s in steps if s.choices[0].id != s.choices[1].id]
    np.testing.assert_allclose(line.y, [s.jsd[view.layer - 1] for s in steps], atol=1e-4)


def test_the_map_says_for_every_setting_what_dola_would_choose(forked):
    view = looking(forked)
    step = view.step(forked)
    (cells,) = drawn(map_card(forked, view)).data
    for row, alpha in enumerate(ALPHAS):
        for layer in range(1, 30):
            if alpha >= step.exact_alpha:
                named = token(forked, step.what_if(layer, alpha, forked.decoding)).replace("<", "&lt;")
                assert cells.text[row][layer - 1] == named
                same = cells.z[row][layer - 1] == cells.z[-1][0]
                assert same == (named == cells.text[-1][0])
            else:
                assert cells.z[row][layer - 1] is None
    assert set(cells.text[-1]) == {token(forked, step.choices[0].id)}, "at α = 1 the head is the argmax"


def test_the_map_crosses_the_present_setting(forked):
    at_row = {alpha: drawn(map_card(forked, looking(forked, alpha=alpha))).layout.annotations[-1].y for alpha in ALPHAS}
    assert list(at_row.values()) == pytest.approx(list(range(len(ALPHAS))))
    between = drawn(map_card(forked, looking(forked, layer=3, alpha=0.4))).layout.annotations[-1]
    assert (between.x, round(between.y)) == (3, 7)
    assert 6 < between.y < 7


def test_the_sweep_counts_what_would_change_against_the_run(forked):
    view = looking(forked, alpha=0.1)
    (bars,) = drawn(sweep_card(forked, view)).data
    steps = [s for s in forked.lane_steps(1) if s.exact_alpha <= 0.1]
    for layer in (1, 12, 29):
        changed = sum(s.what_if(layer, 0.1, forked.decoding) != s.choices[1].id for s in steps)
        assert bars.y[layer - 1] == changed
    assert sum(colour != bars.marker.color[0] for colour in bars.marker.color) == 1


def test_cards_say_which_norm_they_use(forked, compared):
    raw = compared(decoding={"early_norm": False})
    for card in (head_card, layer_card, partial(heat_card, lane=1)):
        assert "through the final norm" in card(trace=forked, view=looking(forked))["sub"]
        assert "raw, without the norm" in card(trace=raw, view=looking(raw))["sub"]


@pytest.mark.parametrize("card", CARDS)
def test_every_chart_has_a_text_twin_and_is_plain_json(forked, card):
    made = card(trace=forked, view=looking(forked))
    assert made["alt"].endswith(".")
    assert json.loads(json.dumps(made["figure"], allow_nan=False)) == made["figure"]


@pytest.mark.parametrize("card", CARDS)
def test_charts_never_need_a_model_only_a_trace(forked, card):
    copy = type(forked).model_validate_json(forked.to_json())
    assert repr(card(trace=copy, view=looking(copy))) == repr(card(trace=forked, view=looking(forked)))


@pytest.mark.parametrize("position", ["before", "after"])
def test_the_longest_p_hat_bar_is_the_choice_under_a_penalty(compared, position):
    decoding = {"repetition_penalty": 1.5, "penalty_position": position, "max_new_tokens": 40}
    trace = compared("Canberra Canberra is", alpha=0.05, decoding=decoding)
    for step in trace.lane_steps(1):
        if step.exact_alpha <= 0.05:
            head = Head.of(step, 22, 0.05, trace.decoding)
            assert head.tokens[head.p_hat.argmax()] == step.choices[1].id
            assert head.p_hat.max() == pytest.approx(step.choices[1].p, rel=1e-3)


KINDS = list(zip(HEAD_QUANTITIES * 2, LAYER_QUANTITIES * 2, HEAT_QUANTITIES, strict=True))


@pytest.mark.parametrize(("head", "layers", "heat"), KINDS)
@pytest.mark.parametrize("decoding", [{"temperature": 1.5, "seed": 3}, {"repetition_penalty": 1.3}, {"num_beams": 3}])
def test_every_chart_of_every_kind_of_run_is_one_that_plotly_takes(compared, decoding, head, layers, heat):
    trace = compared(decoding=decoding)
    for index in range(len(trace.lane_steps(1))):
        view = looking(trace, index, head=head, layers=layers, heat=heat)
        for card in CARDS:
            drawn(card(trace=trace, view=view))
