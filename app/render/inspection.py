"""A trace together with how a visitor looks at it: whatever several parts of the page need, worked out once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from app.language import Language
from app.render.plausible_head import PlausibleHead
from app.render.view_state import View
from dola_core.trace.schema import Trace
from dola_core.trace.step import Step
from dola_core.trace.what_if import DOLA, static_lane, what_if_choice


@dataclass(frozen=True)
class Inspection:
    """One look at a trace; every builder of the page's strips, sentences and charts takes one.

    Its properties are computed when first used and kept, so that a pass over all builders computes each once. Those
    about the step looked at need a view whose step exists, as `of` returns; the others work for any view of the trace.
    """

    trace: Trace
    view: View

    @classmethod
    def of(cls, trace: Trace | None, view: View) -> Self | None:
        """`view` moved to a step, a layer and an α that the trace has; None if there is no step to look at."""
        within = view.within(trace) if trace is not None else None
        return None if trace is None or within is None else cls(trace, within)

    def at(self, view: View) -> Self | None:
        """The same trace looked at with another view; None if there is no such step."""
        return type(self).of(self.trace, view)

    @property
    def words(self) -> Language:
        """The visitor's language."""
        return self.view.words

    @cached_property
    def lane_steps(self) -> tuple[list[Step], ...]:
        """The steps of each lane's text."""
        return tuple(self.trace.lane_steps(lane) for lane in range(len(self.trace.lanes)))

    @property
    def steps(self) -> list[Step]:
        """The steps of the lane looked at."""
        return self.lane_steps[self.view.lane]

    @property
    def step(self) -> Step:
        """The step looked at."""
        return self.steps[self.view.index]

    @property
    def as_run(self) -> bool:
        """Whether the view's (j*, α) are those that the DoLa lane ran with."""
        ran = static_lane(self.trace)
        return (self.view.layer, self.view.alpha) == (ran.layer, ran.alpha)

    @cached_property
    def dola_choices(self) -> tuple[list[int], ...]:
        """What DoLa chooses with the view's (j*, α) at every step of each lane's text.

        Where too few tokens were recorded to know, it is what DoLa chose in the run.
        """
        view, decoding = self.view, self.trace.decoding
        chosen = [(step, what_if_choice(step, view.layer, view.alpha, decoding)) for step in self.trace.steps]
        lanes = range(len(self.trace.lanes))
        return tuple([token_id for step, token_id in chosen if lane in step.lanes] for lane in lanes)

    @property
    def choices(self) -> tuple[int, int]:
        """What the baseline and DoLa choose at the step looked at, DoLa with the view's (j*, α)."""
        return self.step.choices[0].id, self.dola_choices[self.view.lane][self.view.index]

    @cached_property
    def differing(self) -> tuple[list[int], ...]:
        """The indices of the steps of each lane's text at which DoLa's choice differs from the baseline's."""
        return tuple(
            [step.index for step, dola in zip(steps, chosen, strict=True) if dola != step.choices[0].id]
            for steps, chosen in zip(self.lane_steps, self.dola_choices, strict=True)
        )

    @cached_property
    def changed(self) -> list[int]:
        """The indices of the steps of DoLa's text at which its choice differs from the one it made in the run."""
        pairs = zip(self.lane_steps[DOLA], self.dola_choices[DOLA], strict=True)
        return [step.index for step, dola in pairs if dola != step.choices[DOLA].id]

    @cached_property
    def unavailable(self) -> int:
        """At how many steps of DoLa's text too few tokens were recorded to know what it chooses with the view's α."""
        return sum(self.view.alpha < step.exact_alpha for step in self.lane_steps[DOLA])

    @cached_property
    def plausible_head(self) -> PlausibleHead:
        """The plausible head of the step looked at, for the view's (j*, α)."""
        return PlausibleHead.of(self.step, self.view.layer, self.view.alpha, self.trace.decoding)

    @property
    def forced(self) -> int | None:
        """The token that both lanes can be made to continue with: the last pinned one, if it was recorded here."""
        pinned = self.view.pinned
        return pinned[-1] if pinned and pinned[-1] in self.step.tokens else None
