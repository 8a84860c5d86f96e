"""The numbers of the plausible head."""

import numpy as np
import pytest

from app.render.plausible_head import PlausibleHead
from dola_core.lanes import Baseline, DolaDynamic, DolaStatic, LinearContrast
from tests.app.looking import inspecting


def test_the_head_is_read_from_the_recorded_numbers(forked):
    head = PlausibleHead.of(inspecting(forked).step, DolaStatic(layer=22, alpha=0.2), forked.decoding)
    assert head.kept.tolist() == (head.q_N >= 0.2 * head.q_N.max() * (1 - 1e-6)).tolist()
    assert head.p_hat[~head.kept].sum() == 0
    assert head.p_hat.sum() == pytest.approx(1)
    ratio = head.q_N[head.kept] / head.q_J[head.kept]
    np.testing.assert_allclose(head.p_hat[head.kept], ratio / ratio.sum(), rtol=1e-4)
    np.testing.assert_allclose(head.F[head.kept], np.log(ratio), atol=1e-4)


def test_tokens_climb_and_fall_within_the_head():
    head = PlausibleHead(
        tokens=np.array([7, 8, 9, 5]), layer=1, q_N=np.array([0.4, 0.3, 0.2, 0.1]), q_J=np.zeros(4), F=np.zeros(4),
        p_hat=np.array([0.1, 0.3, 0.6, 0.0]), kept=np.array([True, True, True, False]), threshold=0.15, complete=True,
    )  # fmt: skip
    assert head.climbed.tolist() == [-2, 0, 2, 0]


@pytest.mark.parametrize("position", ["before", "after"])
def test_the_most_probable_token_is_the_choice_under_a_penalty(compared, position):
    decoding = {"repetition_penalty": 1.5, "penalty_position": position, "max_new_tokens": 40}
    trace = compared("Canberra Canberra is", alpha=0.05, decoding=decoding)
    for step in trace.lane_steps(1):
        if step.exact_alpha <= 0.05:
            head = PlausibleHead.of(step, DolaStatic(layer=22, alpha=0.05), trace.decoding)
            assert head.tokens[head.p_hat.argmax()] == step.choices[1].id
            assert head.p_hat.max() == pytest.approx(step.choices[1].p, rel=1e-3)


def test_a_dynamic_lane_is_read_with_the_layer_that_it_chooses(forked):
    step = inspecting(forked).step
    lane = DolaDynamic(bucket="10-28/3", alpha=0.2).fitted(30, tied=True)
    layer = step.contrasted(lane)
    assert layer == max(range(10, 29, 3), key=lambda j: step.jsd[j - 1])
    dynamic, static = (
        PlausibleHead.of(step, one, forked.decoding) for one in (lane, DolaStatic(layer=layer, alpha=0.2))
    )
    assert dynamic.layer == layer
    np.testing.assert_array_equal(dynamic.p_hat, static.p_hat)
    np.testing.assert_array_equal(dynamic.q_J, static.q_J)


def test_a_linear_lane_has_scores_and_no_layer_of_its_own(forked):
    step = inspecting(forked).step
    head = PlausibleHead.of(step, LinearContrast(weights={5: -0.5, 22: -0.5}, alpha=0.2), forked.decoding)
    log_q = step.log_q_table
    assert (head.layer, head.q_J) == (None, None)
    np.testing.assert_allclose(head.F, log_q[:, -1] - 0.5 * (log_q[:, 4] + log_q[:, 21]), atol=1e-4)


def test_a_plain_lane_cuts_nothing(forked):
    step = inspecting(forked).step
    head = PlausibleHead.of(step, Baseline(), forked.decoding)
    assert head.threshold == 0
    np.testing.assert_array_equal(head.p_hat, head.q_N)
    assert head.kept[: len(step.exact_log_q)].all()
