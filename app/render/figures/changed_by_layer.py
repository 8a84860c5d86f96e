"""The chart of how many of DoLa's choices would change with another j*."""

from typing import Any

from app.render.figures.style import Figure, figure, line_at
from app.render.inspection import Inspection
from app.ui.palette import LIGHT
from dola_core.trace.what_if import ChangedByLayer, changed_by_layer, static_lane


def changed_by_layer_card(inspection: Inspection) -> dict[str, Any]:
    """For every j* at the view's α: how many choices would differ from those of the run, for `Chart`."""
    trace, view, words = inspection.trace, inspection.view, inspection.words
    changed, ran = changed_by_layer(trace, view.alpha), static_lane(trace)
    return {
        "title": words("chart.changed_by_layer"),
        "sub": words(
            "chart.changed_by_layer_sub",
            n=changed.steps,
            alpha=f"{view.alpha:g}",
            ran_layer=ran.layer,
            ran_alpha=f"{ran.alpha:g}",
            unavailable=words("chart.changed_by_layer_unavailable", n=changed.unavailable)
            if changed.unavailable
            else "",
        ),
        "alt": words(
            "chart.changed_by_layer_alt", layer=view.layer, k=int(changed.counts[view.layer - 1]), most=_most(changed)
        ),
        "figure": _chart(inspection, changed),
    }


def _chart(inspection: Inspection, changed: ChangedByLayer) -> Figure:
    view, words = inspection.view, inspection.words
    layers, most = list(range(1, inspection.trace.model.n_layers)), _most(changed)
    bars = {
        "type": "bar",
        "x": layers,
        "y": changed.counts.tolist(),
        "marker": {
            "color": [LIGHT["dola"] if layer == view.layer else LIGHT["line"] for layer in layers],
            "line": {"color": LIGHT["early"], "width": 0.5},
        },
        "hovertemplate": f"j* = %{{x}}: %{{y}} {words('chart.would_change')}<extra></extra>",
    }
    return figure(
        [bars],
        height=300,
        margin={"l": 46, "r": 14, "t": 22, "b": 40},
        xaxis={"title": {"text": "j*", "standoff": 4}, "dtick": 5, "tick0": 0, "range": [0.5, layers[-1] + 0.5]},
        yaxis={
            "title": {"text": words("chart.changed"), "standoff": 6},
            "range": [0, max(most, 1) * 1.08],
            "dtick": max(1, round(most / 5)),
        },
        **line_at("x", view.layer, text=f"j* = {view.layer}"),
    )


def _most(changed: ChangedByLayer) -> int:
    return int(changed.counts.max(initial=0))
