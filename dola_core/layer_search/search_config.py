"""What a layer search is asked for."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dola_core.lanes import DecodingConfig, DolaDynamic, DolaStatic, lane_text
from dola_core.layer_search.answers.scoring import ScoringConfig
from dola_core.layer_search.metrics import Metric, Normalisation

Task = Literal["mc", "generate"]
"""Multiple choice by scores, or generation."""
Strategy = Literal["all", "grid", "buckets"]
"""Which layers are measured; see `search.first_layers`."""

ALPHA = 0.1
"""The usual α, at which lanes beside the layers are measured."""


class ResultRecord(BaseModel):
    """A part of a search or of its result: it never changes, and knows no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class SearchConfig(ResultRecord):
    """What is searched; with the model and the questions it determines the result."""

    task: Task = "mc"
    strategy: Strategy = "all"
    layers: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Layers to measure instead of those of the strategy. One layer with one α tests a setting that was chosen before,
    on other questions."""
    alphas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field((0.05, 0.1, 0.2), min_length=1)
    buckets: tuple[Annotated[str, Field(max_length=20)], ...] = Field((), max_length=10)
    """Buckets of DoLa-dynamic that are measured beside the layers, at α = 0.1 or the nearest of `alphas` above 0."""
    betas: tuple[Annotated[float, Field(ge=0, le=10)], ...] = Field((), max_length=10)
    """Strengths β, beside 1, at which every layer and bucket is measured at that α, too."""
    lanes: tuple[Annotated[str, Field(max_length=300)], ...] = Field((), max_length=50)
    """Any other lanes to measure in the same pass, as text; see `dola_core.lanes.parse_lane`."""
    metric: Metric = "mc1"
    """The metric that the best setting is chosen by; the other metrics are measured too."""
    normalisation: Normalisation = "sum"
    rule: ScoringConfig = ScoringConfig()
    """How answers are scored in the task "mc"."""
    decoding: DecodingConfig | None = None
    """How texts are generated in the task "generate"."""
    preamble: bool = False
    """Whether TruthfulQA's customary examples precede each question."""
    chat: bool = False
    """Whether prompts are the user's turn of the model's chat template, and answers what the assistant says."""
    few_shot: int = Field(0, ge=0)
    """Solved examples before each question, drawn from the questions; see `measured_questions`."""
    limit: int | None = Field(None, ge=1)
    """Size of the random sample, stratified by domain; None measures all questions."""
    seed: int = Field(0, ge=0)
    """Determines the sample and the examples."""

    @model_validator(mode="after")
    def _examples_stand_in_plain_text(self) -> Self:
        if self.few_shot and (self.chat or self.preamble):
            raise ValueError(
                "few_shot puts solved examples before plain prompts; leave out few_shot, or else chat and preamble"
            )
        return self

    @property
    def one_setting(self) -> bool:
        """Whether a setting is tested that was named, so that nothing is chosen."""
        return len(self.layers) == len(self.alphas) == 1

    @property
    def usual_alpha(self) -> float | None:
        """The α of what is measured beside the layers: the one above 0 that is nearest to the usual 0.1, if any."""
        return min((alpha for alpha in self.alphas if alpha > 0), key=lambda alpha: abs(alpha - ALPHA), default=None)

    def further_lanes(self, layers: Sequence[int]) -> tuple[str, ...]:
        """The lanes that are measured beside the baseline and every (layer, α), as text."""
        alpha, found = self.usual_alpha, list[str]()
        if alpha is not None:
            found += [
                lane_text(DolaDynamic(bucket=bucket, alpha=alpha, beta=beta))
                for bucket in self.buckets
                for beta in dict.fromkeys((1.0, *self.betas))
            ]
            found += [
                lane_text(DolaStatic(layer=layer, alpha=alpha, beta=beta))
                for beta in self.betas
                if beta != 1
                for layer in layers
            ]
        return tuple(dict.fromkeys([*found, *self.lanes]))

    @property
    def unit(self) -> str:
        """Unit of differences of the metric: "nats", or "points" (hundredths of a share)."""
        return "nats" if self.metric == "margin" else "points"
