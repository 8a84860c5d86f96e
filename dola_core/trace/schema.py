"""The trace: everything recorded about a comparison, as one versioned JSON document.

For the tokens that can matter, a step stores `log q_j` of *every* layer. From these, `Trace.what_if` computes without
the model which token a lane would have chosen there with other settings: any layer, bucket and strength, and any
α ≥ `ALPHA_MIN`. Steps are stored once per row: lanes whose texts are still the same share them. Where lanes read the
layers in different ways (`Reading`), there is a step for each way.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import ConfigDict, FailFast, Field, PrivateAttr, model_validator

from dola_core.comparison import ChatTurn
from dola_core.contrast import check_layer
from dola_core.display import cut
from dola_core.lanes import AnyLane, DecodingConfig, Lane, Reading, distinct_names
from dola_core.models.images.image_file import MAX_IMAGES
from dola_core.models.info import ModelInfo
from dola_core.trace import tables
from dola_core.trace.figures import figures_of
from dola_core.trace.html_view import html_view
from dola_core.trace.images import TraceImage
from dola_core.trace.step import NO_BYTES, Step, TraceRecord
from dola_core.trace.versions import upgraded

if TYPE_CHECKING:
    import pandas

SCHEMA: Final = 2
MAX_LANES, MAX_STEPS, MAX_PROMPT, MAX_TEXT, MAX_PIECE = 256, 20_000, 200_000, 2_000_000, 1000
"""Bounds far above what is recorded, so that reading a file never takes more work than a run."""
BYTES_PER_STEP = 400_000 // 128
"""Average size of a step in JSON, at most, so that 64 steps of two lanes stay below 400 kB."""

EndReason = Literal["eos", "length", "stop", "stopped", "time", "broken"]
"""End of text, length limit, stop string, cancelled by the user, time limit, or numbers that were no longer finite."""


def _is_unset(value: object) -> bool:
    return value is None or value == "" or value == ()


def recorded_readings(lanes: Sequence[Lane], config: DecodingConfig) -> tuple[Reading, ...]:
    """The readings that a trace of `lanes` holds steps of: those of the lanes that contrast layers.

    Where no lane does that sees the prompt's images, or none that does not see them, that of the first such lane.
    """
    contrasting = {lane.image for lane in lanes if lane.reads}
    first = {lane.image: number for number, lane in reversed(list(enumerate(lanes)))}
    recorded = [
        lane
        for number, lane in enumerate(lanes)
        if lane.reads or (lane.image not in contrasting and first[lane.image] == number)
    ]
    return tuple(dict.fromkeys(lane.reading(config) for lane in recorded))


def stop_string_in(text: str, stop: Sequence[str]) -> str | None:
    """The first of the `stop` strings that `text` holds, or None."""
    return next((one for one in stop if one in text), None)


def digest_of(ids: list[list[int]]) -> str:
    """The first 16 hex digits of the SHA-256 of every lane's generated ids."""
    return hashlib.sha256(repr(ids).encode()).hexdigest()[:16]


class Trace(TraceRecord):
    """A finished or running comparison. `Trace.model_validate_json` and `to_json` are its JSON both ways."""

    model_config = ConfigDict(populate_by_name=True)

    version: Literal[2] = Field(SCHEMA, alias="schema")
    model: ModelInfo
    prompt: str = Field(max_length=MAX_TEXT)
    chat: ChatTurn | None = Field(None, exclude_if=_is_unset)
    """How the prompt was put as a turn of a chat; None if it was gone on with, or in traces of the first schema."""
    begun: str = Field("", max_length=MAX_TEXT, exclude_if=_is_unset)
    """What the assistant had said before the first step, at the end of `prompt_ids`."""
    prompt_ids: Annotated[tuple[Annotated[int, Field(ge=0)], ...], FailFast(), Field(max_length=MAX_PROMPT)]
    images: Annotated[tuple[TraceImage, ...], Field(max_length=MAX_IMAGES)] = Field((), exclude_if=_is_unset)
    """The images of the prompt, in their order."""
    image_span: tuple[Annotated[int, Field(ge=0)], int] | None = Field(None, exclude_if=_is_unset)
    """Where their ids stand in `prompt_ids`: the first, and that behind the last."""
    lanes: Annotated[tuple[AnyLane, ...], FailFast(), Field(max_length=MAX_LANES)]
    """Fitted to the model."""
    decoding: DecodingConfig
    steps: Annotated[tuple[Step, ...], FailFast(), Field(max_length=MAX_STEPS)]
    """Ordered by index; steps of one index by their reading, and then by the first lane of their row."""
    texts: Annotated[tuple[Annotated[str, Field(max_length=MAX_TEXT)], ...], FailFast(), Field(max_length=MAX_LANES)]
    """What each lane wrote, without the prompt."""
    ends: Annotated[tuple[EndReason | None, ...], FailFast(), Field(max_length=MAX_LANES)]
    """Why each lane stopped; None while it runs."""
    pieces: dict[int, Annotated[str, Field(max_length=MAX_PIECE)]]
    """Text of every token id that occurs."""
    digest: str = Field(max_length=64)
    """See `digest_of`: two runs with equal digests wrote the same tokens."""
    beams_found: Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], FailFast(), Field(max_length=MAX_LANES)] = ()
    """How many beams of each lane found a text of their own; empty if there was no beam search, or none counted."""
    _ahead: tuple[tuple[int, ...], ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, document: Any) -> Any:
        return upgraded(document)

    @model_validator(mode="after")
    def _consistent(self) -> "Trace":
        n = len(self.lanes)
        if not len(self.texts) == len(self.ends) == n or any(len(s.choices) != n for s in self.steps):
            raise ValueError("texts, ends and steps must have an entry for every lane")
        if len(self.beams_found) not in (0, n):
            raise ValueError("beams_found must have an entry for every lane")
        if any(len(s.top_ids) != self.model.n_layers for s in self.steps):
            raise ValueError("the steps do not have the model's number of layers")
        for layer in (layer for lane in self.lanes for layer in lane.reads if layer):
            check_layer(layer, self.model.n_layers)
        if any(step.reading >= len(self.readings) for step in self.steps):
            raise ValueError("a step is of a reading that no lane has")
        if any((len(step.noise) > 0) != self.decoding.samples for step in self.steps):
            raise ValueError("steps hold noise where a run samples, and only there")
        if bool(self.images) != bool(self.image_span):
            raise ValueError("images must have a place in the prompt, and only images")
        if self.image_span and not self.image_span[0] < self.image_span[1] <= len(self.prompt_ids):
            raise ValueError("the images' place lies outside the prompt")
        written, own = [0] * n, [self.reading_of(lane) for lane in self.lanes]
        for step in self.steps:
            for lane in step.lanes:
                if own[lane] != step.reading:
                    continue
                if step.index != written[lane]:
                    raise ValueError("a lane's steps must be numbered from 0 and none may be missing")
                written[lane] += 1
        if max(written, default=0) > self.decoding.max_new_tokens:
            raise ValueError("a lane has more steps than were asked for")
        ids = [self.prompt_ids, *(a for s in self.steps for a in (s.tokens, s.top_ids))]
        if max((max(a) for a in ids if len(a)), default=0) >= self.model.vocab_size:
            raise ValueError("a token lies outside the vocabulary")
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> "Trace":
        """The trace itself, which never changes: whoever copies it, such as a visitor's session, shares its arrays."""
        return self

    def to_json(self) -> str:
        """The JSON document, without `shown_ranks` if it would exceed `BYTES_PER_STEP` on average with them."""
        text = self.model_dump_json(by_alias=True)
        if len(text.encode()) <= BYTES_PER_STEP * max(128, len(self.steps)):
            return text
        steps = tuple(step.model_copy(update={"shown_ranks": NO_BYTES}) for step in self.steps)
        return self.model_copy(update={"steps": steps}).model_dump_json(by_alias=True)

    def to_dataframe(self, table: tables.TableName = "steps") -> "pandas.DataFrame":
        """A row a step and lane; with "layers" one for each layer too, with "tokens" one for each recorded token.

        See `tables.records` for the columns. Raises `ImportError` where pandas is not installed.
        """
        return tables.to_dataframe(self, table)

    def to_csv(self, table: tables.TableName = "steps", *, lane: int | None = None, step: int | None = None) -> str:
        """The same table as CSV, of the whole run or of one lane and one step, counted from 1.

        Text that a spreadsheet would run as a formula begins with an apostrophe.
        """
        return tables.to_csv(self, table, lane=lane, step=step)

    @property
    def figures(self) -> Any:
        """The page's charts as Plotly figures, such as `trace.figures.candidates(step=1)`.

        They need Plotly and a checkout of the project; else this raises `ImportError`.
        """
        return figures_of(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: every lane's text, with differing choices underlined."""
        return html_view(self)

    def __repr__(self) -> str:
        """The texts; a trace has some thousand numbers a step."""
        texts = {name: cut(text, 200) for name, text in zip(distinct_names(self.lanes), self.texts, strict=True)}
        return f"<Trace of {self.model.name}: {len(self.steps)} steps, {texts}>"

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """The ways in which the steps' layers are read."""
        return recorded_readings(self.lanes, self.decoding)

    def reading_of(self, lane: Lane) -> int:
        """Which of `readings` a lane looks at.

        A lane whose own is not recorded, such as a plain one, looks at the first that sees what it sees.
        """
        own = lane.reading(self.decoding)
        if own in self.readings:
            return self.readings.index(own)
        return next((n for n, reading in enumerate(self.readings) if reading.image == own.image), 0)

    def lane_steps(self, lane: int) -> list[Step]:
        """The steps of one lane's text, in order, as its own reading has them."""
        reading = self.reading_of(self.lanes[lane]) if lane < len(self.lanes) else 0
        return [step for step in self.steps if lane in step.lanes and step.reading == reading]

    def step_for(self, step: Step, lane: Lane) -> Step:
        """The step of the same row as `lane` reads the layers; `ValueError` if a document lacks it."""
        reading = self.reading_of(lane)
        if step.reading == reading:
            return step
        if found := self._by_row.get((step.index, step.lanes, reading)):
            return found
        raise ValueError(f"The trace holds no step {step.index + 1} of this text as {lane.name} reads the layers.")

    @cached_property
    def _by_row(self) -> dict[tuple[int, tuple[int, ...], int], Step]:
        """{(index, lanes, reading): step}"""
        return {(step.index, step.lanes, step.reading): step for step in self.steps}

    def lane_ids(self, lane: int) -> list[int]:
        """The ids that one lane wrote, which may be more than it has steps while a trace is still being recorded."""
        recorded = [step.taken[step.lanes.index(lane)] for step in self.lane_steps(lane)]
        return [*recorded, *self._ahead[lane]] if lane < len(self._ahead) else recorded

    def ended_by(self, lane: int) -> str | None:
        """What ended a lane's text: the text of its last token, or the stop string it holds; else None."""
        if self.ends[lane] == "eos":
            return self.pieces.get(self.lane_ids(lane)[-1]) if self.lane_ids(lane) else None
        return stop_string_in(self.texts[lane], self.decoding.stop) if self.ends[lane] == "stop" else None

    def what_if(self, lane: int, index: int, other: Lane) -> int:
        """The token that `other` would choose at step `index` of `lane`'s text; see `Step.what_if`.

        Raises `IndexError` for a step that there is not, `ValueError` if the trace does not hold what `other` needs.
        """
        steps = self.lane_steps(lane)
        if not steps:
            raise IndexError(f"The trace has no steps of a lane {lane}; it has {len(self.lanes)} lanes, from 0.")
        if not 0 <= index < len(steps):
            raise IndexError(f"index must be from 0 to {len(steps) - 1}, the steps of lane {lane}; got {index}.")
        return self.what_if_at(steps[index], other)

    def what_if_at(self, step: Step, other: Lane) -> int:
        """The token that `other` would choose on the row of `step`; `ValueError` if the trace does not tell."""
        if other.reading(self.decoding) not in self.readings:
            raise ValueError(
                "The trace has not read the layers with this norm, penalty and image; run it again with them."
            )
        return self.step_for(step, other).what_if(other, self.decoding)

    def with_more(self, ids: Sequence[Sequence[int]]) -> "Trace":
        """The same trace of lanes that wrote `ids` after their last steps, which are not recorded yet.

        No document holds these: read again, it is a trace without them.
        """
        trace = self.model_copy()
        trace._ahead = tuple(map(tuple, ids))
        return trace

    @property
    def unrecorded(self) -> int:
        """How many steps of the lanes' texts are still to be recorded; until then, it cannot be saved."""
        return max(map(len, self._ahead), default=0)

    def stopped(self, reason: EndReason = "stopped") -> "Trace":
        """The same trace with `reason` as the end of every lane that was still running."""
        return self.model_copy(update={"ends": tuple(end or reason for end in self.ends)})

    def intact(self) -> bool:
        """Whether the digest is that of the generated ids."""
        return self.digest == digest_of([self.lane_ids(lane) for lane in range(len(self.lanes))])

    @property
    def fork(self) -> int | None:
        """The first index at which not all lanes that are still running take the same token, or None."""
        texts = map(self.lane_ids, range(len(self.lanes)))
        tokens = enumerate(zip_longest(*texts))
        return next((index for index, taken in tokens if len({*taken} - {None}) > 1), None)
