"""What all charts share: layout, marks, and the words that say how the numbers were read."""

from typing import Any

from app.language import Language
from app.render.token_text import token
from app.ui.palette import LIGHT, SCALE
from dola_core.lanes import PenaltyPosition
from dola_core.trace.schema import Trace

Figure = dict[str, Any]
MARKS = ("●", "◆")
"""What marks the baseline's and DoLa's choice, beside their colours."""
COLOURSCALE = [[place / (len(SCALE) - 1), colour] for place, colour in enumerate(SCALE)]
"""From the paper's colour, where little is decided, to the deepest, where all is."""


def figure(data: list[dict[str, Any]], *, height: int, **layout: Any) -> Figure:
    """A figure in the page's look; `layout` adds to it, axes part by part."""
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


def line_at(axis: str, place: float, *, text: str = "", colour: str = LIGHT["ink"]) -> dict[str, list[dict[str, Any]]]:
    """A dotted line across the chart at `place` of axis `x` or `y`, with a word at its end."""
    other = "y" if axis == "x" else "x"
    shape = {
        "type": "line", f"{axis}0": place, f"{axis}1": place, f"{other}0": 0, f"{other}1": 1,
        f"{other}ref": "paper", "line": {"color": colour, "dash": "dot", "width": 1.5},
    }  # fmt: skip
    word = {
        axis: place, other: 1.0, f"{other}ref": "paper", "showarrow": False, "text": text,
        "yanchor": "bottom", "font": {"size": 11, "color": LIGHT["mute"]},
    }  # fmt: skip
    return {"shapes": [shape], "annotations": [word] if text else []}


def label(trace: Trace, token_id: int) -> str:
    """A token as text in a chart: Plotly reads a little HTML in labels, and the token is anybody's text."""
    return token(trace, token_id).replace("&", "&amp;").replace("<", "&lt;")


def marked(trace: Trace, token_id: int, chosen: tuple[int, int]) -> str:
    """A token as a label, with the mark of every lane that chooses it."""
    marks = "".join(mark for mark, choice in zip(MARKS, chosen, strict=True) if choice == token_id)
    return f"{marks} {label(trace, token_id)}" if marks else label(trace, token_id)


def norm(trace: Trace, words: Language) -> str:
    """How early layers were read."""
    return words("chart.normed" if trace.decoding.early_norm else "chart.raw")


def is_penalised(trace: Trace, position: PenaltyPosition) -> bool:
    """Whether there is a repetition penalty, and in this place."""
    return trace.decoding.repetition_penalty != 1.0 and trace.decoding.penalty_position == position
