"""The result of a layer search, as one JSON document: what was asked for, the curves, the choice, and its stability."""

from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from dola_core.lanes import DecodingConfig
from dola_core.layer_search.metrics import Metric, Normalisation
from dola_core.layer_search.scoring import ScoringConfig
from dola_core.models.info import ModelInfo

SCHEMA: Final = 1

Task = Literal["mc", "generate"]
"""Multiple choice by scores, or generation."""
Strategy = Literal["all", "grid", "buckets"]
"""Which layers are measured; see `search.first_layers`."""

Effect = Literal["helps", "hurts", "chance"]
"""Whether a fixed layer is better than the baseline, worse, or neither beyond chance."""


class Interval(NamedTuple):
    """An estimate with its 95 % bootstrap interval; an array of three numbers in JSON."""

    mean: float
    low: float
    high: float

    def rounded(self) -> "Interval":
        """The interval to five decimals, as it is stored."""
        return Interval(*(round(number, 5) for number in self))


class _ResultRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class _EstimateRecord(_ResultRecord):
    """A record whose fields include intervals."""

    def rounded(self) -> Self:
        """The record with its intervals rounded, as they are stored."""
        rounded = {name: value.rounded() for name, value in self if isinstance(value, Interval)}
        return self.model_copy(update=rounded)


class SearchConfig(_ResultRecord):
    """What is searched; with the model and the questions it determines the result."""

    task: Task = "mc"
    strategy: Strategy = "all"
    alphas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field((0.05, 0.1, 0.2), min_length=1)
    metric: Metric = "mc1"
    """The metric that the best setting is chosen by; the other metrics are measured too."""
    normalisation: Normalisation = "sum"
    rule: ScoringConfig = ScoringConfig()
    """How answers are scored in the task "mc"."""
    decoding: DecodingConfig | None = None
    """How texts are generated in the task "generate"."""
    preamble: bool = False
    """Whether TruthfulQA's customary examples precede each question."""

    @property
    def unit(self) -> str:
        """Unit of differences of the metric: "nats", or "points" (hundredths of a share)."""
        return "nats" if self.metric == "margin" else "points"


class DataInfo(_ResultRecord):
    """The questions."""

    name: str
    sha256: str
    """Hash of the file they are from; may be empty."""
    items: int
    """Questions that were answered."""
    of: int
    """Questions in all."""


class Curve(_ResultRecord):
    """The mean of one metric at every setting."""

    baseline: Interval
    settings: tuple[tuple[Interval, ...], ...]
    """`[layers][alphas]`"""


class Chosen(_ResultRecord):
    """The best setting by the chosen metric."""

    layer: int
    alpha: float
    value: Interval
    difference: Interval
    """To the baseline, paired by question. Biased upwards, since the setting was chosen on the same questions;
    `Stability.gain` is not."""
    not_worse: dict[int, tuple[float, ...]]
    """{layer: its α} of the settings that may be the best, with chance over all settings taken into account."""


class Stability(_EstimateRecord):
    """How the choice holds when it is made on one random half of the questions and tested on the other.

    Intervals are the mean and the 95 % spread over splits. A half differs from the whole about as much as the whole
    from another sample of its size (delete-half jackknife), so the spread of `gain` can be read as a 95 % interval;
    `loss` cannot be below 0. Where all questions influence which layers are measured ("buckets"), a small bias remains.
    """

    same_layer: float
    """Share of splits in which both halves choose the same layer."""
    layers: dict[int, float]
    """{layer: share of halves that choose it}, the most frequent first."""
    loss: Interval
    """How much one half's choice falls short, on the other half, of that half's own best setting."""
    gain: Interval
    """One half's choice minus the baseline, on the other half: the gain without the bias of choosing."""

    @property
    def effect(self) -> Effect:
        """Whether `gain` is above 0, below, or neither beyond chance."""
        return "helps" if self.gain.low > 0 else "hurts" if self.gain.high < 0 else "chance"


class Domain(_EstimateRecord):
    """One domain of the questions, and the setting that is best for it alone."""

    name: str
    items: int
    layer: int
    alpha: float
    layers: tuple[int, int]
    """95 % bootstrap interval of the domain's best layer."""
    baseline: Interval
    fixed: Interval
    """The metric at the setting that is best for all questions."""
    own: Interval
    """The metric at the domain's own best setting; biased upwards by choosing, `gain` is not."""
    gain: Interval
    """The domain's own setting minus the one for all, both chosen on one half of the questions and tested on the other
    half of the domain: mean and 95 % spread over splits."""
    disagrees: bool
    """Whether the domain's own layer differs from the one for all, and is better beyond chance."""


class Candidate(_ResultRecord):
    """A token of a distribution."""

    text: str
    p: float


class ErrorCase(_ResultRecord):
    """A question that one decoder has right and the other wrong, with both distributions at the deciding token."""

    item: int
    """Index among the questions, from 0."""
    prompt: str
    domain: str
    answers: tuple[str, ...]
    right: Literal["baseline", "dola"]
    """The decoder that has it right."""
    wrong: str
    """What the other decoder prefers or generates."""
    common: str
    """The common beginning of the right and the wrong text; the next token decides."""
    q_N: tuple[Candidate, ...]
    q_J: tuple[Candidate, ...]


class SearchResult(_ResultRecord):
    """Everything a search finds. Written by `to_json`, read by `SearchResult.model_validate_json`."""

    version: Literal[1] = Field(SCHEMA, alias="schema")
    model: ModelInfo
    data: DataInfo
    asked: SearchConfig
    layers: tuple[int, ...]
    """The layers that were measured."""
    complete: bool
    """Whether every question was answered, for every layer of the strategy."""
    seconds: float
    curves: dict[Metric, Curve]
    chosen: Chosen
    stability: Stability | None
    """None if there are too few questions."""
    domains: tuple[Domain, ...]
    verdict: str
    """The conclusion in English."""
    errors: tuple[ErrorCase, ...] = ()

    def to_json(self) -> str:
        """The JSON document."""
        return self.model_dump_json(by_alias=True, indent=1)
