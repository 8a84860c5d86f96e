"""Multiple-choice metrics on questions computed by hand."""

import math

import numpy as np
import pytest

from dola_core.layer_search.answers.scoring import Scored
from dola_core.layer_search.metrics import metric_values


def scored(right, wrong, right_tokens=None, wrong_tokens=None, greedy_correct=(True,), first=(True,)):
    """A question's scores, `[answers]` for one setting or `[answers, S]` for several."""
    right, wrong = (np.array(scores, dtype=float).reshape(len(scores), -1) for scores in (right, wrong))
    return Scored(
        right=right,
        wrong=wrong,
        right_tokens=np.array(right_tokens or [1] * len(right)),
        wrong_tokens=np.array(wrong_tokens or [1] * len(wrong)),
        greedy_correct=np.array(greedy_correct),
        first=np.array(first),
    )


LOG = [math.log(p) for p in (0.4, 0.1, 0.3, 0.2)]


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        # The best right answer wins: probabilities 0.4 and 0.1 are right, 0.3 and 0.2 wrong.
        (LOG[:2], LOG[2:], {"mc1": 1, "mc2": 0.5, "mc3": 0.5, "accuracy": 1, "chose": 1, "margin": LOG[0] - LOG[2]}),
        # A right answer wins, but not the best one.
        ([LOG[1], LOG[0]], LOG[2:], {"mc1": 0, "mc3": 0.5, "accuracy": 0, "chose": 1, "margin": LOG[1] - LOG[2]}),
        # A tie counts as wrong for MC1 and MC3, and as its chance for FACTOR.
        ([-2.0], [-2.0, -3.0], {"mc1": 0, "mc3": 0, "accuracy": 0.5, "chose": 0, "margin": 0}),
        # All answers outside the plausible head: every exponential underflows, the shares do not.
        ([-1000.0, -2000.0], [-1001.0], {"mc1": 1, "mc2": 1 / (1 + math.exp(-1)), "mc3": 0.5, "accuracy": 1}),
        ([-4000.0], [-4000.0, -4000.0, -4000.0], {"mc2": 0.25, "mc1": 0, "accuracy": 0.25}),
        # Log-ratios may be positive.
        ([3.0], [1.0], {"mc1": 1, "mc2": 1 / (1 + math.exp(-2)), "margin": 2}),
    ],
)
def test_metrics_equal_those_computed_by_hand(right, wrong, expected):
    for metric, value in expected.items():
        assert metric_values(scored(right, wrong), metric) == pytest.approx([value]), metric


def test_the_mean_over_tokens_does_not_favour_short_answers():
    scored_item = scored([-6.0], [-4.0], right_tokens=[6], wrong_tokens=[1])
    assert metric_values(scored_item, "mc1") == [0]
    assert metric_values(scored_item, "mc1", "mean") == [1]
    assert metric_values(scored_item, "margin", "mean") == pytest.approx([-1 + 4])


def test_each_setting_has_its_own_value():
    scored_item = scored([[-1.0, -5.0]], [[-2.0, -2.0]], greedy_correct=(True, False), first=(False, True))
    assert metric_values(scored_item, "mc1").tolist() == [1, 0]
    assert metric_values(scored_item, "said").tolist() == [1, 0]
    assert metric_values(scored_item, "first").tolist() == [0, 1]
