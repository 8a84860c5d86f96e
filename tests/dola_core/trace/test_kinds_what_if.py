"""What a trace says of any kind of lane with other settings is what that lane really chooses."""

import itertools

import numpy as np
import pytest

from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic, LinearContrast
from dola_core.models.reading.readout import Readout
from dola_core.trace.schema import Trace
from dola_core.trace.step import NO_FLOATS
from tests.dola_core.tiny import N, compare, prompt, recorded, tiny

LANES = (Baseline(), DolaStatic(layer=22), DolaDynamic(bucket="low"))
WAYS = [
    {},
    {"early_norm": False, "repetition_penalty": 1.3, "penalty_position": "after"},
    {"temperature": 0.9, "top_p": 0.9, "repetition_penalty": 1.2},
]
BUCKETS = ("low", "high", "all", "lower", "middle", "upper", "5", "3-27/4", "0-29/7")


def random_lanes(random, count):
    """Lanes of every kind with random settings."""
    alphas, betas = (0.01, 0.05, 0.1, 0.3, 0.9), (0.0, 0.3, 0.5, 1.0, 1.5)
    for _ in range(count):
        alpha, beta = float(random.choice(alphas)), float(random.choice(betas))
        yield DolaStatic(layer=int(random.integers(1, N)), alpha=alpha, beta=beta)
        yield DolaDynamic(bucket=str(random.choice(BUCKETS)), alpha=alpha, beta=beta)
        layers = random.choice(N, 3, replace=False).tolist()
        yield LinearContrast(weights={layer: float(random.normal()) for layer in layers}, mature=1.2, alpha=alpha)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_random_settings_name_the_token_that_is_really_taken(readouts, way):
    """The texts are replayed with a lane for every setting, and each lane's own choice is looked at."""
    random, wrong, checked = np.random.default_rng(1), [], 0
    for number, readout in enumerate([*readouts, Readout.of(tiny("llama-tied"))]):
        config, ids = DecodingConfig(max_new_tokens=4, seed=number, **way), prompt(5, seed=number)
        # A lane that reads the embeddings, so that what reads them has an answer.
        lanes = (*LANES, LinearContrast(weights={0: -0.1, 9: -0.5}))
        trace = Trace.model_validate_json(recorded(readout, ids, lanes, config).to_json())
        others = [lane.fitted(N, tied=readout.is_tied) for lane in random_lanes(random, 25)]
        forced = {n: (trace.lane_ids(n % len(lanes)), "length") for n in range(len(others))}
        for output in compare(readout, ids, others, config, forced=forced):
            for lane in range(len(lanes)):
                real = next(step for step in output.steps if lane in step.lanes)
                exact_alpha = trace.lane_steps(lane)[output.index].exact_alpha
                for n, other in enumerate(others):
                    if other.alpha >= exact_alpha:
                        checked += 1
                        if trace.what_if(lane, output.index, other) != real.choices[n].id:
                            wrong.append((number, lane, output.index, other))
    assert not wrong
    assert checked > 500


def test_lanes_that_read_in_different_ways_each_have_their_steps(readout):
    """One step of a row for each way; what is asked of a lane is read from its own."""
    config = DecodingConfig(max_new_tokens=4, repetition_penalty=1.2)
    lanes = (
        Baseline(repetition_penalty=1.0),
        DolaStatic(layer=22),
        DolaStatic(layer=22, early_norm=False),
        DolaDynamic(bucket="high", repetition_penalty=1.0),
    )
    trace = Trace.model_validate_json(recorded(readout, prompt(6), lanes, config).to_json())
    assert len(trace.readings) == 3
    assert [len(trace.lane_steps(lane)) for lane in range(4)] == [4] * 4
    assert trace.intact()
    forced = {n: (trace.lane_ids(n), "length") for n in range(4)}
    others = [lane.model_copy(update={"alpha": 0.3}) if lane.reads else lane for lane in trace.lanes]
    for output in compare(readout, prompt(6), others, config, forced=forced):
        for row, other in itertools.product(range(4), range(1, 4)):
            real = next(step for step in output.steps if row in step.lanes and step.reading == 0)
            step = trace.step_for(trace.lane_steps(row)[output.index], others[other])
            if step.exact_alpha <= 0.3:
                assert trace.what_if(row, output.index, others[other]) == real.choices[other].id


def test_what_was_not_recorded_is_refused_in_a_sentence(readout):
    trace = recorded(readout, prompt(6), LANES[:2], DecodingConfig(max_new_tokens=2))
    asked = [
        (DolaStatic(layer=22, early_norm=False), "has not read the layers with this norm"),
        (DolaStatic(layer=22, repetition_penalty=1.3), "has not read the layers with this norm, penalty and image"),
        (LinearContrast(weights={0: -1.0}, alpha=0.5), "does not hold all of the layers 0"),
        (DolaStatic(layer=N), "layer must be an integer from 1 to 29"),
        (Baseline(), "recorded for alpha from"),
    ]
    for lane, said in asked:
        with pytest.raises(ValueError, match=said):
            trace.what_if(1, 0, lane)


@pytest.mark.parametrize("bucket", ["high", "all", "lower", "5-20/3"])
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_a_trace_without_a_dynamic_lane_tells_what_one_would_choose(readout, bucket, beta):
    config = DecodingConfig(max_new_tokens=4, temperature=0.7, seed=3)
    trace = recorded(readout, prompt(6), [Baseline(), DolaStatic(layer=22)], config)
    other = DolaDynamic(bucket=bucket, alpha=0.3, beta=beta).fitted(N, tied=True)
    forced = {lane: (trace.lane_ids(1), "length") for lane in (0, 1)}
    told = 0
    for output in compare(readout, prompt(6), [Baseline(), other], config, forced=forced):
        step = trace.lane_steps(1)[output.index]
        real = output.steps[0].choices[1]
        assert step.contrasted(other) == real.layer
        if step.exact_alpha <= 0.3:
            told += 1
            assert trace.what_if(1, output.index, other) == real.id
    assert told


def test_a_trace_from_before_closeness_was_recorded_says_so(readout):
    trace = recorded(readout, prompt(6), [Baseline(), DolaStatic(layer=22)], DecodingConfig(max_new_tokens=1))
    older = trace.model_copy(
        update={"steps": tuple(s.model_copy(update={"closeness": NO_FLOATS}) for s in trace.steps)}
    )
    again = Trace.model_validate_json(older.to_json())
    other = DolaDynamic(bucket="high", alpha=1.0).fitted(N, tied=True)
    with pytest.raises(ValueError, match="does not tell which layer"):
        again.what_if(1, 0, other)
    with pytest.raises(ValueError, match="does not choose a layer"):
        again.steps[0].contrasted(DolaStatic(layer=3))


def test_a_document_that_lacks_a_row_is_refused_in_a_sentence(readout):
    """Of two ways of reading, one may be missing in a file that somebody has changed."""
    lanes = (Baseline(), DolaStatic(layer=22), DolaStatic(layer=3, early_norm=False))
    trace = recorded(readout, prompt(6), lanes, DecodingConfig(max_new_tokens=2))
    own = {trace.reading_of(lane) for lane in lanes[1:]}
    assert own == {0, 1}
    steps = tuple(step for step in trace.steps if step.reading == 0 or 2 in step.lanes)
    kept = Trace.model_validate_json(trace.model_copy(update={"steps": steps}).to_json())
    lacking = [step for step in kept.lane_steps(1) if 2 not in step.lanes]
    assert lacking
    with pytest.raises(ValueError, match="The trace holds no step"):
        kept.what_if(1, lacking[0].index, lanes[2])
