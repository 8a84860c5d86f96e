"""The map of one step: which token a lane chooses for every (j*, α), and with a layer chosen from every bucket."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from app.render.figures.style import (
    HEIGHT,
    Card,
    Figure,
    card,
    colour,
    escaped,
    figure,
    label,
    layer_axis,
    short,
    strength,
)
from app.render.inspection import Inspection
from app.ui.palette import LIGHT
from dola_core.lanes import BUCKETS, Lane
from dola_core.trace.schema import Trace
from dola_core.trace.token_text import token
from dola_core.trace.what_if import what_if_choice, winners, with_bucket

ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
"""The α of the map's rows."""
NAMED = 4
"""How many tokens are named: in the text twin, and in the map on the area of each."""

PER_LETTER = 0.02
"""The share of a phone's map that a letter takes: a token is named where its area has room for it."""
GREYS = (LIGHT["early"], LIGHT["mute"], LIGHT["line"])
"""The colours of tokens that no lane chooses."""


def map_card(inspection: Inspection) -> Card:
    """The map j* × α, coloured by the token that the lane chooses, and a row of buckets at the lane's own α."""
    trace, words, lane = inspection.trace, inspection.words, inspection.varied
    chosen = winners(inspection.focus_step, ALPHAS, lane, trace.decoding)
    buckets, settings = _buckets(inspection), strength(lane)
    counts = Counter(chosen[chosen >= 0].tolist())
    most_common = ", ".join(f"{token(trace, token_id)} {n}" for token_id, n in counts.most_common(NAMED))
    alt, more = words("chart.map_alt", n=chosen.size, winners=most_common or "–"), [words("chart.map_cross")]
    now = getattr(inspection.focus_lane, "layer", None)
    if now is not None:
        name = token(trace, inspection.choices[inspection.focus])
        alt += words("chart.map_now", layer=now, settings=strength(inspection.focus_lane), token=name)
    if buckets:
        more.append(words("chart.map_buckets", settings=settings))
        names = ", ".join(f"{cell.bucket} {token(trace, cell.token_id)}" for cell in buckets if cell.token_id >= 0)
        alt += words("chart.map_buckets_alt", settings=settings, winners=names)
    return card(
        words,
        words("chart.map"),
        words("chart.map_sub"),
        alt=alt,
        figure=_map(inspection, chosen, counts, buckets),
        more=[*more, words("chart.map_unavailable") if (chosen < 0).any() else ""],
        hints=[words("chart.map_click")],
        seen=inspection.varied.image,
    )


class _Bucket(NamedTuple):
    """What DoLa-dynamic chooses at the step looked at."""

    bucket: str
    layer: int
    """M_t; −1 if the trace does not tell."""
    token_id: int
    """−1 if the trace does not tell."""


def _buckets(inspection: Inspection) -> list[_Bucket]:
    """The choice with every bucket that has a name, the lane's own α and β; empty if the trace tells of none."""
    trace, step, model = inspection.trace, inspection.focus_step, inspection.trace.model
    cells = []
    for bucket in BUCKETS:
        try:
            lane = with_bucket(inspection.varied, bucket, model.n_layers, tied=bool(model.tied))
            cells.append(_Bucket(bucket, step.contrasted(lane), _known(what_if_choice(trace, step, lane))))
        except ValueError:
            cells.append(_Bucket(bucket, -1, -1))
    return cells if any(cell.token_id >= 0 for cell in cells) else []


def _known(token_id: int | None) -> int:
    return -1 if token_id is None else token_id


def _map(inspection: Inspection, chosen: np.ndarray, counts: Counter[int], buckets: list[_Bucket]) -> Figure:
    """`chosen` `[alphas, N − 1]` as a heatmap of one flat colour per token, under a row of buckets."""
    trace, view, lane = inspection.trace, inspection.view, inspection.focus_lane
    colours = _colours(inspection, counts + Counter(cell.token_id for cell in buckets if cell.token_id >= 0))
    colour_index = {token_id: n for n, token_id in enumerate(colours)}
    flat: dict[str, Any] = {
        "type": "heatmap",
        "zmin": -0.5,
        "zmax": len(colours) - 0.5,
        "colorscale": [
            [edge / len(colours), colour] for n, colour in enumerate(colours.values()) for edge in (n, n + 1)
        ],
        "showscale": False,
        "hoverongaps": True,
        "xgap": 1,
        "ygap": 1,
    }

    def name_of(token_id: int) -> str:
        return label(trace, token_id) if token_id >= 0 else view.words("chart.not_recorded")

    cells = flat | {
        "x": list(range(1, trace.model.n_layers)),
        "y": [f"{alpha:g}" for alpha in ALPHAS],
        "z": [[colour_index.get(token_id) for token_id in row] for row in chosen.tolist()],
        "text": [list(map(name_of, row)) for row in chosen.tolist()],
        "hovertemplate": "j* = %{x}, α = %{y}: %{text}<extra></extra>",
    }
    row = flat | {
        "xaxis": "x2",
        "yaxis": "y2",
        "x": [cell.bucket for cell in buckets],
        "y": ["M_t"],
        "z": [[colour_index.get(cell.token_id) for cell in buckets]],
        "text": [[name_of(cell.token_id) for cell in buckets]],
        "customdata": [[[cell.bucket, str(cell.layer)] for cell in buckets]],
        "hovertemplate": "j ∈ %{customdata[0]}, M_t = %{customdata[1]}: %{text}<extra></extra>",
    }
    named = [token_id for token_id in list(colours)[:NAMED] if token_id in counts]
    names = [name for token_id in named if (name := area_name(trace, chosen, token_id, colours[token_id]))]
    plain = {"showgrid": False, "zeroline": False, "fixedrange": True, "type": "category"}
    small = {"tickfont": {"size": 10}, "ticks": "", "ticklabelstandoff": 3}
    above: dict[str, Any] = {
        "xaxis2": plain | small | {"anchor": "y2", "side": "top"},
        "yaxis2": plain | small | {"anchor": "x2", "domain": [0.91, 1]},
    }
    axis = layer_axis(view.words, trace.model.n_layers - 1, title="j*")
    return figure(
        [cells, row] if buckets else [cells],
        height=HEIGHT,
        margin={"l": 48, "r": 10, "t": 20 if buckets else 8, "b": 34},
        xaxis=axis,
        yaxis=small
        | {
            "title": {"text": "α", "standoff": 2, "font": {"size": 11}},
            "type": "category",
            "dtick": 1,
            "showgrid": False,
            "domain": [0, 0.87 if buckets else 1],
        },
        **(above if buckets else {}),
        annotations=[*names, *_cross(lane, [cell.bucket for cell in buckets])],
    )


def _cross(lane: Lane, buckets: list[str]) -> list[dict[str, Any]]:
    """The present setting of the lane that the charts explain, if the map has a place for it."""
    bucket, layer = getattr(lane, "bucket", None), getattr(lane, "layer", None)
    if bucket in buckets:
        at: dict[str, Any] = {"xref": "x2", "yref": "y2", "x": buckets.index(bucket), "y": 0}
    elif layer is not None:
        at = {"x": layer, "y": _row(max(lane.least_share, ALPHAS[0]))}
    else:
        return []
    return [at | {"text": "✛", "showarrow": False, "font": {"size": 18, "color": LIGHT["card"], "shadow": "auto"}}]


def _colours(inspection: Inspection, counts: Counter[int]) -> dict[int, str]:
    """A colour per token: the lanes' own for their choices, greys for the others, the most frequent first."""
    colours = dict[int, str]()
    for lane, token_id in enumerate(inspection.choices):
        colours.setdefault(token_id, colour(lane))
    others = [token_id for token_id, _ in counts.most_common() if token_id not in colours]
    return colours | {token_id: GREYS[n % len(GREYS)] for n, token_id in enumerate(others)}


def _row(alpha: float) -> float:
    """The position of `alpha` among the map's rows, counted from 0; between two rows if it is none of `ALPHAS`."""
    return float(np.interp(np.log(alpha), np.log(ALPHAS), np.arange(len(ALPHAS))))


def area_name(trace: Trace, chosen: np.ndarray, token_id: int, fill: str) -> dict[str, Any] | None:
    """The token's name as an annotation on the longest horizontal stretch of its area; None if that is too short."""
    best, length = (0, 0), 0
    for row in range(len(chosen)):
        start = 0
        for column in range(chosen.shape[1] + 1):
            if column == chosen.shape[1] or chosen[row, column] != token_id:
                if column - start > length:
                    best, length = (row, start), column - start
                start = column + 1
    name, width = short(token(trace, token_id)), chosen.shape[1]
    if length < PER_LETTER * len(name) * width:
        return None
    # Near a side the name would reach beyond the map.
    first, last = best[1] + 0.5, best[1] + length + 0.5
    middle = (first + last) / 2
    side = "left" if middle < 0.2 * width else "right" if middle > 0.8 * width else "center"
    on_grey = {"font": {"color": LIGHT["ink"], "size": 11}, "bgcolor": LIGHT["card"], "borderpad": 1}
    on_colour = {"font": {"color": LIGHT["card"], "size": 11}}
    return {
        "x": {"left": first, "right": last, "center": middle}[side], "xanchor": side, "y": best[0],
        "text": escaped(name), "showarrow": False,
        **(on_grey if fill in GREYS else on_colour),
    }  # fmt: skip
