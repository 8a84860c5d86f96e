"""What all charts share: layout, captions, marks, labels and numbers."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from app.language import Language
from app.render.inspection import Inspection
from app.ui.palette import LIGHT, SCALE, SIDES
from dola_core.display import LANE_MARKS, cut
from dola_core.lanes import Lane, PenaltyPosition
from dola_core.trace.schema import Trace
from dola_core.trace.token_text import token

Figure = dict[str, Any]
Card = dict[str, Any]
HEIGHT = 250
"""Pixels of a chart beside others, its key included."""
KEY_HEIGHT = 20
"""Pixels of a key of one row, which stands above the figure."""
WIDE_KEY = 3
"""Entries of a key up to which it has one row; the browser keeps two for more."""
DASHES = ("solid", "dash", "dashdot", "longdash")
"""The line styles of the lanes."""
SYMBOLS = ("circle", "diamond", "triangle-up", "square")
"""The same shapes as Plotly calls them."""
COLOURSCALE = [[n / (len(SCALE) - 1), colour] for n, colour in enumerate(SCALE)]
"""From pale to deep: far from the final layer, or undecided, to the same, or decided."""
LONGEST = 14
"""Characters of a token beside or above a chart."""


class Entry(NamedTuple):
    """One entry of a chart's key."""

    text: str
    """As it is read; the browser escapes it."""
    colour: str
    dash: str = ""
    """The style of its line; empty for a bar."""


def card(
    words: Language,
    title: str,
    sub: str,
    *,
    alt: str,
    figure: Figure,
    more: Iterable[str] = (),
    hints: Iterable[str] = (),
    key: Iterable[Entry] = (),
    scale: dict[str, Any] | None = None,
    seen: bool = True,
) -> Card:
    """A chart for `Chart`.

    `sub` is one short line: quantity, unit and range. `more` explains the rest, a sentence each, and `hints` says what
    clicks and keys do; both are shown on demand. `alt` says in words what is seen. `key` names the colours of lines and
    bars, `scale` those of a heatmap. Numbers of a pass that has not `seen` the prompt's image are said to be so.
    """
    if not seen:
        sub, alt = (words("chart.without_image", text=text) for text in (sub, alt))
    return {
        "title": title, "sub": sub, "more": [text for text in more if text], "hints": list(hints),
        "about": words("chart.about"), "save": words("chart.save"), "key": [entry._asdict() for entry in key],
        "scale": scale, "alt": alt, "figure": figure,
    }  # fmt: skip


def figure(data: list[dict[str, Any]], *, height: int, **layout: Any) -> Figure:
    """A figure in the page's look. `layout` overrides its parts; `xaxis` and `yaxis` are merged with the defaults."""
    axis = {
        "gridcolor": LIGHT["line"], "zeroline": False, "linecolor": LIGHT["line"], "fixedrange": True,
        "tickfont": {"size": 11}, "ticklabeloverflow": "allow",
    }  # fmt: skip
    whole: dict[str, Any] = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": LIGHT["ink"], "family": "system-ui, sans-serif", "size": 12},
        "margin": {"l": 46, "r": 14, "t": 12, "b": 40},
        "showlegend": False,
        "height": height,
        "hoverlabel": {"bgcolor": LIGHT["card"], "font": {"color": LIGHT["ink"]}, "bordercolor": LIGHT["line"]},
        **layout,
    }
    for name in ("xaxis", "yaxis"):
        whole[name] = axis | layout.get(name, {})
    return {"data": data, "layout": whole}


LEGEND = {
    "orientation": "h", "yref": "container", "y": 1.0, "yanchor": "top", "x": 0, "itemclick": False,
    "itemdoubleclick": False,
}  # fmt: skip


def line_at(
    axis: str, value: float, *, text: str = "", colour: str = LIGHT["ink"], inside: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """A dotted line across the chart at `value` of axis "x" or "y", as layout parts.

    `text` stands beyond its end, or `inside` beside it where a legend of many rows may come down to the chart.
    """
    other = "y" if axis == "x" else "x"
    shape = {
        "type": "line", f"{axis}0": value, f"{axis}1": value, f"{other}0": 0, f"{other}1": 1,
        f"{other}ref": "paper", "line": {"color": colour, "dash": "dot", "width": 1.5},
    }  # fmt: skip
    annotation = {
        axis: value, other: 1.0, f"{other}ref": "paper", "showarrow": False, "text": text,
        "yanchor": "top" if inside else "bottom", "xanchor": "left" if inside else "center",
        "font": {"size": 11, "color": LIGHT["mute"]},
    }  # fmt: skip
    return {"shapes": [shape], "annotations": [annotation] if text else []}


def layer_axis(words: Language, n_layers: int, *, title: str = "") -> dict[str, Any]:
    """The axis of layers 1..N, with few enough ticks for a phone."""
    title = title or words("chart.layer")
    step = next(step for step in (5, 10, 20, 50, 100, n_layers) if n_layers <= 8 * step or step == n_layers)
    return {
        "title": {"text": title, "standoff": 2, "font": {"size": 11}}, "dtick": step, "tick0": 0, "showgrid": False,
        "range": [0.5, n_layers + 0.5],
    }  # fmt: skip


def label(trace: Trace, token_id: int) -> str:
    """A token as text in a chart, escaped."""
    return escaped(token(trace, token_id))


def escaped(text: str) -> str:
    """A text for a label: Plotly interprets some HTML there, and a token or a lane's name in a file may be any text."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def short(text: str, most: int = LONGEST) -> str:
    """A token cut to fit. Cut before it is escaped, for a cut entity would show its letters."""
    return cut(text, most)


def colour(lane: int) -> str:
    """The colour of a lane, by its place."""
    return LIGHT[SIDES[lane]]


def marked(trace: Trace, token_id: int, chosen: tuple[int, ...]) -> str:
    """A short token as a label, preceded by the mark of every lane whose choice it is."""
    name = escaped(short(token(trace, token_id)))
    marks = "".join(mark for mark, choice in zip(LANE_MARKS, chosen, strict=False) if choice == token_id)
    return f"{marks} {name}" if marks else name


def small_number(log: float) -> str:
    """The number with the natural logarithm `log`, for numbers up to 1 that may be far below it, such as 3.4·10⁻²⁰."""
    return "0" if log == -math.inf else f"{math.exp(log):.2g}" if log >= math.log(9.95e-4) else _scientific(log)


def times(log: float) -> str:
    """The factor with the natural logarithm `log`, at least 1: 1.4, 34,115 or 3.4·10⁷."""
    factor = math.exp(min(log, 99.0))
    return f"{factor:.1f}" if factor < 9.95 else f"{factor:,.0f}" if factor < 1e5 else _scientific(log)


def _scientific(log: float) -> str:
    power = log / math.log(10)
    exponent = math.floor(power + 1 - math.log10(9.95))  # from 9.95 up a mantissa would be written as 10.0
    return f"{10 ** (power - exponent):.1f}·{power_of_ten(exponent)}"


def power_of_ten(exponent: int) -> str:
    """A power of ten as it is read, such as 10⁻⁴; 1 for the power 0."""
    return "10" + str(exponent).translate(_RAISED) if exponent else "1"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def norm(inspection: Inspection, lane: int) -> str:
    """How early layers were read for a lane: with or without the final norm."""
    normed = inspection.lane(lane).reading(inspection.trace.decoding).early_norm
    return inspection.words("chart.normed" if normed else "chart.raw")


def is_penalised(inspection: Inspection, lane: int, position: PenaltyPosition) -> bool:
    """Whether a lane has a repetition penalty at `position` relative to the contrast."""
    trace, now = inspection.trace, inspection.lane(lane)
    if position == "before":
        return trace.readings[trace.reading_of(now)].penalty != 1.0
    config = now.decoding(trace.decoding)
    return bool(now.reads) and config.repetition_penalty != 1.0 and config.penalty_position == "after"


def strength(lane: Lane) -> str:
    """α of a lane, and β where it is not 1, as a chart's caption has them."""
    beta = getattr(lane, "beta", 1.0)
    return f"α = {lane.least_share:g}" + ("" if beta == 1 else f", β = {beta:g}")
