"""The page's charts of a trace as Plotly figures, for notebooks and scripts; `Trace.figures` finds them here.

The page itself sends figures to the browser as plain dictionaries and does not need Plotly's Python package. Outside of
the page, its title, grey line and key go into the figure, and its text twin into `figure.layout.meta`.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import plotly.graph_objects as go

from app.language import ENGLISH, Language
from app.render.figures import (
    changed_by_layer_card,
    divergence_card,
    heat_card,
    layer_card,
    map_card,
    plausible_head_card,
)
from app.render.figures.style import HEIGHT, Card, escaped
from app.render.inspection import Inspection
from app.render.view_state import CandidateSet, HeatQuantity, LayerQuantity, PlausibleHeadQuantity, View
from app.ui.palette import LIGHT
from dola_core.lanes import Lane
from dola_core.trace.schema import Trace

ABOVE, LINE_HEIGHT = 14, 20
"""Pixels above a chart's title, and of each of the lines above the chart: title, grey line and key."""
BAR, LINE = "■", "━"
"""What stands for a colour in the key."""


@dataclass(frozen=True)
class TraceFigures:
    """The figures of a trace. `step` counts from 1 and `lane` from 0; without one, it is the lane that contrasts."""

    trace: Trace
    lanes: tuple[Lane | None, ...] = ()
    """The lanes as they are set now; None for one that is as in the run."""
    words: Language = ENGLISH

    def with_lane(self, number: int, lane: Lane) -> Self:
        """The same with a lane set otherwise than in the run: every figure is then a what-if."""
        lanes = list(self.lanes or (None,) * len(self.trace.lanes))
        lanes[number] = lane
        return replace(self, lanes=tuple(lanes))

    def candidates(
        self,
        step: int,
        *,
        lane: int | None = None,
        show: PlausibleHeadQuantity = "probability",
        tokens: CandidateSet = "first",
    ) -> go.Figure:
        """What was kept by the plausibility constraint, and the first tokens that were cut, or all recorded ones."""
        return _figure(plausible_head_card(self._look(step, lane, plausible_head=show, candidates=tokens)))

    def layers(self, step: int, *, lane: int | None = None, show: LayerQuantity = "log") -> go.Figure:
        """The choices of the lanes through all layers."""
        return _figure(layer_card(self._look(step, lane, layers=show)))

    def every_setting(self, step: int, *, lane: int | None = None) -> go.Figure:
        """The token that wins with every j* and α."""
        return _figure(map_card(self._look(step, lane)))

    def heat(self, *, step: int = 1, lane: int | None = None, show: HeatQuantity = "JSD") -> go.Figure:
        """What each layer would have said at the steps around `step`."""
        look = self._look(step, lane, heat=show)
        return _figure(heat_card(look, look.view.lane))

    def changed_by_layer(self, *, lane: int | None = None) -> go.Figure:
        """How many choices another j* would change."""
        return _figure(changed_by_layer_card(self._look(1, lane)))

    def divergence(self, *, step: int = 1, lane: int | None = None) -> go.Figure:
        """The divergence of the contrasted layer over the text."""
        return _figure(divergence_card(self._look(step, lane)))

    def _look(self, step: int, lane: int | None, **view: Any) -> Inspection:
        """A look at a step; raises `IndexError` for a step or a lane that there is not."""
        lanes = self.trace.lanes
        number = next((n for n, one in enumerate(lanes) if one.reads), 0) if lane is None else lane
        if not 0 <= number < len(lanes):
            raise IndexError(f"lane must be from 0 to {len(lanes) - 1}, the lanes of the trace; got {number}.")
        steps = self.trace.lane_steps(number)
        if not 1 <= step <= len(steps):
            raise IndexError(f"step must be from 1 to {len(steps)}, the steps of the lane's text; got {step}.")
        found = Inspection.of(self.trace, View(number, step - 1, self.lanes, words=self.words, **view))
        assert found is not None  # there is such a step
        return found


def _figure(card: Card) -> go.Figure:
    """A chart with what the page writes around it."""
    drawn = go.Figure(card["figure"])
    key = " ".join(
        f'<span style="color:{one["colour"]}">{LINE if one["dash"] else BAR} {escaped(one["text"])}</span>'
        for one in card["key"]
    )
    sub = f'<span style="color:{LIGHT["mute"]}">{escaped(card["sub"])}</span>' if card["sub"] else ""
    lines = [line for line in (f"<b>{escaped(card['title'])}</b>", sub, key) if line]
    head = ABOVE + LINE_HEIGHT * len(lines)
    drawn.update_layout(
        title={
            "text": "<br>".join(lines), "font": {"size": 13}, "x": 0, "xref": "paper",
            "y": 1, "yref": "container", "yanchor": "top", "pad": {"t": ABOVE},
        },
        margin_t=(drawn.layout.margin.t or 0) + head, height=(drawn.layout.height or HEIGHT) + head, meta=card["alt"],
        paper_bgcolor=LIGHT["card"], plot_bgcolor=LIGHT["card"],
    )  # fmt: skip
    return drawn
