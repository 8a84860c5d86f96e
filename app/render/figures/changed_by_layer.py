"""The chart of how many of a lane's choices would change with another j*."""

from app.render.figures.style import HEIGHT, Card, Figure, card, colour, figure, layer_axis, line_at, strength
from app.render.inspection import Inspection
from app.ui.palette import LIGHT
from dola_core.trace.what_if import ChangedByLayer, changed_by_layer


def changed_by_layer_card(inspection: Inspection) -> Card:
    """For every fixed j*: how many choices would differ from those of the run on the lane's text."""
    trace, words, focus = inspection.trace, inspection.words, inspection.focus
    lane, name = inspection.varied, inspection.names[focus]
    changed, ran = changed_by_layer(trace, focus, lane), trace.lanes[focus]
    layer = inspection.contrast_layer(focus, inspection.step) or 1
    n, unavailable, settings = changed.steps, changed.unavailable, strength(lane)
    more = [words("chart.changed_by_layer_ran", lane=name, ran=", ".join(ran.settings) or "q_N")]
    if unavailable:
        one = words("chart.changed_by_layer_unavailable_one")
        some = words("chart.changed_by_layer_unavailable", n=unavailable)
        more.append(one if unavailable == 1 else some)
    few = words("chart.changed_by_layer_one", lane=name, settings=settings)
    many = words("chart.changed_by_layer_sub", lane=name, n=n, settings=settings)
    most = _most(changed)
    return card(
        words,
        words("chart.changed_by_layer"),
        few if n == 1 else many,
        alt=words(
            "chart.changed_by_layer_alt", layer=layer, k=int(changed.counts[layer - 1]), n=n, most=most,
            at=int(changed.counts.argmax()) + 1, least=int(changed.counts.min()),
        ),
        figure=_chart(inspection, changed, layer),
        more=more,
        hints=[words("chart.changed_by_layer_click")],
        seen=inspection.varied.image,
    )  # fmt: skip


def _chart(inspection: Inspection, changed: ChangedByLayer, at: int) -> Figure:
    words, fixed = inspection.words, not inspection.focus_lane.chooses_layer
    layers, most = list(range(1, inspection.trace.model.n_layers)), _most(changed)
    bars = {
        "type": "bar",
        "x": layers,
        "y": changed.counts.tolist(),
        "marker": {
            "color": [colour(inspection.focus) if layer == at else LIGHT["line"] for layer in layers],
            "line": {"color": LIGHT["early"], "width": 0.5},
        },
        "hovertemplate": f"j* = %{{x}}: %{{y}} {words('chart.would_change')}<extra></extra>",
    }
    return figure(
        [bars],
        height=HEIGHT,
        margin={"l": 46, "r": 10, "t": 20, "b": 34},
        xaxis=layer_axis(words, layers[-1], title="j*"),
        yaxis={
            "title": {"text": words("chart.changed"), "standoff": 4, "font": {"size": 11}},
            "range": [0, max(most, 1) * 1.08],
            "dtick": max(1, round(most / 5)),
        },
        **line_at("x", at, text=f"j* = {at}" if fixed else f"M_t = {at}"),
    )


def _most(changed: ChangedByLayer) -> int:
    return int(changed.counts.max(initial=0))
