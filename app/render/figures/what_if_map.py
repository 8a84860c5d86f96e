"""The map of one step: which token DoLa chooses for every (j*, α)."""

from collections import Counter
from typing import Any

import numpy as np

from app.render.figures.style import Figure, figure, label
from app.render.inspection import Inspection
from app.render.token_text import token
from app.ui.palette import LIGHT
from dola_core.trace.schema import Trace
from dola_core.trace.what_if import winners

ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
"""The α of the map's rows."""
NAMED = 4
"""How many tokens are named: in the text twin, and in the map on the area of each."""


def map_card(inspection: Inspection) -> dict[str, Any]:
    """The map j* × α, coloured by the token that DoLa chooses, for `Chart`."""
    trace, words = inspection.trace, inspection.words
    chosen = winners(inspection.step, ALPHAS, trace.decoding)
    counts = Counter(chosen[chosen >= 0].tolist())
    unavailable = bool((chosen < 0).any())
    most_common = ", ".join(f"{token(trace, token_id)} {n}" for token_id, n in counts.most_common(NAMED))
    return {
        "title": words("chart.map"),
        "sub": words("chart.map_sub") + (words("chart.map_unavailable") if unavailable else ""),
        "alt": words("chart.map_alt", n=chosen.size, winners=most_common),
        "figure": _map(inspection, chosen, counts),
    }


def _map(inspection: Inspection, chosen: np.ndarray, counts: Counter[int]) -> Figure:
    """`chosen` `[alphas, N − 1]` as a heatmap of one flat colour per token."""
    trace, view = inspection.trace, inspection.view
    colours = _colours(inspection, counts)
    colour_index = {token_id: n for n, token_id in enumerate(colours)}
    cells = {
        "type": "heatmap",
        "x": list(range(1, trace.model.n_layers)),
        "y": [f"{alpha:g}" for alpha in ALPHAS],
        "z": [[colour_index.get(token_id) for token_id in row] for row in chosen.tolist()],
        "zmin": -0.5,
        "zmax": len(colours) - 0.5,
        "colorscale": [
            [edge / len(colours), colour] for n, colour in enumerate(colours.values()) for edge in (n, n + 1)
        ],
        "showscale": False,
        "text": [
            [label(trace, token_id) if token_id >= 0 else view.words("chart.not_recorded") for token_id in row]
            for row in chosen.tolist()
        ],
        "hovertemplate": "j* = %{x}, α = %{y}: %{text}<extra></extra>",
        "hoverongaps": True,
        "xgap": 1,
        "ygap": 1,
    }
    cross = {
        "x": view.layer, "y": _row(view.alpha), "text": "✛", "showarrow": False,
        "font": {"size": 18, "color": LIGHT["card"]},
    }  # fmt: skip
    names = [_name(trace, chosen, token_id) for token_id in list(colours)[:NAMED] if token_id in counts]
    return figure(
        [cells],
        height=300,
        margin={"l": 50, "r": 14, "t": 8, "b": 40},
        xaxis={"title": {"text": "j*", "standoff": 4}, "dtick": 5, "tick0": 0, "showgrid": False},
        yaxis={"title": {"text": "α", "standoff": 4}, "type": "category", "showgrid": False},
        annotations=[*names, cross],
    )


def _colours(inspection: Inspection, counts: Counter[int]) -> dict[int, str]:
    """A colour per token: the lanes' own for their choices, greys for the others, the most frequent first."""
    base, dola = inspection.choices
    colours = {base: LIGHT["base"], dola: LIGHT["dola"]} if base != dola else {base: LIGHT["base"]}
    greys = [LIGHT["early"], LIGHT["mute"], LIGHT["line"]]
    others = [token_id for token_id, _ in counts.most_common() if token_id not in (base, dola)]
    return colours | {token_id: greys[n % len(greys)] for n, token_id in enumerate(others)}


def _row(alpha: float) -> float:
    """The position of `alpha` among the map's rows, counted from 0; between two rows if it is none of `ALPHAS`."""
    return float(np.interp(np.log(alpha), np.log(ALPHAS), np.arange(len(ALPHAS))))


def _name(trace: Trace, chosen: np.ndarray, token_id: int) -> dict[str, Any]:
    """The token's name as an annotation on the longest horizontal stretch of its area."""
    best, length = (0, 0), 0
    for row in range(len(chosen)):
        start = 0
        for column in range(chosen.shape[1] + 1):
            if column == chosen.shape[1] or chosen[row, column] != token_id:
                if column - start > length:
                    best, length = (row, start), column - start
                start = column + 1
    return {
        "x": best[1] + 1 + (length - 1) / 2, "y": best[0], "text": label(trace, token_id), "showarrow": False,
        "font": {"color": LIGHT["ink"], "size": 11}, "bgcolor": LIGHT["card"], "borderpad": 2,
    }  # fmt: skip
