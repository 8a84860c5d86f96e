"""What a visitor looks at: one step of one lane's text, a (j*, α), and how the charts show it."""

from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from app.language import ENGLISH, Language
from dola_core.trace.schema import ALPHA_MIN, Step, Trace
from dola_core.trace.what_if import rechosen_at

Overlay = Literal["agreement", "probability", "entropy", "JSD"]
HeadQuantity = Literal["probability", "log-ratio F"]
LayerQuantity = Literal["probability", "rank"]
HeatQuantity = Literal["JSD", "entropy", "p(chosen)", "rank"]
OVERLAYS, HEAD_QUANTITIES, LAYER_QUANTITIES, HEAT_QUANTITIES = (
    get_args(kind) for kind in (Overlay, HeadQuantity, LayerQuantity, HeatQuantity)
)

MAX_PINNED = 3
"""Tokens pinned beside the two lanes' own; more lines than that cannot be told apart."""


@dataclass(frozen=True)
class View:
    """One way of looking at a trace; `index` counts steps from 0 and `lane` is 0 for the baseline, 1 for DoLa."""

    lane: int
    index: int
    layer: int
    alpha: float
    overlay: Overlay = "agreement"
    head: HeadQuantity = "probability"
    layers: LayerQuantity = "probability"
    heat: HeatQuantity = "JSD"
    pinned: tuple[int, ...] = ()
    words: Language = ENGLISH

    def within(self, trace: Trace) -> Self | None:
        """The same, moved to a step that the lane's text has and to a layer and an α that the trace has.

        None if the lane wrote nothing.
        """
        steps = len(trace.lane_steps(self.lane))
        if not steps:
            return None
        return replace(
            self,
            index=min(max(self.index, 0), steps - 1),
            layer=min(max(self.layer, 1), trace.model.n_layers - 1),
            alpha=min(max(self.alpha, ALPHA_MIN), 1.0),
        )

    def step(self, trace: Trace) -> Step:
        """The step looked at."""
        return trace.lane_steps(self.lane)[self.index]

    def pin(self, token: int) -> Self:
        """The same with a token pinned, or no longer if it was; the oldest gives way."""
        others = tuple(pinned for pinned in self.pinned if pinned != token)
        pinned = others if token in self.pinned else (*others, token)[-MAX_PINNED:]
        return replace(self, pinned=pinned)

    def forced(self, trace: Trace) -> int | None:
        """The token to go on from instead of the lanes' own: the last pinned, if it is a candidate at this step."""
        return self.pinned[-1] if self.pinned and self.pinned[-1] in self.step(trace).tokens else None

    def as_run(self, trace: Trace) -> bool:
        """Whether (j*, α) are those that the DoLa lane ran with."""
        return (self.layer, self.alpha) == (trace.lanes[1].layer, trace.lanes[1].alpha)

    def dola_choice(self, trace: Trace) -> int:
        """What DoLa chooses at this step with (j*, α); what it chose in the run where the record does not tell."""
        return rechosen_at(self.step(trace), self.layer, self.alpha, trace.decoding)
