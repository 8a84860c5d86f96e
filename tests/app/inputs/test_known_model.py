"""What the project knows about a model is shown for that one alone, and its traces show what their titles say."""

import pytest

from app.inputs.examples import NEUTRAL
from app.inputs.known_model import TITLES, KnownModel
from app.render.plausible_head import PlausibleHead
from dola_core.lanes import DolaDynamic


@pytest.fixture(scope="module")
def recorded(loaded):
    return KnownModel.of(loaded.info).recorded


@pytest.fixture(scope="module")
def traces(recorded):
    return {one.title: one.read() for one in recorded}


def test_there_are_as_many_files_as_titles_and_all_are_of_the_shipped_model(traces, recorded, loaded):
    assert {file.stem for file in recorded[0].file.parent.glob("*.json")} == set(traces) == set(TITLES)
    for trace in traces.values():
        assert trace.model == loaded.info
        assert trace.prompt_ids == tuple(loaded.encode(trace.prompt)), "recorded with another tokenizer"


def test_each_tells_what_a_dynamic_lane_would_choose(traces):
    for trace in traces.values():
        lane = DolaDynamic(bucket="high", alpha=0.5).fitted(trace.model.n_layers, tied=trace.model.tied)
        assert trace.what_if(1, 0, lane) in trace.pieces


def test_one_is_mended_and_one_harmed(traces):
    for name in ("mended", "harmed"):
        assert traces[name].texts[0] != traces[name].texts[1]
        assert traces[name].fork is not None


def test_one_has_a_head_of_one_token_throughout(traces):
    trace = traces["one-token"]
    ran = trace.lanes[1]
    for step in trace.lane_steps(1):
        assert PlausibleHead.of(step, ran, trace.decoding).size == 1
    assert trace.texts[0] == trace.texts[1]


def test_one_does_not_stop_where_the_baseline_does(traces):
    assert traces["endless"].ends == ("eos", "length")


def test_one_is_sampled_and_agrees_for_a_while(traces):
    assert traces["sampled"].decoding.samples
    assert traces["sampled"].fork > 0


def test_they_are_small(recorded):
    assert all(one.file.stat().st_size < 400_000 for one in recorded)


@pytest.mark.parametrize("name", ["", "nobody", "owner/atlas-30l", "..", "../models/atlas-30l", "atlas-30l/"])
def test_a_model_that_nobody_has_looked_at_gets_neutral_prompts_and_no_claims(loaded, name):
    known = KnownModel.of(loaded.info.model_copy(update={"name": name}))
    assert known == KnownModel(NEUTRAL, (), None)
    assert {example.outcome for example in known.examples} == {None}


def test_other_weights_of_the_same_name_get_prompts_and_no_claims(loaded):
    known = KnownModel.of(loaded.info.model_copy(update={"identity": "0" * 24 + "-" + "0" * 16}))
    assert [example.prompt for example in known.examples] == [
        example.prompt for example in KnownModel.of(loaded.info).examples
    ]
    assert {example.outcome for example in known.examples} == {None}
    assert (known.recorded, known.search) == ((), None)
