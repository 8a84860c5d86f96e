"""Every kind of lane equals the naive decoder, in lock step and in `generate`; and the identities of β."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dola_core.generation import generate_with_dola, generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic, LinearContrast
from dola_core.lanes.buckets import bucket_layers
from dola_core.models.reading.readout import Readout
from tests.dola_core.reference import NaiveDecoder, contrast, log_softmax
from tests.dola_core.tiny import N, beam_search, compare, prompt, recorded, texts, tiny

STEPS = 8
PROMPT = prompt(9)
WAYS = [
    {},
    {"early_norm": False},
    {"penalty": 1.3},
    {"penalty": 1.3, "position": "after", "early_norm": False},
]
BUCKETS = ["low", "high", "all", "middle", "16-28/3"]


def config_of(way, **more):
    names = {"penalty": "repetition_penalty", "position": "penalty_position", "early_norm": "early_norm"}
    return DecodingConfig(max_new_tokens=STEPS, **{names[name]: value for name, value in way.items()}, **more)


@pytest.fixture(scope="module", params=["llama", "llama-tied"])
def model(request):
    """One whose `low` bucket begins with the embeddings, and one whose does not."""
    return tiny(request.param)


@pytest.fixture(scope="module")
def slow(model):
    return NaiveDecoder(model)


def check(slow, trace, number, **way):
    """Whether a dynamic lane's layers are the least close ones, and its tokens those of the naive decoder with them.

    Some layers have so little in common with the last that no float32 tells them apart; of those any will do.
    """
    lane, ids = trace.lanes[number], list(trace.prompt_ids)
    for step in trace.lane_steps(number):
        choice = step.choices[number]
        scores, close = slow.dynamic(ids, lane.layers, lane.alpha, lane.beta, **way)
        assert close[choice.layer] <= min(close.values()) * 1.0001 + 1e-32
        assert scores[choice.layer].argmax() == choice.id
        ids.append(choice.id)
    assert ids[len(trace.prompt_ids) :] == trace.lane_ids(number)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_dynamic_lanes_equal_the_naive_decoder_and_name_their_layers(model, slow, way):
    readout = Readout.of(model)
    lanes = [Baseline(), *(DolaDynamic(bucket=bucket, beta=beta) for bucket in BUCKETS for beta in (1.0, 0.5))]
    trace = recorded(readout, PROMPT, lanes, config_of(way))
    for number, lane in enumerate(lanes[1:], start=1):
        assert trace.lanes[number].layers == bucket_layers(lane.bucket, N, tied=readout.is_tied)
        check(slow, trace, number, **way)
    chosen = [step.choices[number].layer for number in range(1, len(lanes)) for step in trace.lane_steps(number)]
    assert len(set(chosen)) > 3
    assert all(step.choices[0].layer is None for step in trace.steps)
    unrecorded = texts(compare(readout, PROMPT, lanes, config_of(way), record=False))
    assert unrecorded == [trace.lane_ids(number) for number in range(len(lanes))]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_generate_with_a_dynamic_lane_writes_what_lock_step_writes(model, way):
    named = {"early_norm": way.get("early_norm"), "penalty_position": way.get("position")}
    for bucket in ("low", "high"):
        lane = DolaDynamic(bucket=bucket, **named)
        output = generate_with_dola(
            model, torch.tensor([PROMPT]), lane=lane, do_sample=False, max_new_tokens=STEPS,
            repetition_penalty=way.get("penalty", 1.0),
        )  # fmt: skip
        [text] = texts(compare(Readout.of(model), PROMPT, [lane], config_of(way), record=False))
        assert output[0, len(PROMPT) :].tolist() == text


def test_every_row_of_a_batch_chooses_its_own_layer(llama, readout):
    """Where the published code takes one layer for the whole batch, a row here is its single run."""
    rows, lane = [prompt(9, seed=seed) for seed in range(4)], DolaDynamic(bucket="high")
    output = generate_with_dola(llama, torch.tensor(rows), lane=lane, do_sample=False, max_new_tokens=STEPS)
    traces = [recorded(readout, row, [lane], config_of({})) for row in rows]
    assert output[:, 9:].tolist() == [trace.lane_ids(0) for trace in traces]
    layers = [[step.choices[0].layer for step in trace.steps] for trace in traces]
    assert any(len(set(at_once)) > 1 for at_once in zip(*layers, strict=True))


@pytest.mark.parametrize("early_norm", [True, False])
def test_a_linear_contrast_equals_the_naive_sum(llama, readout, naive, early_norm):
    weights, alpha = {0: 0.1, 4: -0.5, 20: -0.75}, 0.05
    lane = LinearContrast(weights=weights, mature=1.5, alpha=alpha, early_norm=early_norm)

    def best(ids):
        log_q_N = log_softmax(naive.logits(ids))
        total = 1.5 * log_q_N + sum(
            w * log_softmax(naive.logits(ids, layer, early_norm=early_norm)) for layer, w in weights.items()
        )
        F = contrast(log_q_N, log_q_N - total, alpha)
        return int(F.argmax())

    ids = list(PROMPT)
    for _ in range(STEPS):
        ids.append(best(ids))
    [text] = texts(compare(readout, PROMPT, [lane], config_of({}), record=False))
    assert text == ids[len(PROMPT) :]
    output = generate_with_dola(llama, torch.tensor([PROMPT]), lane=lane, do_sample=False, max_new_tokens=STEPS)
    assert output[0].tolist() == ids


def test_a_linear_contrast_of_one_layer_is_dola_static(readout):
    lanes = [DolaStatic(layer=22, beta=0.5), LinearContrast(weights={22: -0.5})]
    one, other = texts(compare(readout, PROMPT, lanes, config_of({})))
    assert one == other


@settings(max_examples=25, deadline=None)
@given(layer=st.integers(1, N - 1), alpha=st.floats(0.01, 1), seed=st.integers(0, 50), record=st.booleans())
def test_without_strength_every_contrast_is_the_baseline(readout, layer, alpha, seed, record):
    lanes = [
        Baseline(),
        DolaStatic(layer=layer, alpha=alpha, beta=0.0),
        DolaDynamic(bucket="high", alpha=alpha, beta=0.0),
    ]
    for way in ({}, {"penalty": 1.3}):
        written = texts(compare(readout, prompt(6, seed=seed), lanes, config_of(way), record=record))
        assert written[0] == written[1] == written[2]


@settings(max_examples=25, deadline=None)
@given(layer=st.integers(1, N - 1), alpha=st.floats(0.01, 1), seed=st.integers(0, 50))
def test_at_strength_one_it_is_dola(llama, readout, layer, alpha, seed):
    lanes = [DolaStatic(layer=layer, alpha=alpha, beta=1.0), DolaDynamic(bucket=str(layer), alpha=alpha)]
    ids = prompt(6, seed=seed)
    output = generate_with_dola_static(
        llama, torch.tensor([ids]), layer=layer, alpha=alpha, do_sample=False, max_new_tokens=STEPS
    )
    for text in texts(compare(readout, ids, lanes, config_of({}), record=False)):
        assert text == output[0, 6:].tolist()


def test_each_lane_may_have_a_penalty_and_a_norm_of_its_own(llama, readout, naive):
    lanes = [
        Baseline(),
        Baseline(repetition_penalty=1.4),
        DolaStatic(layer=22, early_norm=False),
        DolaStatic(layer=22, repetition_penalty=1.4, penalty_position="after"),
    ]
    expected = [
        naive.greedy(PROMPT, STEPS, None),
        naive.greedy(PROMPT, STEPS, None, penalty=1.4),
        naive.greedy(PROMPT, STEPS, 22, early_norm=False),
        naive.greedy(PROMPT, STEPS, 22, penalty=1.4, position="after"),
    ]
    assert len({tuple(text) for text in expected}) == 4
    for record in (True, False):
        assert texts(compare(readout, PROMPT, lanes, config_of({}), record=record)) == expected
    for lane, text in zip(lanes, expected, strict=True):
        output = generate_with_dola(llama, torch.tensor([PROMPT]), lane=lane, do_sample=False, max_new_tokens=STEPS)
        assert output[0, len(PROMPT) :].tolist() == text


@pytest.mark.parametrize(
    "lane",
    [Baseline(repetition_penalty=1.2), DolaStatic(layer=22, beta=0.5), DolaDynamic(bucket="high"),
     LinearContrast(weights={22: -1.0, 3: 0.2})],
    ids=lambda lane: lane.kind,
)  # fmt: skip
def test_beams_and_samples_are_of_the_lane(llama, readout, lane):
    """A beam of `generate_with_dola` is the lane's beam in a comparison; a seed gives one text."""
    results = list(beam_search(readout, PROMPT, [lane], DecodingConfig(max_new_tokens=4, num_beams=3)))[-1]
    how = {"do_sample": False, "num_beams": 3, "max_new_tokens": 4}
    output = generate_with_dola(llama, torch.tensor([PROMPT]), lane=lane, **how)
    assert list(results.beams[0].ids) == output[0, len(PROMPT) :].tolist()
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(
            generate_with_dola(llama, torch.tensor([PROMPT]), lane=lane, do_sample=True, max_new_tokens=4).tolist()
        )
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    "lane",
    [DolaStatic(layer=N), DolaDynamic(bucket="30"), LinearContrast(weights={N: 1.0}), LinearContrast(weights={})],
)
def test_layers_that_the_model_has_not_are_refused(llama, readout, lane):
    with pytest.raises(ValueError, match=r"must|needs"):
        list(compare(readout, PROMPT, [lane], config_of({})))
    with pytest.raises(ValueError, match=r"must|needs"):
        generate_with_dola(llama, torch.tensor([PROMPT]), lane=lane)
