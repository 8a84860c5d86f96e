"""Fast decoding and `generate` say the same, token for token, as the naive decoder."""

from itertools import product

import pytest
import torch

from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from tests.dola_core.tiny import compare, layer_and_alpha, prompt

LAYERS, ALPHAS, STEPS = (1, 10, 22, 29), (0.05, 0.1, 0.5, 1.0), 6
GRID = list(product(LAYERS, ALPHAS))
WAYS = [
    pytest.param(
        {"penalty": penalty, "position": position, "early_norm": norm},
        id=f"{penalty}-{position}-norm{norm:d}",
    )
    for penalty, position, norm in product((1.0, 1.2), ("before", "after"), (True, False))
]
PROMPT = prompt(9)


@pytest.fixture(scope="module")
def expected(naive):
    return lambda layer, alpha, way: naive.greedy(PROMPT, STEPS, layer, alpha, **way)


@pytest.mark.parametrize("way", WAYS)
def test_all_lanes_of_the_lock_step_decoder_equal_the_naive_decoder(readout, expected, way):
    lanes = [Baseline(name="baseline"), *(DolaStatic(name="dola", layer=j, alpha=a) for j, a in GRID)]
    decoding = DecodingConfig(
        max_new_tokens=STEPS,
        repetition_penalty=way["penalty"],
        penalty_position=way["position"],
        early_norm=way["early_norm"],
    )
    written = [[] for _ in lanes]
    for advance in compare(readout, PROMPT, lanes, decoding, record=False):
        for lane, token in advance.tokens.items():
            written[lane].append(token)
    assert written == [expected(*layer_and_alpha(lane), way) for lane in lanes]


@pytest.mark.parametrize("way", WAYS)
def test_generate_equals_the_naive_decoder(llama, expected, way):
    for layer, alpha in GRID:
        output = generate_with_dola_static(
            llama,
            torch.tensor([PROMPT]),
            layer=layer,
            alpha=alpha,
            early_norm=way["early_norm"],
            penalty_position=way["position"],
            repetition_penalty=way["penalty"],
            do_sample=False,
            max_new_tokens=STEPS,
        )
        assert output[0, len(PROMPT) :].tolist() == expected(layer, alpha, way), (layer, alpha)


def test_the_grid_would_notice_a_wrong_setting(naive):
    """Other layers, thresholds, penalties, positions and norms give other texts, so agreement means something."""
    right = {"layer": 22, "alpha": 0.1, "penalty": 1.2, "position": "before", "early_norm": True}
    wrong = [
        {"layer": 21},
        {"layer": 23},
        {"alpha": 1.0},
        {"penalty": 1.0},
        {"position": "after"},
        {"early_norm": False},
    ]
    texts = {
        tuple(token for seed in range(3) for token in naive.greedy(prompt(9, seed), STEPS, **(right | change)))
        for change in [{}, *wrong]
    }
    assert len(texts) == 1 + len(wrong)
