"""The chart of one metric by contrast layer, as SVG with a legend, for the HTML report."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain

from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.result import Curve, Interval, SearchResult

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 860, 300, 56, 34, 12, 12
"""Size and margins of a chart, in SVG units."""
DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 5")
"""SVG dash patterns of the lines, one for each α, so that they differ without colour;"""
DASH_NAMES = ("solid", "long dashes", "short dashes", "dash and dot", "dots")
"""their names for the legend."""


@dataclass(frozen=True)
class _Axes:
    """The scales of a chart, from layers and metric to SVG units."""

    layers: Sequence[int]
    low: float
    """The metric at the lower edge,"""
    high: float
    """and at the upper edge."""

    @classmethod
    def of(cls, layers: Sequence[int], curve: Curve, others: Sequence[float]) -> "_Axes":
        """Axes that show all bands of `curve`, and the values `others`, with a margin."""
        ends = [end for row in curve.settings for value in row for end in value[1:]] + list(curve.baseline[1:])
        ends += others
        low, high = min(ends), max(ends)
        margin = 0.04 * (high - low) or 0.1
        return cls(layers, low - margin, high + margin)

    def x(self, layer: float) -> float:
        """The horizontal position of a layer."""
        span = max(self.layers[-1] - self.layers[0], 1)
        return LEFT + (WIDTH - LEFT - RIGHT) * (layer - self.layers[0]) / span

    def y(self, value: float) -> float:
        """The vertical position of a value of the metric."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)

    def points(self, values: Sequence[float]) -> list[tuple[float, float]]:
        """The positions of a line with one value for each layer."""
        return [(self.x(layer), self.y(value)) for layer, value in zip(self.layers, values, strict=True)]


def metric_chart(result: SearchResult, metric: Metric, curve: Curve, caption: str) -> str:
    """The chart of one metric by layer: a line with its band for every α, the baseline across, and in grey and black
    other strengths and the best lane that chooses its layer.

    `caption` describes the chart to screen readers.
    """
    layers, alphas, chosen = result.layers, result.asked.alphas, result.chosen.layer
    best = next((one for one in result.lanes if result.dynamic and one.lane == result.dynamic.lane), None)
    level = [best.values[metric].mean] * len(layers) if best else []
    strengths = {beta: [value.mean for value in values] for beta, values in result.by_strength(metric).items()}
    axes = _Axes.of(layers, curve, [*level, *chain(*strengths.values())])
    lines = [_line(axes, [row[n] for row in curve.settings], n, len(alphas)) for n in range(len(alphas))]
    legend = "; ".join(f"α = {alpha:g} {DASH_NAMES[n % len(DASHES)]}" for n, alpha in enumerate(alphas))
    lines += [_beside(axes, values, "var(--mute)", 1 + n % 4) for n, values in enumerate(strengths.values())]
    lines += [_beside(axes, level, "var(--ink)", 0)] if best else []
    legend += "".join(f"; grey: β = {beta:g}, {DASH_NAMES[1 + n % 4]}" for n, beta in enumerate(strengths))
    legend += f"; black: {best.lane}" if best else ""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(caption)}">'
        f"{_ticks(axes)}{_chosen_layer(axes, chosen)}{_baseline(axes, curve.baseline)}{''.join(lines)}</svg>"
        f'<p class="sub">{escape(legend)}; blue: baseline; dotted: the chosen j*</p>'
    )


def _ticks(axes: _Axes) -> str:
    """Grid lines with their values, and the numbers of the layers."""
    parts = []
    for n in range(5):
        value = axes.low + (axes.high - axes.low) * n / 4
        y = axes.y(value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>'
        )
    for layer in axes.layers[:: max(1, len(axes.layers) // 15)]:
        parts.append(f'<text x="{axes.x(layer):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{layer}</text>')
    return "".join(parts)


def _chosen_layer(axes: _Axes, layer: int) -> str:
    x = axes.x(layer)
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
        'stroke="var(--ink)" stroke-dasharray="2 3"/>'
    )


def _baseline(axes: _Axes, baseline: Interval) -> str:
    mean, low, high = axes.y(baseline.mean), axes.y(baseline.low), axes.y(baseline.high)
    return (
        f'<rect x="{LEFT}" width="{WIDTH - LEFT - RIGHT}" y="{high:.1f}" height="{max(low - high, 0):.1f}" '
        'fill="var(--base)" opacity="0.1"/>'
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{mean:.1f}" y2="{mean:.1f}" stroke="var(--base)" '
        'stroke-width="2"/>'
    )


def _line(axes: _Axes, values: Sequence[Interval], n: int, n_alphas: int) -> str:
    """The line and band of the `n`-th α; `values` has one interval for each layer."""
    upper = axes.points([value.high for value in values])
    lower = axes.points([value.low for value in values])
    opacity = 1 - 0.6 * n / max(n_alphas - 1, 1)
    return (
        f'<polygon points="{_points([*upper, *reversed(lower)])}" fill="var(--dola)" opacity="0.06"/>'
        f'<polyline points="{_points(axes.points([value.mean for value in values]))}" fill="none" '
        f'stroke="var(--dola)" stroke-width="2" opacity="{opacity:.2f}" '
        f'stroke-dasharray="{DASHES[n % len(DASHES)]}"/>'
    )


def _beside(axes: _Axes, values: Sequence[float], colour: str, dash: int) -> str:
    """A line without a band."""
    return (
        f'<polyline points="{_points(axes.points(values))}" fill="none" stroke="{colour}" stroke-width="1.5" '
        f'stroke-dasharray="{DASHES[dash]}"/>'
    )


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
