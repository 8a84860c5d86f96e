"""What all charts share: layout, marks, labels, and the words for how early layers were read."""

from typing import Any

from app.language import Language
from app.render.token_text import token
from app.ui.palette import LIGHT, SCALE
from dola_core.lanes import PenaltyPosition
from dola_core.trace.schema import Trace

Figure = dict[str, Any]
MARKS = ("●", "◆")
"""The shapes that mark the baseline's and DoLa's choice, beside their colours."""
COLOURSCALE = [[n / (len(SCALE) - 1), colour] for n, colour in enumerate(SCALE)]
"""From pale, where a layer has decided little, to deep, where it has decided all."""


def figure(data: list[dict[str, Any]], *, height: int, **layout: Any) -> Figure:
    """A figure in the page's look. `layout` overrides its parts; `xaxis` and `yaxis` are merged with the defaults."""
    axis = {"gridcolor": LIGHT["line"], "zeroline": False, "linecolor": LIGHT["line"], "fixedrange": True}
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


def line_at(axis: str, value: float, *, text: str = "", colour: str = LIGHT["ink"]) -> dict[str, list[dict[str, Any]]]:
    """A dotted line across the chart at `value` of axis "x" or "y", with `text` at its end, as layout parts."""
    other = "y" if axis == "x" else "x"
    shape = {
        "type": "line", f"{axis}0": value, f"{axis}1": value, f"{other}0": 0, f"{other}1": 1,
        f"{other}ref": "paper", "line": {"color": colour, "dash": "dot", "width": 1.5},
    }  # fmt: skip
    annotation = {
        axis: value, other: 1.0, f"{other}ref": "paper", "showarrow": False, "text": text,
        "yanchor": "bottom", "font": {"size": 11, "color": LIGHT["mute"]},
    }  # fmt: skip
    return {"shapes": [shape], "annotations": [annotation] if text else []}


def label(trace: Trace, token_id: int) -> str:
    """A token as text in a chart, escaped: Plotly interprets some HTML in labels, and a token may be any text."""
    return token(trace, token_id).replace("&", "&amp;").replace("<", "&lt;")


def marked(trace: Trace, token_id: int, chosen: tuple[int, int]) -> str:
    """A token as a label, preceded by the mark of every lane whose choice it is."""
    marks = "".join(mark for mark, choice in zip(MARKS, chosen, strict=True) if choice == token_id)
    return f"{marks} {label(trace, token_id)}" if marks else label(trace, token_id)


def norm(trace: Trace, words: Language) -> str:
    """How early layers were read: with or without the final norm."""
    return words("chart.normed" if trace.decoding.early_norm else "chart.raw")


def is_penalised(trace: Trace, position: PenaltyPosition) -> bool:
    """Whether there is a repetition penalty, applied at `position` relative to the contrast."""
    return trace.decoding.repetition_penalty != 1.0 and trace.decoding.penalty_position == position
