"""What a visitor looks at: one step of one lane's text, a (j*, α), and what the charts show of it."""

from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from app.language import ENGLISH, Language
from dola_core.trace.schema import Trace
from dola_core.trace.step import ALPHA_MIN

Overlay = Literal["agreement", "probability", "entropy", "JSD"]
PlausibleHeadQuantity = Literal["probability", "log-ratio F"]
LayerQuantity = Literal["probability", "rank"]
HeatQuantity = Literal["JSD", "entropy", "p(chosen)", "rank"]
OVERLAYS, PLAUSIBLE_HEAD_QUANTITIES, LAYER_QUANTITIES, HEAT_QUANTITIES = (
    get_args(kind) for kind in (Overlay, PlausibleHeadQuantity, LayerQuantity, HeatQuantity)
)

MAX_PINNED = 3
"""Tokens that can be pinned beside the two lanes' own; more lines in a chart could not be told apart."""


@dataclass(frozen=True)
class View:
    """The settings of one look at a trace; they refer to the trace but hold nothing of it."""

    lane: int
    """0 for the baseline's text, 1 for DoLa's."""
    index: int
    """The step of that text, from 0."""
    layer: int
    """j*"""
    alpha: float
    overlay: Overlay = "agreement"
    plausible_head: PlausibleHeadQuantity = "probability"
    """What the chart of the plausible head shows."""
    layers: LayerQuantity = "probability"
    """What the chart through the layers shows."""
    heat: HeatQuantity = "JSD"
    """What the heatmaps show."""
    pinned: tuple[int, ...] = ()
    """Token ids that the charts follow beside the lanes' own choices, the oldest first."""
    words: Language = ENGLISH

    def within(self, trace: Trace) -> Self | None:
        """This view moved to a step of the lane's text and to a layer and an α that the trace has.

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

    def pin(self, token: int) -> Self:
        """This view with `token` pinned, or unpinned if it was; beyond `MAX_PINNED` the oldest is unpinned."""
        others = tuple(pinned for pinned in self.pinned if pinned != token)
        pinned = others if token in self.pinned else (*others, token)[-MAX_PINNED:]
        return replace(self, pinned=pinned)
