"""A trace together with how a visitor looks at it: whatever several parts of the page need, worked out once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from app.language import Language
from app.render.plausible_head import PlausibleHead
from app.render.view_state import View
from dola_core.display import cut
from dola_core.lanes import DolaStatic, Lane, Reading, distinct_names, lane_text
from dola_core.trace.schema import Trace
from dola_core.trace.step import Step
from dola_core.trace.what_if import what_if_choice, with_layer


@dataclass(frozen=True)
class Inspection:
    """One look at a trace; every builder of the page's strips, sentences and charts takes one.

    Its properties are computed when first used and kept, so that a pass over all builders computes each once. The view
    must be one that `View.within` returns for the trace, as `of` does.
    """

    trace: Trace
    view: View

    @classmethod
    def of(cls, trace: Trace | None, view: View) -> Self | None:
        """`view` moved to a step and to settings that the trace has; None if there is no step to look at."""
        within = view.within(trace) if trace is not None else None
        return None if trace is None or within is None else cls(trace, within)

    def at(self, view: View) -> Self | None:
        """The same trace looked at with another view; None if there is no such step."""
        return type(self).of(self.trace, view)

    @property
    def words(self) -> Language:
        """The visitor's language."""
        return self.view.words

    # The lanes, and what they chose or would choose

    @property
    def shown(self) -> range:
        """The lanes that are looked at."""
        return range(len(self.view.lanes))

    @cached_property
    def now(self) -> tuple[Lane, ...]:
        """The lanes as they are set."""
        return tuple(lane or ran for lane, ran in zip(self.view.lanes, self.trace.lanes, strict=False))

    @cached_property
    def names(self) -> list[str]:
        """What each lane is called, as it is set; no two alike."""
        lanes = [self.lane(number) for number in self.shown]
        return distinct_names([lane.model_copy(update={"name": lane_name(lane, self.words)}) for lane in lanes])

    @cached_property
    def lane_steps(self) -> tuple[list[Step], ...]:
        """The steps of each lane's text."""
        return tuple(self.trace.lane_steps(lane) for lane in self.shown)

    @cached_property
    def forks(self) -> tuple[int | None, ...]:
        """The index at which each lane's text parts from the first lane's; for the first, from any; None if nowhere."""
        return partings([self.trace.lane_ids(lane) for lane in self.shown])

    @property
    def is_recorded(self) -> bool:
        """Whether there are steps of all that the lanes wrote; not while they are still being recorded."""
        return all(len(self.trace.lane_ids(lane)) == len(self.lane_steps[lane]) for lane in self.shown)

    def is_as_run(self, lane: int) -> bool:
        """Whether a lane is set as it ran."""
        return lane_text(self.now[lane]) == lane_text(self.trace.lanes[lane])

    @property
    def as_run(self) -> bool:
        """Whether all lanes are set as they ran."""
        return all(map(self.is_as_run, self.shown))

    @cached_property
    def _ran_as(self) -> tuple[int | None, ...]:
        """For each lane as it is set now, the lane that ran so, if there is one: what it chose is known everywhere."""
        ran = [lane_text(lane) for lane in self.trace.lanes]
        now = [lane_text(lane) for lane in self.now]
        own = [number if ran[number] == text else None for number, text in enumerate(now)]
        return tuple(
            number if number is not None else next((n for n, one in enumerate(ran) if one == text), None)
            for number, text in zip(own, now, strict=True)
        )

    @cached_property
    def _answers(self) -> tuple[dict[tuple[int, tuple[int, ...]], int | None], ...]:
        """For each lane, {row: its choice with the present settings, or None where the trace does not tell}."""
        rows = {(step.index, step.lanes): step for lane in self.shown for step in self.lane_steps[lane]}
        answers = []
        for lane, ran_as in zip(self.now, self._ran_as, strict=True):
            if ran_as is None:
                answers.append({row: what_if_choice(self.trace, step, lane) for row, step in rows.items()})
            else:
                answers.append({row: step.choices[ran_as].id for row, step in rows.items()})
        return tuple(answers)

    def choice(self, lane: int, step: Step) -> int:
        """What a lane chooses on the row of `step` with the present settings; as in the run where that is not known."""
        answer = self._answers[lane][step.index, step.lanes]
        return step.choices[lane].id if answer is None else answer

    @cached_property
    def differing(self) -> tuple[list[int], ...]:
        """The indices of the steps of each lane's text at which some other lane chooses another token than it."""
        return tuple(
            [step.index for step in steps if any(self.choice(n, step) != self.choice(lane, step) for n in self.shown)]
            for lane, steps in enumerate(self.lane_steps)
        )

    @cached_property
    def differences(self) -> list[tuple[int, int]]:
        """The same over all texts, as (lane, index), lane by lane; a row that texts share counts once, for the first.

        These are the choices that the texts have underlined.
        """
        rows = set[tuple[int, tuple[int, ...]]]()
        found = []
        for lane, indices in enumerate(self.differing):
            for index in indices:
                row = (index, self.lane_steps[lane][index].lanes)
                if row not in rows:
                    rows.add(row)
                    found.append((lane, index))
        return found

    @cached_property
    def changed(self) -> tuple[list[int], ...]:
        """The indices of the steps of each lane's text at which its choice differs from the one it made in the run."""
        return tuple(
            [step.index for step in steps if self.choice(lane, step) != step.choices[lane].id]
            for lane, steps in enumerate(self.lane_steps)
        )

    @cached_property
    def unavailable(self) -> tuple[int, ...]:
        """At how many steps of each lane's text the trace does not tell what it chooses with the present settings."""
        return tuple(
            sum(self._answers[lane][step.index, step.lanes] is None for step in steps)
            for lane, steps in enumerate(self.lane_steps)
        )

    def is_told(self, lane: int) -> bool:
        """Whether the trace tells of any step what a lane chooses with the present settings."""
        return self.unavailable[lane] < len(self.lane_steps[lane]) or not self.lane_steps[lane]

    # The step that is looked at

    @property
    def steps(self) -> list[Step]:
        """The steps of the lane looked at."""
        return self.lane_steps[self.view.lane]

    @property
    def step(self) -> Step:
        """The step looked at."""
        return self.steps[self.view.index]

    @property
    def choices(self) -> tuple[int, ...]:
        """What each lane chooses at the step looked at, with the present settings."""
        return tuple(self.choice(lane, self.step) for lane in self.shown)

    @cached_property
    def focus(self) -> int:
        """The lane that the charts explain: the one whose fields are set or whose text is looked at, unless it is plain
        and another is not."""
        view = self.view
        order = [*([view.edited] if view.edited in self.shown else []), view.lane, *self.shown]
        return next((lane for lane in order if self.lane(lane).reads), max(view.lane, min(1, len(self.shown) - 1)))

    @property
    def reference(self) -> int:
        """The lane that it is compared with: the first, or the second for the first."""
        return 0 if self.focus or len(self.shown) == 1 else 1

    def lane(self, number: int) -> Lane:
        """A lane as it is set now, or as it ran where the trace does not tell what it would choose."""
        return self.now[number] if self.is_told(number) else self.trace.lanes[number]

    @cached_property
    def focus_lane(self) -> Lane:
        """The lane that the charts explain, as it is set; with the image or without it as the lane looked at.

        Its norm and penalty are those of the run where the trace does not hold the layers as it reads them so.
        """
        edited, trace = self.view.edited, self.trace
        looked = self.lane(edited if edited is not None and edited in self.shown else self.view.lane)
        lane = self.lane(self.focus)
        if looked.image == lane.image or looked.image not in {reading.image for reading in trace.readings}:
            return lane
        lane = lane.model_copy(update={"image": looked.image})
        if lane.reading(trace.decoding) in trace.readings or not lane.reads:
            return lane
        return lane.model_copy(update=_as_read(trace.readings[trace.reading_of(lane)]))

    @cached_property
    def focus_step(self) -> Step:
        """The step looked at, with the layers read as the lane reads them that the charts explain."""
        return self.read_as(self.step, self.focus_lane)

    def read_for(self, step: Step, lane: int) -> Step:
        """The step of the same row with the layers read as a lane reads them; itself if the trace lacks that."""
        return self.read_as(step, self.lane(lane))

    def read_as(self, step: Step, lane: Lane) -> Step:
        """The same for a lane that need not be one of the run's."""
        try:
            return self.trace.step_for(step, lane)
        except ValueError:
            return step

    def contrast_layer(self, lane: int, step: Step) -> int | None:
        """The one layer that a lane contrasts with at a step; None if there is none, or more than one."""
        now = self.lane(lane)
        if now.chooses_layer:
            ran = step.choices[lane].layer
            if ran is not None and self.is_as_run(lane):
                return ran
            try:
                return self.read_for(step, lane).contrasted(now)
            except ValueError:
                return ran
        return now.reads[0] if len(now.reads) == 1 else None

    def focus_layers(self) -> Iterator[int]:
        """The early layers that the charts mark at the step looked at: j*, M_t, or all that have a weight."""
        layer = self.contrast_layer(self.focus, self.step)
        yield from (layer,) if layer is not None else (() if self.focus_lane.chooses_layer else self.focus_lane.reads)

    @cached_property
    def plausible_head(self) -> PlausibleHead:
        """The plausible head of the step looked at, for the lane that the charts explain."""
        return PlausibleHead.of(self.focus_step, self.focus_lane, self.trace.decoding)

    @cached_property
    def varied(self) -> DolaStatic:
        """DoLa-static as the charts vary it: with α, β, penalty and norm of the lane that they explain.

        Penalty and norm are those of the run if the trace does not hold the layers as that lane reads them.
        """
        lane, readings = with_layer(self.focus_lane, 1), self.trace.readings
        shared = dict.fromkeys(("repetition_penalty", "penalty_position", "early_norm"))
        ran = _as_read(readings[self.trace.reading_of(lane)])
        ways = [lane, lane.model_copy(update=shared), lane.model_copy(update=ran)]
        return next(way for way in ways if way.reading(self.trace.decoding) in readings)

    @property
    def forced(self) -> int | None:
        """The token that all lanes can be made to continue with: the last pinned one, if it was recorded here."""
        pinned = self.view.pinned
        return pinned[-1] if pinned and pinned[-1] in self.step.tokens else None


def _as_read(reading: Reading) -> dict[str, Any]:
    """The settings by which a lane reads the layers as a trace holds them."""
    own = reading._asdict()
    return {"repetition_penalty": own.pop("penalty"), "penalty_position": "before", **own}


LONGEST_NAME = 32
"""Characters of a lane's name, which in a file may be any text."""


def lane_name(lane: Lane, words: Language) -> str:
    """What a lane is called: in the visitor's language, unless it has a name of its own."""
    usual = type(lane).model_fields["name"].default
    name = words.words.get(f"lane.{lane.kind}", lane.name) if lane.name == usual else cut(lane.name, LONGEST_NAME)
    return name if lane.image or lane.name != usual else words("lane.without_image", lane=name)


def partings(texts: Sequence[Sequence[int]]) -> tuple[int | None, ...]:
    """The index at which each text parts from the first; for the first, from any; None if nowhere."""
    first, *others = texts
    parts = [_parting(first, ids) for ids in others]
    return min((part for part in parts if part is not None), default=None), *parts


def _parting(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The index of the first token that differs, if one does."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
