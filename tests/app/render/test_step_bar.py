"""The bar says where a visitor is, how much differs, and what is set otherwise than in the run."""

import pytest

from app.language import ENGLISH, language
from app.render.step_bar import step_bar
from dola_core.lanes import Baseline, DolaDynamic, LinearContrast
from tests.app.looking import inspecting


def bar(inspection, edited=None):
    return step_bar(inspection, edited, inspection.words)


def test_it_counts_steps_and_what_is_underlined(forked):
    inspection = inspecting(forked, index=0)
    drawn = bar(inspection)
    assert drawn["step"] == f"step 1 of {len(forked.lane_steps(1))}"
    assert drawn["differ"] == f"{len(inspection.differences)} choices differ"
    assert (drawn["first"], drawn["last"], drawn["state"], drawn["side"]) == (True, False, "", "dola")


def test_one_difference_and_none_are_said_so(compared, forked):
    one = compared(layer=12, alpha=0.01, decoding={"max_new_tokens": forked.fork + 1})
    assert bar(inspecting(one))["differ"] == "1 choice differs"
    none = bar(inspecting(forked, alpha=1.0))
    assert (none["differ"], none["agree"]) == ("", "no choice differs")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer": 10}, "what-if: j* = 10 (run: 12)"),
        ({"alpha": 0.5, "beta": 0.5}, "what-if: α = 0.5 (run: 0.01), β = 0.5 (run: 1)"),
        ({"layer": 3, "alpha": 0.2}, "what-if: j* = 3 (run: 12), α = 0.2 (run: 0.01)"),
    ],
)
def test_it_names_what_is_set_otherwise_with_the_runs_value(forked, changes, said):
    assert bar(inspecting(forked, **changes))["state"] == said


@pytest.mark.parametrize(
    ("lane", "said"),
    [
        (DolaDynamic(bucket="high", alpha=0.01), "DoLa-dynamic, j ∈ high, α = 0.01 (run: DoLa-static)"),
        (Baseline(repetition_penalty=1.2), "Plain, penalty 1.2 (run: DoLa-static)"),
        (LinearContrast(weights={5: -0.5}), "Linear contrast, w_5 = -0.5, α = 0.1 (run: DoLa-static)"),
    ],
)
def test_another_kind_of_lane_is_named(forked, lane, said):
    lanes = (forked.lanes[0], lane)
    assert said in bar(inspecting(forked, lanes=lanes))["state"]


def test_the_fields_are_of_the_pane_that_was_asked_for_or_else_of_the_lane_explained(forked):
    assert bar(inspecting(forked, lane=0))["side"] == "dola", "plain has no fields"
    assert bar(inspecting(forked), edited=0)["side"] == "base"
    assert bar(inspecting(forked), edited=3)["side"] == "fourth", "it has not run yet"


def test_another_bucket_and_a_norm_of_its_own_are_named(compared):
    dynamic = DolaDynamic(bucket="high", alpha=0.2)
    trace = compared(lanes=(Baseline(), dynamic), decoding={"max_new_tokens": 3})
    other = trace.lanes[1].model_copy(update={"bucket": "low"})
    assert bar(inspecting(trace, lanes=(trace.lanes[0], other)))["state"] == "what-if: j ∈ low (run: high)"
    raw = trace.lanes[1].model_copy(update={"early_norm": False})
    assert "raw" in bar(inspecting(trace, lanes=(trace.lanes[0], raw)))["state"]


@pytest.mark.parametrize("code", ["en", "zh"])
def test_without_a_run_it_holds_the_fields_alone(code):
    words = language(code)
    drawn = step_bar(None, None, words)
    assert (drawn["side"], drawn["step"]) == ("dola", "")
    assert drawn["words"] == words.section("bar")
    assert ENGLISH.section("bar").keys() == drawn["words"].keys()
