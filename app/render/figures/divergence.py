"""The chart over a whole text: how far the contrast layer is from the last layer at each step."""

from typing import Any

import numpy as np

from app.render.figures.style import SYMBOLS, Card, Figure, card, colour, figure, line_at
from app.render.inspection import Inspection
from app.ui.palette import LIGHT
from dola_core.contrast import LN_2
from dola_core.display import format_number


def divergence_card(inspection: Inspection) -> Card:
    """JSD of the contrast layer to the last layer over the text looked at, with a mark where the lanes' choices differ.

    For a lane that chooses its layer, it is that of the layer chosen, which stands above the line. For one that has no
    layer of its own, it is that of the last layer but one.
    """
    words, lane = inspection.words, inspection.focus_lane
    layers = layers_over(inspection)
    steps = [inspection.read_as(step, inspection.focus_lane) for step in inspection.steps]
    jsd = [float(step.jsd[layer - 1]) if layer else 0.0 for step, layer in zip(steps, layers, strict=True)]
    top, name = int(np.argmax(jsd)), inspection.names[inspection.focus]
    fixed = words("chart.divergence_sub", layer=layers[0])
    most, least = format_number(jsd[top]), format_number(min(jsd))
    told = (
        words("chart.divergence_alt_one", value=most)
        if len(jsd) == 1
        else words("chart.divergence_alt", n=len(jsd), most=most, step=top + 1, least=least)
    )
    differing = [index + 1 for index in inspection.differing[inspection.view.lane]]
    differ = words("chart.differ_alt", steps=", ".join(map(str, differing)) or "–")
    return card(
        words,
        words("chart.divergence"),
        words("chart.divergence_chosen", lane=name) if lane.chooses_layer else fixed,
        alt=told + differ,
        figure=_chart(inspection, jsd, layers),
        more=[words("chart.divergence_marks"), words("chart.divergence_numbers") if lane.chooses_layer else ""],
        hints=[words("chart.divergence_click")],
        seen=inspection.focus_lane.image,
    )


def layers_over(inspection: Inspection) -> list[int]:
    """The layer whose divergence is shown, at each step of the text looked at."""
    last = inspection.trace.model.n_layers - 1
    found = [inspection.contrast_layer(inspection.focus, step) for step in inspection.steps]
    return [last if layer is None else layer for layer in found]


def _chart(inspection: Inspection, jsd: list[float], layers: list[int]) -> Figure:
    view, words, differing = inspection.view, inspection.words, inspection.differing[inspection.view.lane]
    numbers, step, chosen = list(range(1, len(jsd) + 1)), words("chart.step"), inspection.focus_lane.chooses_layer
    line: dict[str, Any] = {
        "type": "scatter", "mode": "lines+markers", "x": numbers, "y": [round(value, 4) for value in jsd],
        "fill": "tozeroy", "fillcolor": LIGHT["line"], "line": {"color": LIGHT["mute"], "width": 1.5},
        "marker": {"size": 7 if len(jsd) == 1 else 1, "color": LIGHT["mute"]}, "customdata": layers,
        "hovertemplate": f"{step} %{{x}}: %{{y:.3f}}, {words('chart.layer')} %{{customdata}}<extra></extra>",
    }  # fmt: skip
    if chosen:  # the layer's number wherever it is another than before
        line["text"] = [str(layer) if n == 0 or layer != layers[n - 1] else "" for n, layer in enumerate(layers)]
        line |= {"mode": "lines+markers+text", "textposition": "top center", "cliponaxis": False}
        line["textfont"] = {"size": 10, "color": LIGHT["ink"]}
    marks = {
        "type": "scatter", "mode": "markers",
        "x": [i + 1 for i in differing], "y": [round(jsd[i], 4) for i in differing],
        "marker": {"symbol": SYMBOLS[inspection.focus], "size": 9, "color": colour(inspection.focus)},
        "hovertemplate": f"{step} %{{x}}: {words('chart.differ_here')}<extra></extra>",
    }  # fmt: skip
    every = max(1, -(-len(jsd) // 12))
    return figure(
        [line, marks],
        height=108 if chosen else 94,
        margin={"l": 34, "r": 10, "t": 22 if chosen else 8, "b": 22},
        xaxis={
            "range": [0.5, len(jsd) + 0.5], "tickvals": numbers[::every], "showgrid": False,
        },
        yaxis={"range": [-0.03, 0.75], "tickvals": [0, LN_2], "ticktext": ["0", "ln 2"]},
        hovermode="x",
        **line_at("x", view.index + 1),
    )  # fmt: skip
