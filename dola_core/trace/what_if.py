"""What-ifs over a whole trace: what a lane would choose with other settings, read from the trace.

A step has no answer if more tokens are plausible at α than it records; see `Step.exact_alpha`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dola_core.lanes import DecodingConfig, DolaDynamic, DolaStatic, Lane
from dola_core.trace.schema import Trace
from dola_core.trace.step import Step

OWN = ("alpha", "beta", "repetition_penalty", "penalty_position", "early_norm", "image")
"""What a lane keeps when the layers that it contrasts with are changed."""


def what_if_choice(trace: Trace, step: Step, lane: Lane) -> int | None:
    """The choice of `lane`, fitted to the model, on the row of `step`; None where the trace does not tell."""
    try:
        return trace.what_if_at(step, lane)
    except ValueError:
        return None


def with_layer(lane: Lane, layer: int) -> DolaStatic:
    """DoLa-static with j* = `layer`, and α, β, penalty, norm and image as `lane` has them."""
    return DolaStatic(layer=layer, **_own(lane))


def with_bucket(lane: Lane, bucket: str, n_layers: int, *, tied: bool) -> DolaDynamic:
    """DoLa-dynamic with a bucket of a model's layers, and α, β, penalty, norm and image as `lane` has them."""
    return DolaDynamic(bucket=bucket, **_own(lane)).fitted(n_layers, tied=tied)


def _own(lane: Lane) -> dict[str, Any]:
    return {name: value for name in OWN if (value := getattr(lane, name, None)) is not None}


def winners(step: Step, alphas: Sequence[float], lane: DolaStatic, decoding: DecodingConfig) -> np.ndarray:
    """The token that `lane` chooses at `step` with every α and layer, `[alphas, N − 1]`; −1 where that is not known."""
    layers = range(1, len(step.top_ids))
    unknown = [-1] * len(layers)
    lanes = [lane.model_copy(update={"alpha": alpha}) for alpha in alphas]
    return np.array(
        [step.what_ifs(layers, one, decoding) if one.alpha >= step.exact_alpha else unknown for one in lanes],
        dtype=np.int64,
    )


@dataclass(frozen=True)
class ChangedByLayer:
    """How many of a lane's choices would change, for every layer at one α and β."""

    counts: np.ndarray
    """`[N − 1]`, layer j in column j − 1, over the steps that have an answer."""
    steps: int
    """Steps that have an answer at this α."""
    unavailable: int
    """Steps that have none."""


def changed_by_layer(trace: Trace, lane: int, other: DolaStatic) -> ChangedByLayer:
    """Count, over the text of `lane`, where `other` with each layer would choose another token than the run did."""
    layers = range(1, trace.model.n_layers)
    steps = trace.lane_steps(lane)
    known = [step for step in steps if other.alpha >= step.exact_alpha]
    counts = np.zeros(len(layers), dtype=np.int64)
    for step in known:
        counts += np.array(trace.step_for(step, other).what_ifs(layers, other, trace.decoding)) != step.choices[lane].id
    return ChangedByLayer(counts, len(known), len(steps) - len(known))
