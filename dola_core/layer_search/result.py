"""The result of a layer search: what was measured, what it says, and the JSON document that holds it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dola_core.lanes import Decoding
from dola_core.layer_search.dataset import Item
from dola_core.layer_search.metrics import Metric, Normalisation
from dola_core.layer_search.scoring import Rule
from dola_core.layer_search.selection import (
    FEWEST,
    Domain,
    Draws,
    Interval,
    Settings,
    Stability,
    best_column,
    domains,
    not_worse,
    stability,
    verdict,
)
from dola_core.trace.schema import ModelInfo

SCHEMA = 1

Triple = tuple[float, float, float]
"""Mean, low and high end of a 95 % interval."""
Task = Literal["mc", "generate"]
Strategy = Literal["all", "grid", "buckets"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Asked(_Record):
    """What was asked for; with the model and the data it determines the result."""

    task: Task = "mc"
    strategy: Strategy = "all"
    alphas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field((0.05, 0.1, 0.2), min_length=1)
    metric: Metric = "mc1"
    """What the choice goes by; every metric has its curves."""
    normalisation: Normalisation = "sum"
    rule: Rule = Rule()
    """Of multiple choice."""
    decoding: Decoding | None = None
    """Of generation."""
    preamble: bool = False
    """Whether TruthfulQA's customary examples stand before each question."""

    @property
    def unit(self) -> str:
        """What a difference is told in."""
        return "nats" if self.metric == "margin" else "points"


class DataInfo(_Record):
    """The questions."""

    name: str
    sha256: str
    """Of the file."""
    items: int
    """Questions that were answered."""
    of: int
    """Questions that were to be answered."""


class Curve(_Record):
    """One metric at every setting."""

    baseline: Triple
    settings: tuple[tuple[Triple, ...], ...]
    """`[layers][alphas]`"""


class Chosen(_Record):
    """The best setting by the metric that was asked for."""

    layer: int
    alpha: float
    value: Triple
    difference: Triple
    """To the baseline, paired; too high by the luck of choosing, which `StabilityRecord.gain` is free of."""
    not_worse: dict[int, tuple[float, ...]]
    """{layer: its α} for the settings that may be the best, chance over all of them considered."""


class StabilityRecord(_Record):
    """See `choosing.Stability`."""

    same_layer: float
    layers: dict[int, float]
    loss: Triple
    gain: Triple


class DomainRecord(_Record):
    """See `choosing.Domain`."""

    name: str
    items: int
    layer: int
    alpha: float
    layers: tuple[int, int]
    baseline: Triple
    fixed: Triple
    own: Triple
    gain: Triple
    disagrees: bool


class Candidate(_Record):
    """A token of a distribution."""

    text: str
    p: float


class ErrorCase(_Record):
    """A question that one decoder had right and the other wrong, and the distributions where that was decided."""

    item: int
    """Its place among the questions, from 0."""
    prompt: str
    domain: str
    answers: tuple[str, ...]
    right: Literal["baseline", "dola"]
    """Who had it right."""
    wrong: str
    """What the other one preferred or said."""
    common: str
    """What the right and the wrong text begin with alike; the next token decides."""
    q_N: tuple[Candidate, ...]
    q_J: tuple[Candidate, ...]


class SearchResult(_Record):
    """Everything a search found. `SearchResult.model_validate_json` and `to_json` are its JSON both ways."""

    version: Literal[1] = Field(SCHEMA, alias="schema")
    model: ModelInfo
    data: DataInfo
    asked: Asked
    layers: tuple[int, ...]
    """The layers that were measured."""
    complete: bool
    """Whether every question was answered, for every layer that the strategy asks for."""
    seconds: float
    curves: dict[Metric, Curve]
    chosen: Chosen
    stability: StabilityRecord | None
    """None for too few questions."""
    domains: tuple[DomainRecord, ...]
    verdict: str
    errors: tuple[ErrorCase, ...] = ()

    def to_json(self) -> str:
        """The JSON document."""
        return self.model_dump_json(by_alias=True, indent=1)


def summarise(
    items: Sequence[Item],
    values: Mapping[Metric, np.ndarray],
    asked: Asked,
    layers: Sequence[int],
    *,
    model: ModelInfo,
    data: DataInfo,
    seconds: float,
    complete: bool,
) -> SearchResult:
    """The result, but for its errors, from what every one of `items` is worth by every metric: {metric: `[n, S]`}."""
    settings = Settings(tuple(layers), asked.alphas)
    things = [item.entity for item in items]
    draws, by = Draws(things), values[asked.metric]
    best = best_column(by.mean(0))
    layer, alpha = settings.of(best)
    (difference,) = draws.interval(by[:, [best]] - by[:, [0]])
    equal: dict[int, list[float]] = {}
    for column in not_worse(by, draws):
        equal.setdefault(settings.of(column)[0], []).append(settings.of(column)[1])
    stable = stability(by, things, settings) if draws.count >= FEWEST else None
    drift = domains(by, [item.domain for item in items], things, settings, draws)
    curves = {metric: _curve(draws.interval(found), settings) for metric, found in values.items()}
    told = f"Too few questions to choose a layer by: at least {FEWEST}, about different things, are needed."
    if stable:
        told = verdict((layer, alpha), stable, drift, asked.unit)
    return SearchResult(
        model=model,
        data=data,
        asked=asked,
        layers=tuple(layers),
        complete=complete,
        seconds=round(seconds, 1),
        curves=curves,
        chosen=Chosen(
            layer=layer,
            alpha=alpha,
            value=curves[asked.metric].settings[settings.layers.index(layer)][settings.alphas.index(alpha)],
            difference=_triple(difference),
            not_worse={layer: tuple(alphas) for layer, alphas in equal.items()},
        ),
        stability=_stability(stable) if stable else None,
        domains=tuple(_domain(domain) for domain in drift),
        verdict=told,
    )


def _triple(found: Interval) -> Triple:
    return (round(found.mean, 5), round(found.low, 5), round(found.high, 5))


def _curve(found: list[Interval], settings: Settings) -> Curve:
    triples, width = [_triple(one) for one in found], len(settings.alphas)
    rows = [tuple(triples[start : start + width]) for start in range(1, len(triples), width)]
    return Curve(baseline=triples[0], settings=tuple(rows))


def _stability(found: Stability) -> StabilityRecord:
    return StabilityRecord(
        same_layer=found.same_layer, layers=found.layers, loss=_triple(found.loss), gain=_triple(found.gain)
    )


def _domain(found: Domain) -> DomainRecord:
    return DomainRecord(
        name=found.name,
        items=found.items,
        layer=found.layer,
        alpha=found.alpha,
        layers=found.layers,
        baseline=_triple(found.baseline),
        fixed=_triple(found.fixed),
        own=_triple(found.own),
        gain=_triple(found.gain),
        disagrees=found.disagrees,
    )
