"""The charts of a layer search: a metric by layer for every α, and the layers that random halves choose."""

from typing import Any

from app.language import Language
from app.render.figures.style import LEGEND, Figure, figure, line_at
from app.ui.palette import LIGHT
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.result import Interval, SearchResult

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Line styles, so that the α can be told apart without colour."""


def curve_card(result: SearchResult, metric: Metric, words: Language) -> dict[str, Any]:
    """The chart of one metric with its title, its grey line and its text twin, for `Chart`."""
    data, chosen = result.data, result.chosen
    baseline, low, high = (f"{value:.3f}" for value in result.curves[metric].baseline)
    name, chosen_by = words(f"metric.{metric}"), words(f"metric.{result.asked.metric}")
    usual = f"α = {result.asked.usual_alpha or 0:g}"
    return {
        "title": words("search.curve", metric=name),
        "sub": words(
            "search.curve_sub", name=data.name, n=f"{data.items:,}", of=f"{data.of:,}", by=chosen_by, usual=usual
        ),
        "alt": words(
            "search.curve_alt",
            metric=name,
            layer=chosen.layer,
            alpha=f"{chosen.alpha:g}",
            baseline=baseline,
            low=low,
            high=high,
        ),
        "figure": _curves(result, metric, words),
    }


def _curves(result: SearchResult, metric: Metric, words: Language) -> Figure:
    """The baseline and the chosen α with their bands, and a line for every α."""
    curve, layers, alphas = result.curves[metric], list(result.layers), result.asked.alphas
    best = alphas.index(result.chosen.alpha)
    baseline = {
        "type": "scatter", "mode": "lines", "name": words("search.baseline"), "x": layers,
        "y": [curve.baseline[0]] * len(layers), "line": {"color": LIGHT["base"], "width": 2},
        "hoverinfo": "skip",
    }  # fmt: skip
    lines = [
        *_band(layers, [curve.baseline] * len(layers), LIGHT["base-soft"]),
        baseline,
        *_band(layers, [row[best] for row in curve.settings], LIGHT["dola-soft"]),
        *(
            _alpha_line(layers, alpha, [row[n] for row in curve.settings], DASHES[n % len(DASHES)], is_chosen=n == best)
            for n, alpha in enumerate(alphas)
        ),
        *_beside(result, metric),
    ]
    return figure(
        lines,
        height=420,
        margin={"l": 56, "r": 14, "t": 58, "b": 40},
        showlegend=True,
        legend=LEGEND,
        xaxis={"title": {"text": "j*", "standoff": 4}, "range": [layers[0] - 0.5, layers[-1] + 0.5], "dtick": 2},
        yaxis={"tickformat": ".3~f"},
        **line_at("x", result.chosen.layer, text=f"j* = {result.chosen.layer}"),
    )


def _beside(result: SearchResult, metric: Metric) -> list[dict[str, Any]]:
    """What was measured beside the layers: a curve for every other strength, and a level line for every lane.

    Of the lanes of one bucket, only that of strength 1 is drawn; the report has the others.
    """
    layers = list(result.layers)
    curves = [
        _grey_line(layers, values, f"β = {beta:g}", LIGHT["early"], DASHES[1 + n % 4])
        for n, (beta, values) in enumerate(result.by_strength(metric).items())
    ]
    lanes = [one for one in result.other_lanes if "beta=" not in one.lane]
    levels = [
        _grey_line(layers, [one.values[metric]] * len(layers), one.lane, LIGHT["ink"], DASHES[n % len(DASHES)])
        for n, one in enumerate(lanes)
    ]
    return [*curves, *levels]


def _grey_line(layers: list[int], values: list[Interval], name: str, colour: str, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": layers, "y": [value[0] for value in values],
        "customdata": [[None, low, high] for _, low, high in values],  # no setting that a click could take
        "line": {"color": colour, "dash": dash, "width": 1.5},
        "hovertemplate": f"{name}: %{{y:.3f}} (%{{customdata[1]:.3f}} – %{{customdata[2]:.3f}})<extra></extra>",
    }  # fmt: skip


def _alpha_line(
    layers: list[int], alpha: float, values: list[Interval], dash: str, *, is_chosen: bool
) -> dict[str, Any]:
    """The metric by layer at one α; its points carry the setting that a click takes."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"α = {alpha:g}",
        "x": layers,
        "y": [value[0] for value in values],
        "customdata": [[alpha, low, high] for _, low, high in values],
        "line": {"color": LIGHT["dola"], "dash": dash, "width": 2.5 if is_chosen else 1.5},
        "marker": {"size": 7 if is_chosen else 5, "color": LIGHT["dola"]},
        "opacity": 1 if is_chosen else 0.6,
        "hovertemplate": f"j* = %{{x}}, α = {alpha:g}: %{{y:.3f}} "
        "(%{customdata[1]:.3f} – %{customdata[2]:.3f})<extra></extra>",
    }


def _band(layers: list[int], values: list[Interval], colour: str) -> list[dict[str, Any]]:
    """95 % intervals by layer, as two invisible lines with a filling between them."""
    unseen = {"type": "scatter", "mode": "lines", "x": layers, "line": {"width": 0}, "hoverinfo": "skip"}
    return [
        unseen | {"y": [low for _, low, _ in values], "showlegend": False},
        unseen | {"y": [high for *_, high in values], "showlegend": False, "fill": "tonexty", "fillcolor": colour},
    ]


def halves_card(result: SearchResult, words: Language) -> dict[str, Any] | None:
    """How often random halves of the questions choose each layer; None where there are too few questions, or
    nothing to choose."""
    stability = result.stability
    if stability is None or result.asked.one_setting:
        return None
    layers = list(result.layers)
    shares = [round(stability.layers.get(layer, 0.0), 4) for layer in layers]
    same = f"{100 * stability.same_layer:.0f}"
    bars = {
        "type": "bar", "x": layers, "y": shares,
        "marker": {"color": [LIGHT["dola"] if layer == result.chosen.layer else LIGHT["early"] for layer in layers]},
        "hovertemplate": "j* = %{x}: %{y:.1%}<extra></extra>",
    }  # fmt: skip
    return {
        "title": words("search.halves"),
        "sub": words("search.halves_sub", same=same),
        "alt": words("search.halves_alt", same=same, layer=max(stability.layers, key=stability.layers.__getitem__)),
        "figure": figure(
            [bars],
            height=220,
            xaxis={"title": {"text": "j*", "standoff": 4}, "range": [layers[0] - 0.5, layers[-1] + 0.5], "dtick": 2},
            yaxis={"tickformat": ".0%", "range": [0, max(1.08 * max(shares), 0.01)]},
        ),
    }
