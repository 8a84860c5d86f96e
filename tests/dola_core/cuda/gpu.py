"""What the tests on a GPU share."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.reading.readout import Readout
from dola_core.trace.step import Step
from tests.dola_core.tiny import tiny

NEEDS_GPU = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that PyTorch can use"),
]
LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22), DolaStatic(name="low", layer=3, alpha=0.05))
DECODINGS = {
    "greedy": DecodingConfig(max_new_tokens=10),
    "penalty": DecodingConfig(max_new_tokens=10, repetition_penalty=1.3, penalty_position="after"),
    "sampled": DecodingConfig(max_new_tokens=10, temperature=0.9, top_k=30, seed=3),
    "raw": DecodingConfig(max_new_tokens=10, early_norm=False),
}


def on_gpu(name: str, dtype: torch.dtype = torch.float32) -> Readout:
    """The tiny model of one architecture, copied to the GPU."""
    return Readout.of(deepcopy(tiny(name)).to("cuda", dtype))


def furthest(one: Step, other: Step) -> float:
    """How far the exact log-probabilities of two records lie apart, token by token.

    Tokens stand in the order of what the last layer gives them. Two that are equal but for rounding may stand the other
    way round, and the last of them may be another one.
    """
    numbers = [dict(zip(step.tokens.tolist(), step.exact_log_q, strict=False)) for step in (one, other)]
    shared = numbers[0].keys() & numbers[1].keys()
    assert len(shared) >= max(map(len, numbers)) - 1
    return max(float(np.abs(numbers[0][token] - numbers[1][token]).max()) for token in shared)
