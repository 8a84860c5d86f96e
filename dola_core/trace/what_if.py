"""What-ifs over a whole trace: what a DoLa lane would choose with other settings, read from the trace.

A step has no answer if more tokens are plausible at α than it records; see `Step.exact_alpha`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from dola_core.lanes import DecodingConfig, DolaStatic
from dola_core.trace.schema import Trace
from dola_core.trace.step import Step

DOLA = 1
"""Index of the DoLa lane, in a comparison of the baseline with one DoLa lane."""


def static_lane(trace: Trace) -> DolaStatic:
    """The DoLa lane of a comparison of the baseline with DoLa-static."""
    return cast(DolaStatic, trace.lanes[DOLA])


def what_if_choice(step: Step, layer: int, alpha: float, decoding: DecodingConfig) -> int:
    """DoLa's choice with (layer, α) at one step; the run's own choice where there is no answer."""
    if alpha < step.exact_alpha:
        return step.choices[DOLA].id
    return step.what_if(DolaStatic(layer=layer, alpha=alpha), decoding)


def winners(step: Step, alphas: Sequence[float], decoding: DecodingConfig) -> np.ndarray:
    """The token DoLa chooses at `step` for every α and layer, `[alphas, N − 1]`; −1 where there is no answer."""
    layers = range(1, len(step.top_ids))
    unknown = [-1] * len(layers)
    lanes = [DolaStatic(layer=1, alpha=alpha) for alpha in alphas]
    return np.array(
        [step.what_ifs(layers, lane, decoding) if lane.alpha >= step.exact_alpha else unknown for lane in lanes],
        dtype=np.int64,
    )


@dataclass(frozen=True)
class ChangedByLayer:
    """How many of the DoLa lane's choices would change, for every layer at one α."""

    counts: np.ndarray
    """`[N − 1]`, layer j in column j − 1, over the steps that have an answer."""
    steps: int
    """Steps that have an answer at this α."""
    unavailable: int
    """Steps that have none."""


def changed_by_layer(trace: Trace, alpha: float) -> ChangedByLayer:
    """Count, over the DoLa lane's own text, where each layer would choose another token than the run did."""
    layers = range(1, trace.model.n_layers)
    steps = trace.lane_steps(DOLA)
    known = [step for step in steps if alpha >= step.exact_alpha]
    counts, lane = np.zeros(len(layers), dtype=np.int64), DolaStatic(layer=1, alpha=alpha)
    for step in known:
        counts += np.array(step.what_ifs(layers, lane, trace.decoding)) != step.choices[DOLA].id
    return ChangedByLayer(counts, len(known), len(steps) - len(known))
