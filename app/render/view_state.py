"""What a visitor looks at: one step of one lane's text, the lanes as they are set now, and what the charts show."""

from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from app.language import ENGLISH, Language
from dola_core.lanes import Lane, lane_text
from dola_core.trace.schema import Trace
from dola_core.trace.step import ALPHA_MIN

Overlay = Literal["agreement", "probability", "entropy", "JSD"]
PlausibleHeadQuantity = Literal["probability", "log-ratio F"]
CandidateSet = Literal["first", "all"]
LayerQuantity = Literal["log", "linear", "rank"]
HeatQuantity = Literal["JSD", "entropy", "p(chosen)", "rank"]
OVERLAYS, PLAUSIBLE_HEAD_QUANTITIES, CANDIDATE_SETS, LAYER_QUANTITIES, HEAT_QUANTITIES = (
    get_args(kind) for kind in (Overlay, PlausibleHeadQuantity, CandidateSet, LayerQuantity, HeatQuantity)
)

Origin = Literal["", "recorded", "opened"]
"""Where a trace comes from that was not run here."""

MAX_PINNED = 3
"""Tokens that can be pinned beside the two lanes' own; more lines in a chart could not be told apart."""


@dataclass(frozen=True)
class View:
    """The settings of one look at a trace; they refer to the trace but hold nothing of it."""

    lane: int
    """Whose text, from 0."""
    index: int
    """The step of that text, from 0."""
    lanes: tuple[Lane | None, ...] = ()
    """The lanes as they are set now, one for each pane of the page; None for one that is as in the run."""
    edited: int | None = None
    """The pane whose fields a visitor asked for last; None for those of the lane that the charts explain."""
    origin: Origin = ""
    overlay: Overlay = "agreement"
    plausible_head: PlausibleHeadQuantity = "probability"
    """What the chart of the candidates shows."""
    candidates: CandidateSet = "first"
    """Which candidates it has rows for: the kept ones and the first that were cut, or all that were recorded."""
    layers: LayerQuantity = "log"
    """What the chart through the layers shows: probabilities on a logarithmic or a linear scale, or ranks."""
    heat: HeatQuantity = "JSD"
    """What the heatmaps show."""
    pinned: tuple[int, ...] = ()
    """Token ids that the charts follow beside the lanes' choices, the oldest first."""
    opened: tuple[str, ...] = ()
    """The parts of the page that are drawn only while they are open, and are."""
    words: Language = ENGLISH

    def within(self, trace: Trace) -> Self | None:
        """This view moved to a step of a lane's text, and to settings, that the trace has; its lanes are fitted.

        No more lanes are looked at than there are panes, or lanes of the trace. None if the lane wrote nothing.
        """
        shown = min(len(self.lanes) or len(trace.lanes), len(trace.lanes))
        now = self.lanes or (None,) * shown
        lane = min(max(self.lane, 0), shown - 1)
        steps = len(trace.lane_steps(lane))
        if not steps:
            return None
        return replace(
            self,
            lane=lane,
            index=min(max(self.index, 0), steps - 1),
            lanes=tuple(_fitted(one, ran, trace) for one, ran in zip(now[:shown], trace.lanes, strict=False)),
        )

    def with_lane(self, number: int, lane: Lane) -> Self:
        """This view with another lane in a pane."""
        return replace(self, lanes=tuple(lane if n == number else one for n, one in enumerate(self.lanes)))

    def pin(self, token: int) -> Self:
        """This view with `token` pinned, or unpinned if it was; beyond `MAX_PINNED` the oldest is unpinned."""
        others = tuple(pinned for pinned in self.pinned if pinned != token)
        pinned = others if token in self.pinned else (*others, token)[-MAX_PINNED:]
        return replace(self, pinned=pinned)


def _fitted(lane: Lane | None, ran: Lane, trace: Trace) -> Lane:
    """A lane fitted to the model of a trace, with an α that traces tell of; as it `ran` if it does not fit."""
    if lane is None or lane_text(lane) == lane_text(ran):
        return ran
    n_layers = trace.model.n_layers
    layer, alpha = getattr(lane, "layer", None), getattr(lane, "alpha", None)
    within: dict[str, object] = {} if layer is None else {"layer": min(max(layer, 1), n_layers - 1)}
    within |= {} if alpha is None else {"alpha": min(max(alpha, ALPHA_MIN), 1.0)}
    within |= {"name": ran.name} if lane.kind == ran.kind else {}
    try:
        return lane.model_copy(update=within).fitted(n_layers, tied=bool(trace.model.tied))
    except ValueError:
        return ran
