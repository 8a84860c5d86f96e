"""The charts of a layer search: a metric by layer for every α, the layers that random halves choose, and a sketch."""

import math
from collections.abc import Sequence
from typing import Any

from app.language import Language
from app.render.figures.style import Card, Entry, Figure, card, escaped, figure, line_at
from app.ui.palette import LIGHT
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.result import Interval, SearchResult

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Line styles, so that the α can be told apart without colour."""
CURVE_HEIGHT, HEIGHT = 380, 220
"""Pixels of the chart of a metric, and of the others."""


def curve_card(result: SearchResult, metric: Metric, words: Language) -> Card:
    """The chart of one metric with its title, its grey line and its text twin, for `Chart`.

    Where there are too few questions to choose a layer by, none is marked.
    """
    data, chosen, name = result.data, result.chosen, words(f"metric.{metric}")
    baseline, low, high = (f"{value:.3f}" for value in result.curves[metric].baseline)
    told = {"metric": name, "baseline": baseline, "low": low, "high": high}
    lines = _lines(result, metric, words)
    beside = _beside(result, metric)
    by = words("search.curve_by", by=words(f"metric.{result.asked.metric}"))
    questions = words("search.curve_sub_one" if data.of == 1 else "search.curve_sub", name=data.name,
                      n=f"{data.items:,}", of=f"{data.of:,}")  # fmt: skip
    return card(
        words,
        words("search.curve", metric=name),
        questions,
        alt=words("search.curve_alt", layer=chosen.layer, alpha=f"{chosen.alpha:g}", **told)
        if result.stability
        else words("search.curve_alt_few", **told),
        figure=_curves(result, [*lines, *beside]),
        more=[
            words("search.curve_lines"),
            words("search.curve_beside", usual=f"α = {result.asked.usual_alpha or 0:g}") if beside else "",
            by if result.stability else "",
        ],
        hints=[words("search.curve_click")],
        key=[_entry(line) for line in [*lines, *beside] if line.get("name")],
    )


def _entry(line: dict[str, Any]) -> Entry:
    """A line of the chart in its key."""
    return Entry(line["name"], line["line"]["color"], line["line"].get("dash", "solid"))


def _lines(result: SearchResult, metric: Metric, words: Language) -> list[dict[str, Any]]:
    """The baseline and the chosen α with their bands, and a line for every α."""
    curve, layers, alphas = result.curves[metric], list(result.layers), result.asked.alphas
    best = alphas.index(result.chosen.alpha) if result.stability else None
    baseline = {
        "type": "scatter", "mode": "lines", "name": words("search.baseline"), "x": layers,
        "y": [curve.baseline[0]] * len(layers), "line": {"color": LIGHT["base"], "width": 2},
        "hoverinfo": "skip",
    }  # fmt: skip
    return [
        *_band(layers, [curve.baseline] * len(layers), LIGHT["base-soft"]),
        baseline,
        *([] if best is None else _band(layers, [row[best] for row in curve.settings], LIGHT["dola-soft"])),
        *(
            _alpha_line(layers, alpha, [row[n] for row in curve.settings], DASHES[n % len(DASHES)], is_chosen=n == best)
            for n, alpha in enumerate(alphas)
        ),
    ]


def _curves(result: SearchResult, lines: list[dict[str, Any]]) -> Figure:
    layer = result.chosen.layer
    mark = line_at("x", layer, text=f"j* = {layer}", inside=layer < max(result.layers) - 3) if result.stability else {}
    return figure(
        lines,
        height=CURVE_HEIGHT,
        margin={"l": 48, "r": 14, "t": 22, "b": 40},
        xaxis=_layer_axis(result.layers),
        yaxis={"tickformat": ".3~f"},
        **mark,
    )


def _layer_axis(layers: Sequence[int]) -> dict[str, Any]:
    """The axis of j*, with few enough numbers for a phone."""
    return {
        "title": {"text": "j*", "standoff": 4}, "range": [layers[0] - 0.5, layers[-1] + 0.5], "tick0": 0,
        "dtick": 5 if len(layers) > 8 else 1,
    }  # fmt: skip


def sketch_card(n_layers: int, words: Language) -> Card:
    """What the chart of a search will look like, drawn from no measurement and labelled so."""
    layers = list(range(1, n_layers))
    rise = [math.exp(-(((layer / n_layers - 0.7) / 0.22) ** 2)) for layer in layers]
    curve = [round(0.3 + 0.25 * up, 3) for up in rise]
    plain = [0.45] * len(layers)
    look = {"type": "scatter", "mode": "lines", "x": layers, "hoverinfo": "skip"}
    line = {"color": LIGHT["early"], "width": 2}
    lines = [
        look | {"name": words("search.baseline"), "y": plain, "line": line},
        look | {"name": "DoLa-static", "y": curve, "line": line | {"dash": "dash"}},
    ]
    note = {
        "x": 0.2, "y": 0.85, "xref": "paper", "yref": "paper", "showarrow": False, "text": words("search.sketch_mark"),
        "font": {"size": 24, "color": LIGHT["early"]}, "textangle": -12,
    }  # fmt: skip
    return card(
        words,
        words("search.sketch"),
        words("search.sketch_sub"),
        alt=words("search.sketch_alt"),
        figure=figure(
            lines,
            height=HEIGHT,
            margin={"l": 20, "r": 14, "t": 8, "b": 40},
            xaxis=_layer_axis(layers),
            yaxis={"showticklabels": False, "range": [0.2, 0.65]},
            annotations=[note],
        ),
        key=[_entry(one) for one in lines],
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
        "hovertemplate": f"{escaped(name)}: "
        "%{y:.3f} (%{customdata[1]:.3f} – %{customdata[2]:.3f})<extra></extra>",
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


def halves_card(result: SearchResult, words: Language) -> Card | None:
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
    return card(
        words,
        words("search.halves"),
        words("search.halves_sub"),
        alt=words("search.halves_alt", same=same, layer=max(stability.layers, key=stability.layers.__getitem__)),
        figure=figure(
            [bars],
            height=HEIGHT,
            margin={"l": 44, "r": 14, "t": 12, "b": 40},
            xaxis=_layer_axis(layers),
            yaxis={"tickformat": ".0%", "range": [0, max(1.08 * max(shares), 0.01)]},
        ),
        more=[words("search.halves_same", same=same)],
    )
