"""The chart of the candidates at one step: which tokens are plausible, and what the contrast makes of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from app.render.figures.style import (
    HEIGHT,
    KEY_HEIGHT,
    Card,
    Entry,
    Figure,
    card,
    colour,
    figure,
    is_penalised,
    label,
    line_at,
    marked,
    norm,
    small_number,
)
from app.render.inspection import Inspection
from app.ui.palette import LIGHT
from dola_core.trace.token_text import token

ROWS = 9
"""How many candidates have bars at first."""
CUT = 3
"""How many of them may be cut ones: the most probable, and the lanes' choices in any case."""
FADED = 0.28
"""Opacity of the bars of tokens outside the plausible head."""
FITTED = {"labels": True}
"""The browser makes the left margin as wide as the names of the tokens need."""


def plausible_head_card(inspection: Inspection) -> Card:
    """The candidates with their probabilities in the final and the contrast layer and after the contrast."""
    words, is_ratio = inspection.words, _is_ratio(inspection)
    rows = _shown(inspection)
    return card(
        words,
        words("chart.candidates"),
        _caption(inspection, rows),
        alt=_spoken(inspection, rows),
        figure=(_ratio_chart if is_ratio else _probability_chart)(inspection, rows),
        more=_notes(inspection, rows),
        hints=[words("chart.candidates_click")],
        key=[] if is_ratio else [Entry(name, c) for _, name, c, _ in _series(inspection)],
        seen=inspection.focus_lane.image,
    )


def _is_ratio(inspection: Inspection) -> bool:
    """Whether scores are shown; a plain lane has none."""
    return inspection.view.plausible_head == "log-ratio F" and bool(inspection.focus_lane.reads)


def _shown(inspection: Inspection) -> list[int]:
    """Which entries of the arrays of the plausible head have bars, from the top down."""
    head = inspection.plausible_head
    everything = list(range(len(head.tokens)))
    if inspection.view.candidates == "all":
        return everything
    cut = [i for i in everything if not head.kept[i]]
    wanted = {*inspection.choices, *inspection.view.pinned}
    named = [i for i in everything if head.tokens[i] in wanted]
    others = [i for i in everything if i not in named and (head.kept[i] or i in cut[:CUT])]
    return sorted([*named, *others[: max(0, ROWS - len(named))]])


def _caption(inspection: Inspection, rows: list[int]) -> str:
    """The quantity, how many candidates are kept, and that some below were cut."""
    head, words, n = inspection.plausible_head, inspection.words, inspection.plausible_head.size
    if not inspection.focus_lane.reads:
        return words("chart.candidates_plain")
    quantity = words("chart.candidates_scores" if _is_ratio(inspection) else "chart.candidates_probability")
    kept = words("chart.kept_one") if n == 1 else words("chart.kept", n=n)
    return f"{quantity}{kept}" + (words("chart.and_cut") if not head.kept[rows].all() else "")


def _notes(inspection: Inspection, rows: list[int]) -> Iterator[str]:
    """What else is to be known about the numbers."""
    head, words, lane = inspection.plausible_head, inspection.words, inspection.focus_lane
    hidden = [i for i in range(len(head.tokens)) if i not in rows]
    kept = int(head.kept[hidden].sum()) if lane.reads else 0
    if kept:
        yield words("chart.kept_hidden_one") if kept == 1 else words("chart.kept_hidden", n=kept)
    if len(hidden) > kept:
        n = len(hidden) - kept
        yield words("chart.cut_hidden_one") if n == 1 else words("chart.cut_hidden", n=n)
    if not lane.reads:
        return
    if _is_ratio(inspection):
        yield words("chart.scores_alone") if head.layer is None else words("chart.ratio", layer=head.layer)
        yield words("chart.clipped_bars")
    yield words("chart.climbing")
    yield norm(inspection, inspection.focus)
    if not head.complete:
        yield words("chart.more_plausible")
    if is_penalised(inspection, inspection.focus, "after"):
        yield words("chart.penalty_after")


def _spoken(inspection: Inspection, rows: list[int]) -> str:
    """The candidates one by one, the kept first, and the threshold."""
    head, words, lane = inspection.plausible_head, inspection.words, inspection.focus_lane

    def said(i: int) -> str:
        values = [f"{name} {_number(values[i])}" for values, name, *_ in _series(inspection)]
        if _is_ratio(inspection):
            values = [f"F {head.F[i]:.2f}" if np.isfinite(head.F[i]) else words("chart.not_recorded")]
        return words(
            "chart.candidate_alt", token=token(inspection.trace, int(head.tokens[i])), values=", ".join(values)
        )

    if not lane.reads:
        return words("chart.candidates_plain_alt", tokens=words("chart.then").join(map(said, rows)))
    kept, cut = [words("chart.then").join(said(i) for i in rows if bool(head.kept[i]) is k) for k in (True, False)]
    n, threshold = head.size, _number(head.threshold)
    one = words("chart.kept_one_alt", threshold=threshold, tokens=kept)
    told = one if n == 1 else words("chart.kept_alt", n=n, threshold=threshold, tokens=kept)
    return told + (words("chart.cut_alt", tokens=cut) if cut else "")


def _number(value: float) -> str:
    return small_number(float(np.log(value)) if value > 0 else -np.inf)


def _series(inspection: Inspection) -> list[tuple[np.ndarray, str, str, float]]:
    """The bars of each candidate: values `[K]`, name, colour and opacity."""
    head, words, focus, lane = inspection.plausible_head, inspection.words, inspection.focus, inspection.focus_lane
    bars = [(head.q_N, words("chart.final_layer"), LIGHT["base"], 1.0)]
    if head.q_J is not None:
        bars.append((head.q_J, words("chart.layer_n", layer=head.layer), LIGHT["early"], 0.75))
    if lane.reads:
        # In the first pane, blue is taken by the final layer.
        bars.append((head.p_hat, inspection.names[focus], colour(focus) if focus else LIGHT["dola"], 1.0))
    return bars


def _probability_chart(inspection: Inspection, rows: list[int]) -> Figure:
    """Bars of q_N, of the contrast layer and of p̂ by token, and the threshold."""
    head, lane, words = inspection.plausible_head, inspection.focus_lane, inspection.words
    series = _series(inspection)
    widest = max(float(values[rows].max()) for values, *_ in series)
    edge: dict[str, Any] = {}
    if lane.reads:
        edge = line_at("x", head.threshold, text=words("chart.cut_off", at=_number(head.threshold)))
        edge["annotations"][0]["xanchor"] = "left"
    return figure(
        [
            _bars(inspection, rows, values, ("q_N", f"q_{head.layer}", "p̂")[n], color=c, opacity=opacity)
            for (values, _, c, opacity), n in zip(series, (0, 2) if head.q_J is None else (0, 1, 2), strict=False)
        ],
        height=_height(rows) - KEY_HEIGHT,
        margin={"l": 46, "r": 10, "t": 18, "b": 22},
        barmode="group",
        bargap=0.25,
        bargroupgap=0.04,
        xaxis={"range": [0, min(1.02, 1.06 * widest)], "nticks": 5},
        yaxis=_token_axis(inspection, rows),
        meta=FITTED,
        **edge,
    )


def _ratio_chart(inspection: Inspection, rows: list[int]) -> Figure:
    """Bars of F by token: the longer, the less the early layers expected of what the last layer expects.

    The axis has room for the kept tokens; a bar of a cut token may end at its edge.
    """
    head = inspection.plausible_head
    F = np.nan_to_num(head.F)
    kept = F[[i for i in rows if head.kept[i]]]
    widest = 1.08 * max(1e-3, float(np.abs(kept).max(initial=0)))
    low, high = (-widest if kept.min(initial=0) < 0 else 0), (widest if kept.max(initial=0) > 0 else 0)
    return figure(
        [_bars(inspection, rows, head.F, "F", color=colour(inspection.focus or 1))],
        height=_height(rows),
        margin={"l": 46, "r": 14, "t": 8, "b": 34},
        bargap=0.45,
        xaxis={
            "range": [low, high or 0.01 * widest],
            "nticks": 6,
            "zeroline": True,
            "zerolinecolor": LIGHT["early"],
            "title": {"text": inspection.words("chart.nats"), "standoff": 2, "font": {"size": 11}},
        },
        yaxis=_token_axis(inspection, rows),
        meta=FITTED,
        annotations=[
            _beyond(row, at_end=F[i] > 0, edge=high if F[i] > 0 else low)
            for row, i in enumerate(rows)
            if not low <= F[i] <= high
        ],
    )


def _beyond(row: int, *, at_end: bool, edge: float) -> dict[str, Any]:
    """An arrowhead at the edge of the chart: the bar of that row goes on."""
    return {
        "x": edge, "y": row, "text": "›" if at_end else "‹", "showarrow": False,
        "xanchor": "right" if at_end else "left", "font": {"size": 14, "color": LIGHT["mute"]},
    }  # fmt: skip


def _height(rows: list[int]) -> int:
    """Pixels of the chart and its key: the same up to `ROWS` candidates, then more for each."""
    return HEIGHT + 28 * max(0, len(rows) - ROWS)


def _bars(
    inspection: Inspection, rows: list[int], values: np.ndarray, symbol: str, *, color: str, opacity: float = 1.0
) -> dict[str, Any]:
    """One bar per candidate, from `values` `[K]`; those outside the plausible head are faded."""
    trace, head = inspection.trace, inspection.plausible_head
    texts = [f"{values[i]:.3f}" if symbol == "F" else _number(values[i]) for i in rows]
    return {
        "type": "bar",
        "orientation": "h",
        "name": symbol,
        "y": list(range(len(rows))),
        "x": [round(float(values[i]), 5) if np.isfinite(values[i]) else None for i in rows],
        "marker": {"opacity": [opacity if head.kept[i] else FADED * opacity for i in rows], "color": color},
        "customdata": [
            [label(trace, int(head.tokens[i])), int(head.tokens[i]), text] for i, text in zip(rows, texts, strict=True)
        ],
        "hovertemplate": f"%{{customdata[0]}} (id %{{customdata[1]}})<br>{symbol} = %{{customdata[2]}}<extra></extra>",
    }


def _token_axis(inspection: Inspection, rows: list[int]) -> dict[str, Any]:
    """Names of the tokens from the top down, with the marks of pins and choices and how far each climbs."""
    head = inspection.plausible_head
    return {
        "tickvals": list(range(len(rows))),
        "ticktext": [_token_name(inspection, int(head.tokens[i]), int(head.climbed[i])) for i in rows],
        "range": [len(rows) - 0.5, -0.5],
        "showgrid": False,
    }


def _token_name(inspection: Inspection, token_id: int, climbed: int) -> str:
    pin = "■ " if token_id in inspection.view.pinned else ""
    arrow = f" ↑{climbed}" if climbed > 0 else f" ↓{-climbed}" if climbed < 0 else ""
    return f"{pin}{marked(inspection.trace, token_id, inspection.choices)}{arrow} "
