"""A lane as one word of text: read, written, and refused in one sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola_core.lanes import Baseline, DolaDynamic, DolaStatic, LinearContrast, lane_text, parse_lane

NUMBERS = st.floats(0, 1, allow_nan=False)
OWN = {
    "repetition_penalty": st.none() | st.floats(0.5, 2),
    "penalty_position": st.none() | st.sampled_from(["before", "after"]),
    "early_norm": st.none() | st.booleans(),
}
LANES = st.one_of(
    st.builds(Baseline, **OWN),
    st.builds(DolaStatic, layer=st.integers(1, 300), alpha=NUMBERS, beta=NUMBERS, **OWN),
    st.builds(DolaDynamic, bucket=st.sampled_from(["low", "high", "5-9/2", "7"]), alpha=NUMBERS, beta=NUMBERS, **OWN),
    st.builds(
        LinearContrast,
        weights=st.dictionaries(st.integers(0, 80), st.floats(-9, 9), min_size=1, max_size=5),
        mature=st.floats(0.1, 9),
        alpha=NUMBERS,
        **OWN,
    ),
)


@given(LANES)
def test_every_lane_comes_back_from_its_text(lane):
    text = lane_text(lane)
    assert parse_lane(text) == lane
    assert not set(text) & set("|; &#")  # it stands in links, between others


@pytest.mark.parametrize(
    ("text", "lane"),
    [
        ("plain", Baseline()),
        ("plain,penalty=1.2", Baseline(repetition_penalty=1.2)),
        ("static:22,alpha=0.1", DolaStatic(layer=22)),
        (" static : 22 , beta = 0.5 ", DolaStatic(layer=22, beta=0.5)),
        ("static,layer=22", DolaStatic(layer=22)),
        ("dynamic:high", DolaDynamic(bucket="high")),
        ("dynamic:16-28/2,norm=off", DolaDynamic(bucket="16-28/2", early_norm=False)),
        ("dynamic:low,position=after", DolaDynamic(bucket="low", penalty_position="after")),
        ("dynamic:22", DolaDynamic(bucket="22")),
        ("linear:22=-0.5,10=-0.25,alpha=0.2", LinearContrast(weights={22: -0.5, 10: -0.25}, alpha=0.2)),
        ("static:22,name=mine", DolaStatic(layer=22, name="mine")),
    ],
)  # fmt: skip
def test_a_lane_is_read(text, lane):
    assert parse_lane(text) == lane


@pytest.mark.parametrize(
    "text",
    ["", "foo", "static", "static:", "static:x", "static:22.5", "static:22,alpha=2", "static:22,alpha=x", "static:0",
     "static:22,23", "static:22,layer=3", "static:22,kind=plain", "plain:3", "dynamic", "dynamic:mid", "linear",
     "dynamic:high,layers=3", "linear:22=a", "linear:22=nan", "static:22,beta=-1", "static:22,penalty=0", "plain,22=1",
     "static:22,x=1", "static:22,norm=maybe", "static:22,position=between", "linear:22=1,mature=0",
     "static:22,alpha=inf"],
)  # fmt: skip
def test_what_is_no_lane_is_refused_in_one_sentence(text):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        parse_lane(text)
    said = str(error.value)
    assert said.startswith(('A lane is written like "plain', "The lane '"))
    assert "\n" not in said
    assert len(said) < 300
