"""The traces that come with the page load, and show what their titles say."""

import pytest

from app.inputs.recorded_traces import RECORDED
from app.paths import RECORDED_TRACES
from app.render.plausible_head import PlausibleHead


@pytest.fixture(scope="module")
def traces():
    return {one.name: one.read() for one in RECORDED}


def test_there_are_as_many_files_as_titles_and_all_are_of_the_shipped_model(traces, loaded):
    assert {file.stem for file in RECORDED_TRACES.glob("*.json")} == set(traces)
    assert len(traces) >= 5
    for trace in traces.values():
        assert trace.model == loaded.info
        assert trace.prompt_ids == tuple(loaded.encode(trace.prompt)), "recorded with another tokenizer"


def test_one_is_mended_and_one_harmed(traces):
    for name in ("mended", "harmed"):
        assert traces[name].texts[0] != traces[name].texts[1]
        assert traces[name].fork is not None


def test_one_has_a_head_of_one_token_throughout(traces):
    trace = traces["one-token"]
    ran = trace.lanes[1]
    for step in trace.lane_steps(1):
        assert PlausibleHead.of(step, ran.layer, ran.alpha, trace.decoding).size == 1
    assert trace.texts[0] == trace.texts[1]


def test_one_does_not_stop_where_the_baseline_does(traces):
    assert traces["endless"].ends == ("eos", "length")


def test_one_is_sampled_and_agrees_for_a_while(traces):
    assert traces["sampled"].decoding.samples
    assert traces["sampled"].fork > 0


def test_they_are_small(traces):
    assert all(one.file.stat().st_size < 400_000 for one in RECORDED)
