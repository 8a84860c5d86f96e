"""What came of one prompt, as a row of a table."""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from dola_core.lanes import DecodingConfig, Lane, distinct_names, lane_text
from dola_core.models.info import ModelInfo
from dola_core.trace.schema import Trace


class PromptRow(BaseModel):
    """One prompt with what the lanes made of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=1)
    """Of the prompt in its file, from 1."""
    settings: str
    """Of the run, as `settings_digest` returns it."""
    prompt: str
    texts: dict[str, str] = {}
    """{lane: what it wrote}; empty if the prompt could not be run."""
    ends: dict[str, str | None] = {}
    """{lane: why it ended}"""
    steps: int = 0
    """Tokens of the longest text."""
    first_difference: int | None = None
    """The first step, from 1, at which the lanes choose different tokens after the same text."""
    differing: int = 0
    """Rows of the batch, over all steps, after which not all lanes choose the same."""
    mean_divergence: float | None = None
    """Mean Jensen–Shannon divergence, in nats, between the final layer and the layer that the first contrasting lane
    contrasts with, over the steps of its text; None if no lane contrasts one layer."""
    digest: str = ""
    """Of all tokens, as in the trace."""
    error: str = ""
    """Why the prompt could not be run, as one sentence."""

    @classmethod
    def of(cls, number: int, settings: str, trace: Trace) -> Self:
        """The row of a finished comparison."""
        names = distinct_names(trace.lanes)
        rows = [step for step in trace.steps if step.reading == 0]
        return cls(
            number=number,
            settings=settings,
            prompt=trace.prompt,
            texts=dict(zip(names, trace.texts, strict=True)),
            ends=dict(zip(names, trace.ends, strict=True)),
            steps=max(len(trace.lane_steps(lane)) for lane in range(len(names))),
            first_difference=next((step.index + 1 for step in rows if _differs(step.choices)), None),
            differing=sum(_differs(step.choices) for step in rows),
            mean_divergence=mean_divergence(trace),
            digest=trace.digest,
        )


def _differs(choices: Sequence[object]) -> bool:
    return len({choice.id for choice in choices}) > 1  # type: ignore[attr-defined]


def mean_divergence(trace: Trace) -> float | None:
    """See `PromptRow.mean_divergence`."""
    for number, lane in enumerate(trace.lanes):
        layers = [layer for layer in lane.reads if layer]
        if not lane.chooses_layer and len(layers) != 1:
            continue
        steps = trace.lane_steps(number)
        chosen = [step.choices[number].layer if lane.chooses_layer else layers[0] for step in steps]
        read = [float(step.jsd[layer - 1]) for step, layer in zip(steps, chosen, strict=True) if layer]
        return round(math.fsum(read) / len(read), 6) if read else None
    return None


def settings_digest(model: ModelInfo, lanes: Sequence[Lane], config: DecodingConfig, *, chat: bool) -> str:
    """16 hex digits that tell runs apart which may give other rows for the same prompt."""
    parts = {
        "model": model.model_dump(mode="json"),
        "lanes": [lane_text(lane) for lane in lanes],
        "decoding": config.model_dump(mode="json"),
        "chat": chat,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
