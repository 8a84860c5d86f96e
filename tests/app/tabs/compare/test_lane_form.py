"""A pane's header holds any lane, and gives back the lane that it shows."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.request import RequestError
from app.tabs.compare.lane_form import CUSTOM, MENU, LaneForm
from dola_core.lanes import BUCKETS, Baseline, DolaDynamic, DolaStatic, LinearContrast, lane_text, parse_lane

ALPHAS = st.floats(0.01, 1)
OWN = {
    "repetition_penalty": st.none() | st.floats(0.5, 3),
    "penalty_position": st.none() | st.sampled_from(["before", "after"]),
    "early_norm": st.none() | st.booleans(),
}
LANES = st.one_of(
    st.builds(Baseline, **OWN),
    st.builds(DolaStatic, layer=st.integers(1, 40), alpha=ALPHAS, beta=st.floats(0, 10), **OWN),
    st.builds(DolaDynamic, bucket=st.sampled_from([*BUCKETS, "3-9/2"]), alpha=ALPHAS, beta=st.floats(0, 10), **OWN),
    st.builds(LinearContrast, weights=st.dictionaries(st.integers(1, 9), st.floats(-2, 2), min_size=1), alpha=ALPHAS),
)


@given(lane=LANES)
def test_whatever_lane_it_shows_is_the_lane_that_it_gives_back(lane):
    form = LaneForm().showing(lane)
    assert lane_text(form.lane(30)) == lane_text(lane)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("plain", "plain"), ("plain,penalty=1.2", "penalty"), ("static:22,alpha=0.2", "static"),
        ("static:22,beta=0.5", "static"), ("dynamic:high", "dynamic"), ("dynamic:upper,beta=0.0", "dynamic"),
        ("plain,penalty=0.8", "custom"), ("static:22,beta=5.0", "custom"), ("static:22,norm=off", "custom"),
        ("dynamic:16-28/2", "custom"), ("linear:22=-0.5", "custom"), ("static:22,penalty=1.2", "custom"),
    ],
)  # fmt: skip
def test_the_menu_names_what_its_fields_can_hold_and_else_shows_text(text, entry):
    form = LaneForm().showing(parse_lane(text))
    assert form.kind == entry
    assert lane_text(form.lane(30)) == text
    assert form.text == text, "the text is there already when custom is chosen next"


def test_fields_of_other_entries_keep_their_values():
    form = replace(LaneForm(), layer=7, penalty=1.5).showing(DolaDynamic(bucket="low"))
    assert (form.layer, form.penalty, form.bucket) == (7, 1.5, "low")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "static",
        "static:0",
        "static:x",
        "dynamic:none",
        "plain,penalty=99",
        "static:3,alpha=0.001",
        "a:b=c",
        "static:30",
        "dynamic:40-50",
        "linear:30=1",
    ],
)
def test_a_text_that_is_no_lane_is_refused_in_a_sentence(text):
    with pytest.raises(RequestError, match=r"A lane is written like .* of layers up to 29") as refused:
        LaneForm(kind=CUSTOM, text=text).lane(30)
    assert "\n" not in str(refused.value)


@given(
    kind=st.sampled_from(MENU), layer=st.integers(), alpha=st.floats(), beta=st.floats(), bucket=st.text(),
    penalty=st.floats(), text=st.text(max_size=600),
)  # fmt: skip
def test_whatever_the_fields_hold_a_lane_or_a_sentence_comes_out(**values):
    try:
        lane = LaneForm(**values).lane(30)
    except RequestError:
        return
    assert lane.least_share == 0 or 0.01 <= lane.least_share <= 1
