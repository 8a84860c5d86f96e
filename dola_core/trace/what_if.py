"""What-ifs over a whole trace: what DoLa-static would choose with another (j*, α), read from the record.

Where more tokens are plausible than a step records, that step has no answer: see `Step.exact_alpha`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dola_core.lanes import Decoding
from dola_core.trace.schema import Step, Trace

DOLA = 1
"""The lane whose choices are asked for again, in a comparison of the baseline with one DoLa lane."""


def rechosen(trace: Trace, lane: int, layer: int, alpha: float) -> list[int]:
    """DoLa's choice at every step of `lane`'s text with (layer, α); the run's own where the record does not tell."""
    return [rechosen_at(step, layer, alpha, trace.decoding) for step in trace.lane_steps(lane)]


def rechosen_at(step: Step, layer: int, alpha: float, decoding: Decoding) -> int:
    """The same at one step."""
    return step.what_if(layer, alpha, decoding) if alpha >= step.exact_alpha else step.choices[DOLA].id


def winners(step: Step, alphas: Sequence[float], decoding: Decoding) -> np.ndarray:
    """The token DoLa chooses at `step` for every α and layer, `[alphas, N − 1]`; −1 where the record does not tell."""
    layers = range(1, len(step.top_ids))
    unknown = [-1] * len(layers)
    return np.array(
        [step.what_ifs(layers, a, decoding) if a >= step.exact_alpha else unknown for a in alphas], dtype=np.int64
    )


@dataclass(frozen=True)
class Changes:
    """How many choices of the DoLa lane would be another token, for every layer at one α."""

    counts: np.ndarray
    """`[N − 1]`, column j−1 by layer j, over the steps that the record tells of."""
    steps: int
    """Steps that the record tells of at this α."""
    untold: int
    """Steps that it does not."""


def changes(trace: Trace, alpha: float) -> Changes:
    """Against the choices that the DoLa lane made in the run, over its own text."""
    layers = range(1, trace.model.n_layers)
    steps = trace.lane_steps(DOLA)
    told = [step for step in steps if alpha >= step.exact_alpha]
    counts = np.zeros(len(layers), dtype=np.int64)
    for step in told:
        counts += np.array(step.what_ifs(layers, alpha, trace.decoding)) != step.choices[DOLA].id
    return Changes(counts, len(told), len(steps) - len(told))
