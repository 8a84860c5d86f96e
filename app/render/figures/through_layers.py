"""The chart of the candidates through the layers at one step."""

from typing import Any, NamedTuple

import numpy as np

from app.render.figures.style import LEGEND, MARKS, Figure, figure, is_penalised, label, line_at, norm
from app.render.inspection import Inspection
from app.render.token_text import token
from app.render.view_state import LayerQuantity
from app.ui.palette import LIGHT
from dola_core.trace.ranks import EXACT
from dola_core.trace.step import Step


def layer_card(inspection: Inspection) -> dict[str, Any]:
    """The chart with its title, its grey line and its text twin, for `Chart`."""
    trace, view, words = inspection.trace, inspection.view, inspection.words
    sub = f"{words(f'chart.layers_{view.layers}')}; {norm(trace, words)}; {words('chart.unreliable')}"
    sub += _pins_note(inspection)
    if is_penalised(trace, "before"):
        sub += words("chart.last_penalised")
    quantity = words(f"option.{view.layers}")
    return {
        "title": words("chart.layers"),
        "sub": sub,
        "alt": words("chart.layers_alt", quantity=quantity, n=trace.model.n_layers, layer=view.layer),
        "figure": _layer_chart(inspection),
    }


def _pins_note(inspection: Inspection) -> str:
    """How exact the numbers of the pinned tokens are, and which of them were not recorded at this step."""
    view, step, words, note = inspection.view, inspection.step, inspection.words, ""
    if view.layers == "rank":
        unavailable = [pin for pin in view.pinned if step.ranks_of(pin) is None]
        if len(unavailable) < len(view.pinned):
            note += words("chart.rank_rounded", n=EXACT)
    else:
        unavailable = [pin for pin in view.pinned if pin not in step.tokens]
    if unavailable:
        names = ", ".join(f"“{token(inspection.trace, pin)}”" for pin in unavailable)
        note += words("chart.pin_unavailable", tokens=names)
    return note


class _Line(NamedTuple):
    """The look of one token's line."""

    token_id: int
    mark: str
    colour: str
    dash: str
    symbol: str


def _lines(inspection: Inspection) -> list[_Line]:
    """The lanes' choices, then the pinned tokens that are none of these."""
    base, dola = inspection.choices
    lanes = [
        _Line(base, MARKS[0], LIGHT["base"], "solid", "circle"),
        _Line(dola, MARKS[1], LIGHT["dola"], "dash", "diamond"),
    ]
    pins = [
        _Line(pin, "■", LIGHT["early"], "dot", symbol)
        for pin, symbol in zip(inspection.view.pinned, ("square", "triangle-up", "x"), strict=False)
        if pin not in (base, dola)
    ]
    return [*lanes, *pins]


def _layer_chart(inspection: Inspection) -> Figure:
    """One line per token over layers 1..N, and j* as a line across."""
    trace, view, words = inspection.trace, inspection.view, inspection.words
    lines = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"{line.mark} {label(trace, line.token_id)}",
            "x": list(range(1, trace.model.n_layers + 1)),
            "y": _through_layers(inspection.step, line.token_id, view.layers),
            "line": {"color": line.colour, "dash": line.dash, "width": 2.5},
            "marker": {"symbol": line.symbol, "size": 6, "color": line.colour},
            "hovertemplate": f"{words('chart.layer')} %{{x}}: %{{y:.4~f}}<extra></extra>",
        }
        for line in _lines(inspection)
    ]
    ranks = {
        "type": "log",
        "autorange": "reversed",
        "title": {"text": words("chart.rank"), "standoff": 4},
        # By default Plotly labels a short logarithmic axis with every digit, and rounds 0.8 to a second 1.
        "tickvals": [digit * 10**power for power in range(7) for digit in (1, 2, 5)],
        "tickformat": ",d",
    }
    return figure(
        [line for line in lines if set(line["y"]) != {None}],
        height=520,
        margin={"l": 52, "r": 14, "t": 58, "b": 40},
        showlegend=True,
        legend=LEGEND,
        xaxis={
            "title": {"text": words("chart.layer"), "standoff": 6},
            "range": [0.5, trace.model.n_layers + 0.5],
            "dtick": 5,
            "tick0": 0,
        },
        yaxis={"rangemode": "tozero"} if view.layers == "probability" else ranks,
        **line_at("x", view.layer, text=f"j* = {view.layer}"),
    )


def _through_layers(step: Step, token_id: int, quantity: LayerQuantity) -> list[float | None]:
    """`[N]`: a token's probability or rank by layer.

    For a token that was not recorded at this step, only the layers that have it as their first choice are known; the
    others are None.
    """
    known: list[float | None] | None = None
    if quantity == "rank":
        ranks = step.ranks_of(token_id)
        known = None if ranks is None else ranks.tolist()
        as_first = [1.0] * len(step.top_ids)
    else:
        if token_id in step.tokens:
            known = np.exp(step.log_q_table[step.index_of(token_id)]).round(5).tolist()
        as_first = step.top_p.astype(float).round(5).tolist()
    if known is not None:
        return known
    return [value if top == token_id else None for value, top in zip(as_first, step.top_ids.tolist(), strict=True)]
