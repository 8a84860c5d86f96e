"""Multiple-choice metrics on items worked out by hand."""

import math

import numpy as np
import pytest

from dola_core.layer_search.metrics import value
from dola_core.layer_search.scoring import Scored


def scored(right, wrong, right_tokens=None, wrong_tokens=None, said=(True,), first=(True,)):
    """One setting unless the scores have more columns."""
    right, wrong = (np.array(scores, dtype=float).reshape(len(scores), -1) for scores in (right, wrong))
    return Scored(
        right=right,
        wrong=wrong,
        right_tokens=np.array(right_tokens or [1] * len(right)),
        wrong_tokens=np.array(wrong_tokens or [1] * len(wrong)),
        said=np.array(said),
        first=np.array(first),
    )


LOG = [math.log(p) for p in (0.4, 0.1, 0.3, 0.2)]


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        # The best answer wins: probabilities 0.4 and 0.1 are right, 0.3 and 0.2 wrong.
        (LOG[:2], LOG[2:], {"mc1": 1, "mc2": 0.5, "mc3": 0.5, "accuracy": 1, "chose": 1, "margin": LOG[0] - LOG[2]}),
        # The second-best of the right ones wins, but not the best.
        ([LOG[1], LOG[0]], LOG[2:], {"mc1": 0, "mc3": 0.5, "accuracy": 0, "chose": 1, "margin": LOG[1] - LOG[2]}),
        # A tie is no win for MC1 and MC3; for FACTOR it is worth its chance.
        ([-2.0], [-2.0, -3.0], {"mc1": 0, "mc3": 0, "accuracy": 0.5, "chose": 0, "margin": 0}),
        # All outside the head: every exponential underflows, the shares do not.
        ([-1000.0, -2000.0], [-1001.0], {"mc1": 1, "mc2": 1 / (1 + math.exp(-1)), "mc3": 0.5, "accuracy": 1}),
        ([-4000.0], [-4000.0, -4000.0, -4000.0], {"mc2": 0.25, "mc1": 0, "accuracy": 0.25}),
        # Log-ratios may be positive.
        ([3.0], [1.0], {"mc1": 1, "mc2": 1 / (1 + math.exp(-2)), "margin": 2}),
    ],
)
def test_by_hand(right, wrong, expected):
    for metric, result in expected.items():
        assert value(scored(right, wrong), metric) == pytest.approx([result]), metric


def test_the_mean_over_tokens_does_not_favour_short_answers():
    one = scored([-6.0], [-4.0], right_tokens=[6], wrong_tokens=[1])
    assert value(one, "mc1") == [0]
    assert value(one, "mc1", "mean") == [1]
    assert value(one, "margin", "mean") == pytest.approx([-1 + 4])


def test_settings_are_worked_out_each_by_itself():
    both = scored([[-1.0, -5.0]], [[-2.0, -2.0]], said=(True, False), first=(False, True))
    assert value(both, "mc1").tolist() == [1, 0]
    assert value(both, "said").tolist() == [1, 0]
    assert value(both, "first").tolist() == [0, 1]
