"""The result of a layer search, as one JSON document: what was asked for, the curves, the choice, and its stability."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Self

from pydantic import Field

from dola_core.lanes import DolaStatic, parse_lane
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.questions.sample import MeasuredQuestions, solved
from dola_core.layer_search.search_config import ResultRecord, SearchConfig
from dola_core.models.info import ModelInfo
from dola_core.models.preset import RecordedTest

SCHEMA: Final = 1

Effect = Literal["helps", "hurts", "chance"]
"""Whether a fixed layer is better than the baseline, worse, or neither beyond chance."""


class Interval(NamedTuple):
    """An estimate with its 95 % bootstrap interval; an array of three numbers in JSON."""

    mean: float
    low: float
    high: float

    @property
    def effect(self) -> Effect:
        """Of a difference to the baseline: whether it is above 0, below, or neither beyond chance."""
        return "helps" if self.low > 0 else "hurts" if self.high < 0 else "chance"

    def rounded(self) -> "Interval":
        """The interval to five decimals, as it is stored."""
        return Interval(*(round(number, 5) for number in self))


class _EstimateRecord(ResultRecord):
    """A record whose fields include intervals."""

    def rounded(self) -> Self:
        """The record with its intervals rounded, as they are stored."""
        rounded = {name: value.rounded() for name, value in self if isinstance(value, Interval)}
        return self.model_copy(update=rounded)


class DataInfo(ResultRecord):
    """The questions."""

    name: str
    sha256: str
    """Hash of the file they are from; may be empty."""
    items: int
    """Questions that were answered."""
    of: int
    """Questions to measure: those of the file, or of the sample."""
    held: int | None = None
    """Questions of the file; None in files of earlier versions, which are of all or of the first ones."""
    left_out: int = 0
    """Questions of the file that are solved examples, or about the same entity as one."""
    examples: tuple[int, ...] = ()
    """Where the solved examples stand in the file, from 0."""
    seed: int | None = None
    """The seed by which sample and examples were drawn; None if nothing was."""
    images_sha256: str | None = Field(None, exclude_if=lambda value: value is None)
    """Hash of the pixels of all images of the questions to measure, in their order; None without images."""

    @property
    def sampled(self) -> bool:
        """Whether the questions are a random sample."""
        return self.held is not None and self.of < self.held - self.left_out

    @property
    def sample(self) -> str:
        """How the questions were drawn, in English; empty if all were taken."""
        return f"a random sample of {self.of:,} of {self.held:,} questions (seed {self.seed})" if self.sampled else ""

    @classmethod
    def about(
        cls,
        questions: MeasuredQuestions,
        config: SearchConfig,
        *,
        name: str,
        sha256: str,
        items: int,
        images_sha256: str | None = None,
    ) -> Self:
        """What a result says about the questions, `items` of which were answered."""
        drawn = questions.sampled or questions.examples
        return cls(
            name=name,
            sha256=sha256,
            items=items,
            of=len(questions.items),
            held=questions.held,
            left_out=questions.left_out,
            examples=questions.examples,
            seed=config.seed if drawn else None,
            images_sha256=images_sha256,
        )


class Curve(ResultRecord):
    """The mean of one metric at every setting."""

    baseline: Interval
    settings: tuple[tuple[Interval, ...], ...]
    """`[layers][alphas]`"""


class Chosen(ResultRecord):
    """The best setting by the chosen metric."""

    layer: int
    alpha: float
    value: Interval
    difference: Interval
    """To the baseline, paired by question. Biased upwards, since the setting was chosen on the same questions;
    `Stability.gain` is not."""
    not_worse: dict[int, tuple[float, ...]]
    """{layer: its α} of the settings that may be the best, with chance over all settings taken into account."""
    mended: int | None = None
    """Questions that the setting has right and the baseline wrong; None in files of earlier versions."""
    broken: int | None = None
    """Questions that the baseline has right and the setting wrong."""


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
        return self.gain.effect


class LaneResult(ResultRecord):
    """What a further lane came to."""

    lane: str
    """As text; see `dola_core.lanes.parse_lane`."""
    values: dict[Metric, Interval]
    difference: Interval
    """To the baseline by the metric of the choice, paired by question."""


class DynamicChoice(_EstimateRecord):
    """The best lane that chooses its layer at each step, against the best fixed setting."""

    lane: str
    value: Interval
    difference: Interval
    """To the baseline, paired by question; of several lanes the best was taken, which flatters it."""
    gain: Interval
    """The best dynamic lane minus the best fixed setting, both chosen on one half of the questions and tested on the
    other: mean and 95 % spread over splits."""


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
    dynamic: Interval | None = None
    """The best dynamic lane minus the best fixed setting, as `DynamicChoice.gain`, on this domain; None if no dynamic
    lane was measured."""


class Candidate(ResultRecord):
    """A token of a distribution."""

    text: str
    p: float


class ErrorCase(ResultRecord):
    """A question that one decoder has right and the other wrong, with both distributions at the deciding token.

    A result without texts holds only the question's number, its domain, and who has it right.
    """

    item: int
    """Where the question stands in its file, from 0."""
    prompt: str = ""
    """The question as its file has it, without the solved examples; empty in a result without texts."""
    image: str = Field("", exclude_if=lambda name: not name)
    """The file name of its image; empty without one, and in a result without texts."""
    domain: str
    answers: tuple[str, ...] = ()
    right: Literal["baseline", "dola"]
    """The decoder that has it right."""
    wrong: str = ""
    """What the other decoder prefers or generates."""
    common: str = ""
    """The common beginning of the right and the wrong text; the next token decides."""
    q_N: tuple[Candidate, ...] = ()
    q_J: tuple[Candidate, ...] = ()

    def without_texts(self) -> "ErrorCase":
        """The case without anything that its file says, or a model in answer to it."""
        return ErrorCase(item=self.item, domain=self.domain, right=self.right)


class SearchResult(ResultRecord):
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
    lanes: tuple[LaneResult, ...] = ()
    """What was measured beside the layers."""
    dynamic: DynamicChoice | None = None
    """None if no dynamic lane was measured, or there are too few questions."""
    verdict: str
    """The conclusion in English."""
    errors: tuple[ErrorCase, ...] = ()
    before: str = ""
    """The solved examples as they stood before every prompt; empty without any, and in a result without texts."""

    def without_texts(self) -> Self:
        """The result without the sentences of the file of questions, whole or in part; domains keep their names."""
        errors = tuple(case.without_texts() for case in self.errors)
        return self.model_copy(update={"errors": errors, "before": ""})

    @property
    def lacks_texts(self) -> bool:
        """Whether it names questions by their numbers alone."""
        return any(not case.prompt for case in self.errors)

    def with_texts(self, items: Sequence[Item]) -> Self:
        """The result with the prompts and right answers of all questions of its file, as `read_items` reads them.

        What the decoders said instead, the file does not tell. Raises `ValueError` if the questions are others.
        """
        cases = [(case, items[case.item] if case.item < len(items) else None) for case in self.errors]
        if self.data.held not in (None, len(items)) or any(
            item is None or item.domain != case.domain or case.prompt not in ("", item.prompt) for case, item in cases
        ):
            raise ValueError("The questions are not those of the result; give the file that was measured.")
        errors = tuple(
            case.model_copy(update={"prompt": item.prompt, "image": item.image_name, "answers": item.answers})
            for case, item in cases
            if item
        )
        before = "".join(solved(items[number]) for number in self.data.examples)
        return self.model_copy(update={"errors": errors, "before": before})

    @property
    def tested(self) -> RecordedTest | None:
        """The record of the test, for a preset, if a setting was tested that had been chosen before on other questions.

        None where the setting was chosen on these questions, where there are too few of them, or where the metric
        tells no right answers from wrong ones.
        """
        chosen = self.chosen
        is_test = self.asked.one_setting and self.stability is not None and self.asked.unit == "points"
        if not is_test or chosen.mended is None or chosen.broken is None:
            return None
        return RecordedTest(
            data=self.data.name,
            questions=self.data.items,
            metric=self.asked.metric,
            mended=chosen.mended,
            broken=chosen.broken,
            gain=RecordedTest.points(chosen.difference),
        )

    def by_strength(self, metric: Metric) -> dict[float, list[Interval]]:
        """{β: the metric at every layer} for the strengths that were measured at all of `layers`."""
        alpha, found = self.asked.usual_alpha, dict[float, dict[int, Interval]]()
        for one in self.lanes:
            lane = parse_lane(one.lane)
            if isinstance(lane, DolaStatic) and lane.alpha == alpha:
                found.setdefault(lane.beta, {})[lane.layer] = one.values[metric]
        return {
            beta: [by_layer[layer] for layer in self.layers]
            for beta, by_layer in found.items()
            if beta in self.asked.betas and set(self.layers) <= set(by_layer)
        }

    @property
    def other_lanes(self) -> list[LaneResult]:
        """The further lanes that are no part of `by_strength`: those that choose their layer first."""
        strengths = set(self.by_strength(self.asked.metric))
        lanes = [(parse_lane(one.lane), one) for one in self.lanes]
        left = [pair for pair in lanes if not (isinstance(pair[0], DolaStatic) and pair[0].beta in strengths)]
        return [one for _, one in sorted(left, key=lambda pair: not pair[0].chooses_layer)]

    def to_json(self) -> str:
        """The JSON document."""
        return self.model_dump_json(by_alias=True, indent=1)
