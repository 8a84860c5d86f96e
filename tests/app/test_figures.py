import math

import numpy as np
import plotly.graph_objects as go
import pytest

from app.figures import Head, head_card, head_chart, layer_card, layer_chart, step_sentence
from app.words import token


def step_of(trace, index=None):
    return trace.lane_steps(1)[trace.fork if index is None else index]


def said(parts):
    return "".join(part["text"] for part in parts)


def test_the_head_is_read_from_the_recorded_numbers(forked):
    step = step_of(forked)
    head = Head.of(step, 22, 0.2, forked.decoding)
    assert head.kept.tolist() == (head.q_N >= 0.2 * head.q_N.max() * (1 - 1e-6)).tolist()
    assert head.p_hat[~head.kept].sum() == 0
    assert head.p_hat.sum() == pytest.approx(1)
    ratio = head.q_N[head.kept] / head.q_J[head.kept]
    np.testing.assert_allclose(head.p_hat[head.kept], ratio / ratio.sum(), rtol=1e-4)


def test_the_head_chart_shows_what_the_head_holds(forked):
    step = step_of(forked)
    figure = go.Figure(head_chart(forked, step, 22, 0.2))
    q_n, q_j, p_hat = figure.data
    head = Head.of(step, 22, 0.2, forked.decoding)
    np.testing.assert_allclose(q_n.x[:5], head.q_N[:5], atol=1e-5)
    np.testing.assert_allclose(q_j.x[:5], head.q_J[:5], atol=1e-5)
    np.testing.assert_allclose(p_hat.x[:5], head.p_hat[:5], atol=1e-5)
    assert q_j.name == "q_22"
    assert [o < 1 for o in q_n.marker.opacity[:5]] == (~head.kept[:5]).tolist()
    assert figure.layout.shapes[0].x0 == pytest.approx(0.2 * head.q_N.max())


def test_both_choices_are_marked_by_shape_in_the_head_chart(forked):
    step = step_of(forked)
    lane = forked.lanes[1]
    labels = head_chart(forked, step, lane.layer, lane.alpha)["layout"]["yaxis"]["ticktext"]
    assert sum("●" in label for label in labels) == 1
    assert sum("◆" in label for label in labels) == 1
    assert any("◆" in label and token(forked, step.choices[1].id) in label for label in labels)


def test_markup_in_a_token_stays_text(forked):
    step = step_of(forked)
    nasty = forked.model_copy(update={"pieces": dict.fromkeys(forked.pieces, "<b>&x")})
    labels = head_chart(nasty, step, 22, 0.1)["layout"]["yaxis"]["ticktext"]
    assert all("<" not in label and "&lt;b>&amp;x" in label for label in labels)


def test_the_layer_chart_runs_over_all_layers_and_ends_at_q_n(forked):
    step, lane = step_of(forked), forked.lanes[1]
    base, dola = go.Figure(layer_chart(forked, step, lane.layer, lane.alpha)).data
    assert list(base.x) == list(range(1, 31))
    assert base.y[-1] == pytest.approx(step.choices[0].p, abs=1e-4)
    head = Head.of(step, lane.layer, lane.alpha, forked.decoding)
    assert dola.y[lane.layer - 1] == pytest.approx(head.q_J[step.place(step.choices[1].id)], abs=1e-5)
    assert base.line.dash != dola.line.dash
    assert base.marker.symbol != dola.marker.symbol


def test_cards_say_which_norm_they_use(forked, compared):
    lane = forked.lanes[1]
    raw = compared(decoding={"early_norm": False})
    for card in (head_card, layer_card):
        assert "through the final norm" in card(forked, step_of(forked), lane.layer, lane.alpha)["sub"]
        assert "raw, without the norm" in card(raw, step_of(raw, 0), 22, 0.1)["sub"]


def test_the_sentence_names_both_tokens_with_their_probability(forked):
    step, lane = step_of(forked), forked.lanes[1]
    parts = step_sentence(forked, step, lane.layer, lane.alpha)
    voices = {part["side"]: part["text"] for part in parts if part["side"]}
    assert voices == {"base": token(forked, step.choices[0].id), "dola": token(forked, step.choices[1].id)}
    assert said(parts).startswith(f"Step {forked.fork + 1}. Baseline chooses ")
    assert "What if" not in said(parts)


def test_a_head_of_one_token_is_explained(compared):
    trace = compared(alpha=1.0)
    assert "must choose it" in said(step_sentence(trace, step_of(trace, 0), 22, 1.0))


def test_another_setting_is_said_to_be_a_what_if(forked):
    step = step_of(forked)
    alpha = max(0.5, math.ceil(step.exact_alpha * 100) / 100)
    assert f"What if: with j* = 5, α = {alpha:g}" in said(step_sentence(forked, step, 5, alpha))


def test_charts_never_need_a_model_only_a_trace(forked):
    copy = type(forked).model_validate_json(forked.to_json())
    lane = forked.lanes[1]
    for card in (head_card, layer_card):
        assert repr(card(copy, step_of(copy), lane.layer, lane.alpha)) == repr(
            card(forked, step_of(forked), lane.layer, lane.alpha)
        )


@pytest.mark.parametrize("position", ["before", "after"])
def test_the_longest_p_hat_bar_is_the_choice_under_a_penalty(compared, position):
    decoding = {"repetition_penalty": 1.5, "penalty_position": position, "max_new_tokens": 40}
    trace = compared("Canberra Canberra is", alpha=0.05, decoding=decoding)
    for step in trace.lane_steps(1):
        if step.exact_alpha <= 0.05:
            head = Head.of(step, 22, 0.05, trace.decoding)
            assert head.tokens[head.p_hat.argmax()] == step.choices[1].id
            assert head.p_hat.max() == pytest.approx(step.choices[1].p, rel=1e-3)


def test_a_beam_that_goes_on_with_another_token_is_said_to(compared):
    trace = compared("The capital of Japan is", decoding={"num_beams": 4, "max_new_tokens": 8})
    step = trace.lane_steps(1)[0]
    other = next(int(t) for t in step.tokens if t != step.choices[1].id)
    beam = step.model_copy(update={"lanes": (1,), "taken": (other,)})
    sentence = said(step_sentence(trace, beam, 22, 0.1))
    assert f"DoLa-static's beam goes on with {token(trace, other)}." in sentence
    assert "Baseline alone would choose" in sentence
