"""The chart of a whole run: how far layer j* is from the last, step by step."""

from typing import Any

import numpy as np

from app.render.figures.style import Figure, figure, line_at
from app.render.token_text import number
from app.render.view_state import View
from app.ui.palette import LIGHT
from dola_core.trace.schema import Trace
from dola_core.trace.what_if import rechosen


def spine_card(trace: Trace, view: View) -> dict[str, Any]:
    """JSD of layer j* to the last layer over the steps of one lane's text, with a mark where the choices differ."""
    steps = trace.lane_steps(view.lane)
    jsd = [float(step.jsd[view.layer - 1]) for step in steps]
    now = rechosen(trace, view.lane, view.layer, view.alpha)
    differ = [i for i, (step, dola) in enumerate(zip(steps, now, strict=True)) if dola != step.choices[0].id]
    words, top = view.words, int(np.argmax(jsd))
    return {
        "title": "",
        "sub": words("chart.spine_sub", layer=view.layer),
        "alt": words("chart.spine_alt", n=len(steps), most=number(jsd[top]), step=top + 1),
        "figure": _spine(jsd, differ, view),
    }


def _spine(jsd: list[float], differ: list[int], view: View) -> Figure:
    numbers, step = list(range(1, len(jsd) + 1)), view.words("chart.step")
    line = {
        "type": "scatter", "mode": "lines+markers", "x": numbers, "y": [round(value, 4) for value in jsd],
        "fill": "tozeroy", "fillcolor": LIGHT["line"], "line": {"color": LIGHT["mute"], "width": 1.5},
        "marker": {"size": 1, "color": LIGHT["mute"]}, "hovertemplate": f"{step} %{{x}}: %{{y:.3f}}<extra></extra>",
    }  # fmt: skip
    ticks = {
        "type": "scatter", "mode": "markers", "x": [i + 1 for i in differ], "y": [round(jsd[i], 4) for i in differ],
        "marker": {"symbol": "diamond", "size": 9, "color": LIGHT["dola"]},
        "hovertemplate": f"{step} %{{x}}: {view.words('chart.differ_here')}<extra></extra>",
    }  # fmt: skip
    return figure(
        [line, ticks],
        height=84,
        margin={"l": 8, "r": 8, "t": 8, "b": 20},
        xaxis={"range": [0.5, max(len(jsd), 2) + 0.5], "dtick": max(1, len(jsd) // 12), "tick0": 1, "showgrid": False},
        yaxis={"range": [-0.02, 0.75], "visible": False},
        hovermode="x",
        **line_at("x", view.index + 1),
    )
