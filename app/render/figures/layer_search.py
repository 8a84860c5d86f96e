"""The charts of a layer search: a metric against the layer for every α, and the layers that random halves choose."""

from typing import Any

from app.language import Language
from app.render.figures.style import LEGEND, Figure, figure, line_at
from app.ui.palette import LIGHT
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.result import SearchResult, Triple

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Lines of different α, told apart without colour."""


def curve_card(found: SearchResult, metric: Metric, words: Language) -> dict[str, Any]:
    """The chart of one metric with its title, its grey line and its text twin, for `Chart`."""
    curve, chosen = found.curves[metric], found.chosen
    value, low, high = curve.baseline
    numbers = {"baseline": f"{value:.3f}", "low": f"{low:.3f}", "high": f"{high:.3f}"}
    n, of = f"{found.data.items:,}", f"{found.data.of:,}"
    return {
        "title": words("search.curve", metric=words(f"metric.{metric}")),
        "sub": words("search.curve_sub", name=found.data.name, n=n, of=of, by=words(f"metric.{found.asked.metric}")),
        "alt": words(
            "search.curve_alt",
            metric=words(f"metric.{metric}"),
            layer=chosen.layer,
            alpha=f"{chosen.alpha:g}",
            **numbers,
        ),
        "figure": _curves(found, metric, words),
    }


def _curves(found: SearchResult, metric: Metric, words: Language) -> Figure:
    curve, layers, alphas = found.curves[metric], list(found.layers), found.asked.alphas
    lines = _band(layers, [curve.baseline] * len(layers), LIGHT["base-soft"])
    lines.append(
        {
            "type": "scatter", "mode": "lines", "name": words("search.baseline"), "x": layers,
            "y": [curve.baseline[0]] * len(layers), "line": {"color": LIGHT["base"], "width": 2},
            "hoverinfo": "skip",
        }
    )  # fmt: skip
    shown = alphas.index(found.chosen.alpha)
    lines += _band(layers, [row[shown] for row in curve.settings], LIGHT["dola-soft"])
    for n, alpha in enumerate(alphas):
        lines.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"α = {alpha:g}",
                "x": layers,
                "y": [row[n][0] for row in curve.settings],
                "customdata": [[alpha, row[n][1], row[n][2]] for row in curve.settings],
                "line": {"color": LIGHT["dola"], "dash": DASHES[n % len(DASHES)], "width": 2.5 if n == shown else 1.5},
                "marker": {"size": 7 if n == shown else 5, "color": LIGHT["dola"]},
                "opacity": 1 if n == shown else 0.6,
                "hovertemplate": f"j* = %{{x}}, α = {alpha:g}: %{{y:.3f}} "
                "(%{customdata[1]:.3f} – %{customdata[2]:.3f})<extra></extra>",
            }
        )
    return figure(
        lines,
        height=420,
        margin={"l": 56, "r": 14, "t": 58, "b": 40},
        showlegend=True,
        legend=LEGEND,
        xaxis={"title": {"text": "j*", "standoff": 4}, "range": [layers[0] - 0.5, layers[-1] + 0.5], "dtick": 2},
        yaxis={"tickformat": ".3~f"},
        **line_at("x", found.chosen.layer, text=f"j* = {found.chosen.layer}"),
    )


def _band(layers: list[int], values: list[Triple], colour: str) -> list[dict[str, Any]]:
    """The 95 % bootstrap interval around a line, as two invisible lines with a filling between."""
    unseen = {"type": "scatter", "mode": "lines", "x": layers, "line": {"width": 0}, "hoverinfo": "skip"}
    return [
        unseen | {"y": [value[1] for value in values], "showlegend": False},
        unseen | {"y": [value[2] for value in values], "showlegend": False, "fill": "tonexty", "fillcolor": colour},
    ]


def halves_card(found: SearchResult, words: Language) -> dict[str, Any] | None:
    """Which layers random halves of the questions choose; None where there are too few questions."""
    stable = found.stability
    if stable is None:
        return None
    layers = list(found.layers)
    shares = [round(stable.layers.get(layer, 0.0), 4) for layer in layers]
    same = f"{100 * stable.same_layer:.0f}"
    bars = {
        "type": "bar", "x": layers, "y": shares,
        "marker": {"color": [LIGHT["dola"] if layer == found.chosen.layer else LIGHT["early"] for layer in layers]},
        "hovertemplate": "j* = %{x}: %{y:.1%}<extra></extra>",
    }  # fmt: skip
    return {
        "title": words("search.halves"),
        "sub": words("search.halves_sub", same=same),
        "alt": words("search.halves_alt", same=same, layer=max(stable.layers, key=stable.layers.__getitem__)),
        "figure": figure(
            [bars],
            height=220,
            xaxis={"title": {"text": "j*", "standoff": 4}, "range": [layers[0] - 0.5, layers[-1] + 0.5], "dtick": 2},
            yaxis={"tickformat": ".0%", "range": [0, max(1.08 * max(shares), 0.01)]},
        ),
    }
