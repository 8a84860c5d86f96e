"""The chart over a whole text: how far layer j* is from the last layer at each step."""

from typing import Any

import numpy as np

from app.render.figures.style import Figure, figure, line_at
from app.render.inspection import Inspection
from app.ui.palette import LIGHT
from dola_core.display import format_number


def divergence_card(inspection: Inspection) -> dict[str, Any]:
    """JSD of layer j* to the last layer over the text looked at, with a mark where the lanes' choices differ."""
    view, words = inspection.view, inspection.words
    jsd = [float(step.jsd[view.layer - 1]) for step in inspection.steps]
    top = int(np.argmax(jsd))
    return {
        "title": "",
        "sub": words("chart.divergence_sub", layer=view.layer),
        "alt": words("chart.divergence_alt", n=len(jsd), most=format_number(jsd[top]), step=top + 1),
        "figure": _chart(inspection, jsd),
    }


def _chart(inspection: Inspection, jsd: list[float]) -> Figure:
    view, words, differing = inspection.view, inspection.words, inspection.differing[inspection.view.lane]
    numbers, step = list(range(1, len(jsd) + 1)), words("chart.step")
    line = {
        "type": "scatter", "mode": "lines+markers", "x": numbers, "y": [round(value, 4) for value in jsd],
        "fill": "tozeroy", "fillcolor": LIGHT["line"], "line": {"color": LIGHT["mute"], "width": 1.5},
        "marker": {"size": 1, "color": LIGHT["mute"]}, "hovertemplate": f"{step} %{{x}}: %{{y:.3f}}<extra></extra>",
    }  # fmt: skip
    marks = {
        "type": "scatter", "mode": "markers",
        "x": [i + 1 for i in differing], "y": [round(jsd[i], 4) for i in differing],
        "marker": {"symbol": "diamond", "size": 9, "color": LIGHT["dola"]},
        "hovertemplate": f"{step} %{{x}}: {words('chart.differ_here')}<extra></extra>",
    }  # fmt: skip
    return figure(
        [line, marks],
        height=84,
        margin={"l": 8, "r": 8, "t": 8, "b": 20},
        xaxis={"range": [0.5, max(len(jsd), 2) + 0.5], "dtick": max(1, len(jsd) // 12), "tick0": 1, "showgrid": False},
        yaxis={"range": [-0.02, 0.75], "visible": False},
        hovermode="x",
        **line_at("x", view.index + 1),
    )
