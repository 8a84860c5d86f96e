"""The chart of the plausible head at one step."""

from typing import Any

import numpy as np

from app.render.figures.style import LEGEND, Figure, figure, is_penalised, label, line_at, marked, norm
from app.render.inspection import Inspection
from app.ui.palette import LIGHT
from dola_core.display import format_number

SHOWN = 15
"""How many of the most probable tokens have bars; the lanes' choices have bars in any case."""
FADED = 0.28
"""Opacity of the bars of tokens outside the plausible head."""


def plausible_head_card(inspection: Inspection) -> dict[str, Any]:
    """The chart with its title, its grey line and its text twin, for `Chart`."""
    trace, view, head = inspection.trace, inspection.view, inspection.plausible_head
    words, n, is_ratio = view.words, head.size, view.plausible_head == "log-ratio F"
    quantity = words("chart.plausible_head_ratio" if is_ratio else "chart.plausible_head_probability", layer=view.layer)
    kept = words("chart.plausible_head_kept_one") if n == 1 else words("chart.plausible_head_kept", n=n)
    sub = f"{quantity}; {norm(trace, words)}; {kept}"
    if not head.complete:
        sub += words("chart.plausible_head_more")
    if is_penalised(trace, "after"):
        sub += words("chart.plausible_head_penalty")
    cut = int((~head.kept).sum())
    return {
        "title": words("chart.plausible_head"),
        "sub": sub,
        "alt": words(
            "chart.plausible_head_alt", layer=view.layer, kept=n, threshold=format_number(head.threshold), cut=cut
        ),
        "figure": (_ratio_chart if is_ratio else _probability_chart)(inspection),
    }


def _probability_chart(inspection: Inspection) -> Figure:
    """Bars of q_N, q_j* and p̂ by token, and the threshold."""
    view, head = inspection.view, inspection.plausible_head
    shown = _shown(inspection)
    widest = float(max(head.q_N.max(), head.q_J[shown].max(), head.p_hat.max()))
    return figure(
        [
            _bars(inspection, shown, head.q_N, "q_N", color=LIGHT["base"]),
            _bars(inspection, shown, head.q_J, f"q_{view.layer}", color=LIGHT["early"], opacity=0.75),
            _bars(inspection, shown, head.p_hat, "p̂ DoLa", color=LIGHT["dola"]),
        ],
        height=100 + 28 * len(shown),
        margin={"l": 46, "r": 14, "t": 58, "b": 40},
        showlegend=True,
        legend=LEGEND,
        barmode="group",
        bargap=0.3,
        bargroupgap=0.04,
        xaxis={"range": [0, min(1.0, 1.06 * widest)]},
        yaxis=_token_axis(inspection, shown),
        **line_at("x", head.threshold, text=f"α·max = {format_number(head.threshold)}"),
    )


def _ratio_chart(inspection: Inspection) -> Figure:
    """Bars of F by token: the longer, the less layer j* expected of what the last layer expects."""
    head, shown, nats = inspection.plausible_head, _shown(inspection), inspection.words("chart.nats")
    F = head.F[shown]
    widest = 1.08 * max(1e-3, float(np.abs(F).max()))
    low, high = (-widest if F.min() < 0 else 0), (widest if F.max() > 0 else 0)
    return figure(
        [_bars(inspection, shown, head.F, "F", color=LIGHT["dola"])],
        height=60 + 28 * len(shown),
        bargap=0.45,
        xaxis={"range": [low, high], "title": {"text": nats, "standoff": 6}, "zeroline": True},
        yaxis=_token_axis(inspection, shown),
    )


def _shown(inspection: Inspection) -> list[int]:
    """Which entries of the arrays of the plausible head have bars, from the top down."""
    tokens, choices = inspection.plausible_head.tokens, inspection.choices
    return [i for i in range(len(tokens)) if i < SHOWN or tokens[i] in choices]


def _bars(
    inspection: Inspection, shown: list[int], values: np.ndarray, name: str, *, color: str, opacity: float = 1.0
) -> dict[str, Any]:
    """One bar per shown token, from `values` `[K]`; those outside the plausible head are faded."""
    trace, head = inspection.trace, inspection.plausible_head
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(range(len(shown))),
        "x": [round(float(values[i]), 5) for i in shown],
        "marker": {"opacity": [opacity if head.kept[i] else FADED * opacity for i in shown], "color": color},
        "customdata": [[label(trace, int(head.tokens[i])), int(head.tokens[i])] for i in shown],
        "hovertemplate": f"%{{customdata[0]}} (id %{{customdata[1]}})<br>{name} = %{{x:.4f}}<extra></extra>",
    }


def _token_axis(inspection: Inspection, shown: list[int]) -> dict[str, Any]:
    """Names of the tokens from the top down, with the marks of pins and choices and how far each climbs."""
    head = inspection.plausible_head
    return {
        "tickvals": list(range(len(shown))),
        "ticktext": [_token_name(inspection, int(head.tokens[i]), int(head.climbed[i])) for i in shown],
        "range": [len(shown) - 0.5, -0.5],
        "automargin": True,
    }


def _token_name(inspection: Inspection, token_id: int, climbed: int) -> str:
    pin = "■ " if token_id in inspection.view.pinned else ""
    arrow = f" ↑{climbed}" if climbed > 0 else f" ↓{-climbed}" if climbed < 0 else ""
    return f"{pin}{marked(inspection.trace, token_id, inspection.choices)}{arrow} "
