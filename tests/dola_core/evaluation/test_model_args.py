"""A lane's settings arrive as arguments of their own, and a mistake ends in one sentence."""

import pytest

from dola_core.evaluation.model_args import ModelArgsError, check_outside, setting_names, take_lane
from dola_core.lanes import Baseline, DolaDynamic, DolaStatic, LinearContrast, lane_text

RAW_AND_AFTER = DolaStatic(layer=22, early_norm=False, penalty_position="after")


@pytest.mark.parametrize(
    ("lane", "arguments", "expected"),
    [
        (None, {}, None),
        ("plain", {"penalty": 1.2}, Baseline(repetition_penalty=1.2)),
        ("static:22", {"alpha": 0.1}, DolaStatic(layer=22, alpha=0.1)),
        ("static", {"layer": 22, "alpha": 1}, DolaStatic(layer=22, alpha=1.0)),
        (
            "static:22,alpha=0.2",
            {"beta": 0.5, "norm": "off"},
            DolaStatic(layer=22, alpha=0.2, beta=0.5, early_norm=False),
        ),
        (
            "static:22",
            {"norm": False, "position": "after"},
            DolaStatic(layer=22, early_norm=False, penalty_position="after"),
        ),
        ("static:22", {"alpha": 1e-05}, DolaStatic(layer=22, alpha=1e-05)),
        ("dynamic:16-28/2", {"alpha": 0.05}, DolaDynamic(bucket="16-28/2", alpha=0.05)),
        ("linear:10=-0.5", {"22": -0.25, "mature": 2}, LinearContrast(weights={10: -0.5, 22: -0.25}, mature=2.0)),
        (DolaStatic(layer=3), {}, DolaStatic(layer=3)),
    ],
)
def test_a_lane_is_put_together_from_its_arguments(lane, arguments, expected):
    rest = {"dtype": "float32", "max_length": 64}
    given = rest | arguments
    assert take_lane(lane, given) == expected
    assert given == rest


@pytest.mark.parametrize(
    ("lane", "arguments", "message"),
    [
        (None, {"alpha": 0.1}, r"alpha is set of no lane; name it, as in lane=static:22,alpha=0.1\."),
        (DolaStatic(layer=3), {"alpha": 0.1}, r"alpha is set beside a lane that is an object; set it there\."),
        ("plain", {"alpha": 0.1}, "'alpha=0.1' has no place in 'plain,alpha=0.1'"),
        ("static:22;alpha=0.1", {}, "A lane is written like"),
        ("static:22", {"alpha": 2.0}, "alpha: must be a number from 0 to 1"),
        ("static", {}, "layer: is missing"),
        (22, {}, "A lane is written like"),
    ],
)
def test_a_mistake_is_one_sentence(lane, arguments, message):
    with pytest.raises(ModelArgsError, match=message) as refused:
        take_lane(lane, arguments)
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")


def test_every_setting_of_every_lane_is_known_by_its_name_in_text():
    lanes = [
        DolaStatic(layer=2, alpha=0.2, beta=0.5, repetition_penalty=1.5, penalty_position="after", early_norm=False),
        LinearContrast(weights={2: -1.0}, mature=2.0, alpha=0.3),
        DolaDynamic(bucket="low", alpha=0.2, beta=0.5),
    ]
    for lane in lanes:
        kind, _, settings = lane_text(lane).partition(":")
        first, *others = settings.split(",")
        arguments = dict(part.split("=") for part in others)
        assert {name for name in arguments if not name.isdecimal()} <= setting_names()
        assert take_lane(f"{kind}:{first}", arguments) == lane
        assert not arguments


def test_outside_is_finite_and_no_reward():
    assert [check_outside(value) for value in (-1000, -20.5, 0)] == [-1000.0, -20.5, 0.0]
    for wrong in (float("-inf"), float("nan"), 1, "low", True, None):
        with pytest.raises(ModelArgsError, match="outside must be a finite number, at most 0"):
            check_outside(wrong)
