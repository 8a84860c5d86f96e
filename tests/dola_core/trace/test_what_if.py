"""What-ifs over a whole trace equal the single ones, and say where there is none."""

import numpy as np
import pytest
import torch

from dola_core.lanes import (
    Baseline,
    DecodingConfig,
    DolaDynamic,
    DolaStatic,
    LinearContrast,
    lane_scores,
    select_tokens,
)
from dola_core.trace.what_if import changed_by_layer, what_if_choice, winners, with_bucket, with_layer
from tests.dola_core.tiny import N, recorded

LANES = [Baseline(name="plain"), DolaStatic(name="dola", layer=22)]
ALPHAS = (0.01, 0.1, 0.5, 1.0)
KINDS = (
    DecodingConfig(max_new_tokens=6),
    DecodingConfig(max_new_tokens=6, temperature=1.2, top_p=0.9, seed=5),
    DecodingConfig(max_new_tokens=6, temperature=0.7, seed=5),
    DecodingConfig(max_new_tokens=6, repetition_penalty=1.4, penalty_position="after"),
)


@pytest.fixture(scope="module", params=KINDS, ids=["greedy", "nucleus", "sampled", "penalised"])
def trace(request, readouts):
    return recorded(readouts[2], [1, 5, 9], LANES, request.param)


def single(step, layer, alpha, decoding):
    """One what-if, naively: one row by itself, nothing kept from another; None where there is none."""
    if alpha < step.exact_alpha:
        return None
    by_id = np.argsort(step.tokens[: len(step.exact_log_q)])
    table = torch.from_numpy(step.exact_log_q[by_id])
    seen = torch.tensor([[place for place, old in enumerate(by_id.tolist()) if old in step.seen]])
    lane = DolaStatic(name="", layer=layer, alpha=alpha)
    scores = lane_scores(lane, decoding, seen, table[None, :, -1], table[None, None, :, layer - 1])
    noise = torch.from_numpy(step.noise[by_id]) if decoding.samples else None
    return int(step.tokens[by_id][select_tokens(decoding, scores, noise).item()])


@pytest.mark.parametrize("alpha", ALPHAS)
def test_all_layers_at_once_are_each_layer_alone(trace, alpha):
    for step in trace.steps:
        alone = [single(step, layer, alpha, trace.decoding) for layer in range(1, N)]
        together = winners(step, [alpha], DolaStatic(layer=1), trace.decoding)[0].tolist()
        assert together == [-1 if token is None else token for token in alone]


@pytest.mark.parametrize("lane", [0, 1])
def test_a_text_read_again_with_the_settings_of_the_run_chooses_as_it_did(trace, lane):
    for step in trace.lane_steps(lane):
        told = step.exact_alpha <= 0.1
        assert what_if_choice(trace, step, LANES[1]) == (step.choices[1].id if told else None)


@pytest.mark.parametrize("lane", [0, 1])
def test_a_text_read_again_with_other_settings_is_each_step_read_again(trace, lane):
    steps = trace.lane_steps(lane)
    told = [single(step, 5, 0.02, trace.decoding) for step in steps]
    assert [what_if_choice(trace, step, DolaStatic(layer=5, alpha=0.02)) for step in steps] == told


@pytest.mark.parametrize("alpha", ALPHAS)
def test_changes_are_counted_against_the_run_and_only_where_the_record_tells(trace, alpha):
    found = changed_by_layer(trace, 1, DolaStatic(layer=1, alpha=alpha))
    steps = trace.lane_steps(1)
    told = [step for step in steps if alpha >= step.exact_alpha]
    assert (found.steps, found.unavailable) == (len(told), len(steps) - len(told))
    for layer in (1, 11, 22, N - 1):
        naive = sum(
            step.what_if(DolaStatic(layer=layer, alpha=alpha), trace.decoding) != step.choices[1].id for step in told
        )
        assert found.counts[layer - 1] == naive
    if alpha == 0.1:
        assert found.counts[21] == 0


def test_a_flat_step_has_no_winners_below_what_it_records(readouts):
    flat = recorded(readouts[0], [1, 5, 9], LANES, DecodingConfig(max_new_tokens=1)).steps[0]
    assert flat.exact_alpha > 0.01
    won = winners(flat, (0.01, 1.0), DolaStatic(layer=1), DecodingConfig())
    assert (won[0] == -1).all()
    assert (won[1] >= 0).all()
    assert won.dtype == np.int64


def test_another_layer_or_bucket_keeps_what_else_a_lane_has():
    lane = DolaDynamic(bucket="high", alpha=0.3, beta=0.5, repetition_penalty=1.2, early_norm=False)
    own = {"alpha": 0.3, "beta": 0.5, "repetition_penalty": 1.2, "early_norm": False}
    assert with_layer(lane, 7) == DolaStatic(layer=7, **own)
    low = DolaDynamic(bucket="low", **own).fitted(N, tied=True)
    assert with_bucket(with_layer(lane, 7), "low", N, tied=True) == low
    assert with_layer(Baseline(), 7) == DolaStatic(layer=7)
    assert with_layer(LinearContrast(weights={3: -1.0}, alpha=0.2), 7) == DolaStatic(layer=7, alpha=0.2)
