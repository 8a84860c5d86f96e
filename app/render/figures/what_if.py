"""The two charts of what-ifs: who wins at this step for every (j*, α), and how many choices change by j*."""

from collections import Counter
from typing import Any

import numpy as np

from app.render.figures.style import Figure, figure, label, line_at
from app.render.token_text import token
from app.render.view_state import View
from app.ui.palette import LIGHT
from dola_core.trace.schema import Trace
from dola_core.trace.what_if import DOLA, Changes, changes, winners

ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
"""The α of the map's rows."""


def map_card(trace: Trace, view: View) -> dict[str, Any]:
    """The map j* × α of this step, coloured by the token that DoLa chooses."""
    step = view.step(trace)
    won = winners(step, ALPHAS, trace.decoding)
    counted = Counter(won[won >= 0].tolist())
    untold = int((won < 0).any(1).sum())
    words = view.words
    winners_ = ", ".join(f"{token(trace, token_id)} {n}" for token_id, n in counted.most_common(4))
    return {
        "title": words("chart.map"),
        "sub": words("chart.map_sub") + (words("chart.map_untold") if untold else ""),
        "alt": words("chart.map_alt", n=won.size, winners=winners_),
        "figure": _map(trace, view, won, counted),
    }


def _map(trace: Trace, view: View, won: np.ndarray, counted: Counter[int]) -> Figure:
    base, dola = view.step(trace).choices[0].id, view.dola_choice(trace)
    others = [token_id for token_id, _ in counted.most_common() if token_id not in (base, dola)]
    colours = {base: LIGHT["base"], dola: LIGHT["dola"]} if base != dola else {base: LIGHT["base"]}
    greys = [LIGHT["early"], LIGHT["mute"], LIGHT["line"]]
    colours |= {token_id: greys[n % len(greys)] for n, token_id in enumerate(others)}
    number_of = {token_id: n for n, token_id in enumerate(colours)}
    scale = [[place, colour] for n, colour in enumerate(colours.values()) for place in _band(n, len(colours))]
    cells = {
        "type": "heatmap",
        "x": list(range(1, trace.model.n_layers)),
        "y": [f"{alpha:g}" for alpha in ALPHAS],
        "z": [[number_of.get(token_id) for token_id in row] for row in won.tolist()],
        "zmin": -0.5,
        "zmax": len(colours) - 0.5,
        "colorscale": scale,
        "showscale": False,
        "text": [
            [label(trace, token_id) if token_id >= 0 else view.words("chart.not_recorded") for token_id in row]
            for row in won.tolist()
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
    return figure(
        [cells],
        height=300,
        margin={"l": 50, "r": 14, "t": 8, "b": 40},
        xaxis={"title": {"text": "j*", "standoff": 4}, "dtick": 5, "tick0": 0, "showgrid": False},
        yaxis={"title": {"text": "α", "standoff": 4}, "type": "category", "showgrid": False},
        annotations=[*(_name(trace, won, token_id) for token_id in list(colours)[:4] if token_id in counted), cross],
    )


def _band(n: int, of: int) -> tuple[float, float]:
    return n / of, (n + 1) / of


def _row(alpha: float) -> float:
    """Where an α stands among the map's rows, between two of them if it is none of them; rows count from 0."""
    return float(np.interp(np.log(alpha), np.log(ALPHAS), np.arange(len(ALPHAS))))


def _name(trace: Trace, won: np.ndarray, token_id: int) -> dict[str, Any]:
    """The token's name on the widest stretch of its area."""
    best, length = (0, 0), 0
    for row in range(len(won)):
        start = 0
        for column in range(won.shape[1] + 1):
            if column == won.shape[1] or won[row, column] != token_id:
                if column - start > length:
                    best, length = (row, start), column - start
                start = column + 1
    return {
        "x": best[1] + 1 + (length - 1) / 2, "y": best[0], "text": label(trace, token_id), "showarrow": False,
        "font": {"color": LIGHT["ink"], "size": 11}, "bgcolor": LIGHT["card"], "borderpad": 2,
    }  # fmt: skip


def sweep_card(trace: Trace, view: View) -> dict[str, Any]:
    """How many of the run's DoLa choices would be another token, for every j* at the present α."""
    found = changes(trace, view.alpha)
    ran = trace.lanes[DOLA]
    words, most = view.words, int(found.counts.max(initial=0))
    return {
        "title": words("chart.sweep"),
        "sub": words(
            "chart.sweep_sub",
            n=found.steps,
            alpha=f"{view.alpha:g}",
            ran_layer=ran.layer,
            ran_alpha=f"{ran.alpha:g}",
            untold=words("chart.sweep_untold", n=found.untold) if found.untold else "",
        ),
        "alt": words("chart.sweep_alt", layer=view.layer, k=int(found.counts[view.layer - 1]), most=most),
        "figure": _sweep(trace, view, found),
    }


def _sweep(trace: Trace, view: View, found: Changes) -> Figure:
    layers = list(range(1, trace.model.n_layers))
    bars = {
        "type": "bar",
        "x": layers,
        "y": found.counts.tolist(),
        "marker": {
            "color": [LIGHT["dola"] if layer == view.layer else LIGHT["line"] for layer in layers],
            "line": {"color": LIGHT["early"], "width": 0.5},
        },
        "hovertemplate": f"j* = %{{x}}: %{{y}} {view.words('chart.would_change')}<extra></extra>",
    }
    most = int(found.counts.max(initial=0))
    return figure(
        [bars],
        height=300,
        margin={"l": 46, "r": 14, "t": 22, "b": 40},
        xaxis={"title": {"text": "j*", "standoff": 4}, "dtick": 5, "tick0": 0, "range": [0.5, layers[-1] + 0.5]},
        yaxis={
            "title": {"text": view.words("chart.changed"), "standoff": 6},
            "range": [0, max(most, 1) * 1.08],
            "dtick": max(1, round(most / 5)),
        },
        **line_at("x", view.layer, text=f"j* = {view.layer}"),
    )
