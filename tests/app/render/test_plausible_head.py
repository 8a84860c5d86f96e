"""The numbers of the plausible head."""

import numpy as np
import pytest

from app.render.plausible_head import PlausibleHead
from tests.app.looking import inspecting


def test_the_head_is_read_from_the_recorded_numbers(forked):
    head = PlausibleHead.of(inspecting(forked).step, 22, 0.2, forked.decoding)
    assert head.kept.tolist() == (head.q_N >= 0.2 * head.q_N.max() * (1 - 1e-6)).tolist()
    assert head.p_hat[~head.kept].sum() == 0
    assert head.p_hat.sum() == pytest.approx(1)
    ratio = head.q_N[head.kept] / head.q_J[head.kept]
    np.testing.assert_allclose(head.p_hat[head.kept], ratio / ratio.sum(), rtol=1e-4)
    np.testing.assert_allclose(head.F[head.kept], np.log(ratio), atol=1e-4)


def test_tokens_climb_and_fall_within_the_head():
    head = PlausibleHead(
        tokens=np.array([7, 8, 9, 5]), q_N=np.array([0.4, 0.3, 0.2, 0.1]), q_J=np.zeros(4), F=np.zeros(4),
        p_hat=np.array([0.1, 0.3, 0.6, 0.0]), kept=np.array([True, True, True, False]), threshold=0.15, complete=True,
    )  # fmt: skip
    assert head.climbed.tolist() == [-2, 0, 2, 0]


@pytest.mark.parametrize("position", ["before", "after"])
def test_the_most_probable_token_is_the_choice_under_a_penalty(compared, position):
    decoding = {"repetition_penalty": 1.5, "penalty_position": position, "max_new_tokens": 40}
    trace = compared("Canberra Canberra is", alpha=0.05, decoding=decoding)
    for step in trace.lane_steps(1):
        if step.exact_alpha <= 0.05:
            head = PlausibleHead.of(step, 22, 0.05, trace.decoding)
            assert head.tokens[head.p_hat.argmax()] == step.choices[1].id
            assert head.p_hat.max() == pytest.approx(step.choices[1].p, rel=1e-3)
