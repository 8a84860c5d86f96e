"""The gap between two lanes' choices at the contrast layer, which is what the contrast adds: in numbers and drawn."""

import math
from dataclasses import dataclass
from typing import Any

from app.render.figures.style import times
from app.render.inspection import Inspection
from app.ui.palette import LIGHT
from dola_core.trace.token_text import token

VISIBLE = 0.05
"""The share of the chart's height from which a gap is drawn as a bracket; a smaller one is pointed at."""


@dataclass(frozen=True)
class LayerGap:
    """Two choices at the contrast layer."""

    layer: int
    less: int
    """The token that the layer holds less probable."""
    more: int
    """The other."""
    log_q_less: float
    log_q_more: float
    beta: float
    """The strength of the contrast."""

    @property
    def factor(self) -> str:
        """How many times as probable the layer holds the one as the other."""
        return times(self.log_q_more - self.log_q_less)

    def told(self, inspection: Inspection) -> str:
        """The gap in words, and what the contrast makes of it."""
        words, (less, more) = inspection.words, (token(inspection.trace, one) for one in (self.less, self.more))
        gains = self.factor if self.beta == 1 else times(self.beta * (self.log_q_more - self.log_q_less))
        own = "" if self.beta == 1 else words("chart.gap_beta", beta=f"{self.beta:g}")
        return words(
            "chart.gap", layer=self.layer, less=less, more=more, factor=self.factor, gains=gains, strength=own
        )  # fmt: skip


def gap_of(inspection: Inspection) -> LayerGap | None:
    """The gap at the step looked at, between the choice of the lane that is explained and that of its reference.

    None if they are the same, or if the lane does not subtract one layer.
    """
    beta = getattr(inspection.focus_lane, "beta", None)
    step, layer = inspection.focus_step, inspection.contrast_layer(inspection.focus, inspection.step)
    choices = {inspection.choices[inspection.focus], inspection.choices[inspection.reference]}
    if not layer or beta is None or len(choices) < 2:
        return None
    log_q = {token_id: float(step.log_q_table[step.index_of(token_id), layer - 1]) for token_id in choices}
    less, more = sorted(log_q, key=log_q.__getitem__)
    return LayerGap(layer, less, more, log_q[less], log_q[more], beta)


def bracket(gap: LayerGap, *, least: float | None, n_layers: int) -> dict[str, list[dict[str, Any]]]:
    """The gap as layout parts: a bracket beside the line of the contrast layer, with its factor.

    Above `least` the axis is logarithmic, without one it is linear. Where the two points can hardly be told apart, such
    as below `least`, an arrow points at them in place of the bracket.
    """
    low, high = (max(math.exp(log_q), least or 0.0) for log_q in (gap.log_q_less, gap.log_q_more))

    def place(p: float) -> float:
        return math.log10(p) if least else p

    height = (place(high) - place(low)) / (-math.log10(least) if least else 1.0)
    side = -1 if gap.layer > n_layers / 2 else 1
    text = {
        "text": f"× {gap.factor}", "font": {"size": 11, "color": LIGHT["ink"]}, "bgcolor": LIGHT["card"],
        "borderpad": 1,
    }  # fmt: skip
    if height < VISIBLE:
        pointer = {
            "x": gap.layer, "y": place(low), "ax": 30 * side, "ay": -24, "showarrow": True, "arrowhead": 2,
            "arrowsize": 0.8, "arrowwidth": 1.2, "arrowcolor": LIGHT["ink"], "standoff": 4,
            "xanchor": "left" if side > 0 else "right",
        }  # fmt: skip
        return {"shapes": [], "annotations": [text | pointer]}
    near, far = gap.layer + 0.012 * n_layers * side, gap.layer + 0.03 * n_layers * side
    path = f"M{near:g},{low:.4g} L{far:g},{low:.4g} L{far:g},{high:.4g} L{near:g},{high:.4g}"
    shape = {"type": "path", "path": path, "line": {"color": LIGHT["ink"], "width": 1.5}}
    beside = {
        "x": far, "y": (place(low) + place(high)) / 2, "showarrow": False, "xanchor": "left" if side > 0 else "right",
        "xshift": 3 * side,
    }  # fmt: skip
    return {"shapes": [shape], "annotations": [text | beside]}
