"""The heatmaps, one per lane: every layer at every step, and the layer that the lane contrasts with."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np

from app.render.figures.shades import scale, shade
from app.render.figures.style import (
    COLOURSCALE,
    Card,
    Figure,
    card,
    escaped,
    figure,
    is_penalised,
    label,
    line_at,
    norm,
    short,
)
from app.render.inspection import Inspection
from app.render.view_state import HeatQuantity
from app.ui.palette import LIGHT
from dola_core.display import format_number
from dola_core.trace.step import Step
from dola_core.trace.token_text import token

WINDOW, NARROW_WINDOW = 8, 4
"""Steps that are shown in large, each cell with its token, on a wide screen and on a phone."""
LABEL = 8
"""Characters of a token in a cell."""
ROW, LOW_ROW, MANY = 20, 15, 40
"""Pixels of a layer's row, and of one in a model of more than `MANY` layers."""
TOP, GAP, OVERVIEW, BOTTOM = 18, 46, 84, 24
"""Pixels above the cells, between them and the overview, of the overview, and below."""


def heat_card(inspection: Inspection, lane: int) -> Card:
    """Every layer at the steps of `lane` around the one looked at.

    All lanes' heatmaps show the same steps on the same scale, so only the first has a caption.
    """
    view, words, first = inspection.view, inspection.words, lane == 0
    key = _key(view.heat)
    return card(
        words,
        words("chart.heat", lane=inspection.names[lane]) if first else inspection.names[lane],
        words(f"chart.heat_{key}") if first else "",
        alt=_spoken(inspection, lane),
        figure=_heat(inspection, lane),
        more=_notes(inspection) if first else (),
        hints=[words("chart.heat_click")] if first else (),
        scale=scale(view.heat, key, words) if first else None,
        seen=inspection.lane(lane).image,
    )


def _notes(inspection: Inspection) -> Iterator[str]:
    """What stands in the cells and how the layers were read."""
    words, contrasting = inspection.words, [_contrasting(inspection, lane) for lane in inspection.shown]
    yield words("chart.heat_cell")
    if any(inspection.lane(lane).chooses_layer for lane in contrasting):
        yield words("chart.heat_chosen_layer")
    yield from dict.fromkeys(norm(inspection, lane) for lane in contrasting)
    if any(is_penalised(inspection, lane, "before") for lane in contrasting):
        yield words("chart.last_penalised")


def _spoken(inspection: Inspection, lane: int) -> str:
    """The window, and the numbers of the step looked at or nearest to it, in a few layers."""
    trace, view, words, steps = inspection.trace, inspection.view, inspection.words, inspection.lane_steps[lane]
    if not steps:
        return words("chart.heat_alt_empty", lane=inspection.names[lane])
    window, n = _window(inspection, WINDOW), trace.model.n_layers
    shown = [index for index in window if index < len(steps)] or [len(steps) - 1]
    step = steps[min(max(view.index, shown[0]), shown[-1])]
    readings = _readings(step, lane, view.heat)
    layer = inspection.contrast_layer(_contrasting(inspection, lane), step)
    told = [
        words("chart.heat_alt_layer", layer=at, value=readings[at - 1], token=token(trace, int(step.top_ids[at - 1])))
        for at in dict.fromkeys([1, layer or n, n])
    ]
    return words(
        "chart.heat_alt", what=words(f"option.{_key(view.heat)}"), lane=inspection.names[lane], n=n,
        first=shown[0] + 1, last=shown[-1] + 1, steps=len(steps), step=step.index + 1,
        told=words("chart.then").join(told),
    )  # fmt: skip


def _contrasting(inspection: Inspection, lane: int) -> int:
    """The lane whose contrast layer a lane's heatmap shows: its own, or for a plain lane that of the other charts."""
    return lane if inspection.lane(lane).reads else inspection.focus


def _key(quantity: HeatQuantity) -> str:
    """What the language files call a quantity."""
    return "chosen" if quantity == "p(chosen)" else quantity


def _longest(inspection: Inspection) -> int:
    return max(map(len, inspection.lane_steps))


def _window(inspection: Inspection, size: int) -> range:
    """The steps shown in large; the same for both lanes whatever their lengths, so that they scroll together."""
    start = min(max(0, inspection.view.index - size // 2), max(0, _longest(inspection) - size))
    return range(start, start + size)


def _colours(inspection: Inspection, step: Step, lane: int) -> np.ndarray:
    """`[N]`: where each layer of a step stands on the colour scale, 0 (pale) to 1 (deep)."""
    return shade(inspection.view.heat, _numbers(step, lane, inspection.view.heat))


def _numbers(step: Step, lane: int, quantity: HeatQuantity) -> np.ndarray:
    """`[N]`: the quantity by layer."""
    match quantity:
        case "JSD":
            return step.jsd
        case "entropy":
            return step.layer_entropy
        case "p(chosen)":
            return np.exp(step.log_q_table[step.index_of(step.choices[lane].id)].astype(np.float64))
        case "rank":
            return step.rank_table[lane]


def _readings(step: Step, lane: int, quantity: HeatQuantity) -> list[str]:
    """`[N]`: the same as numbers to read."""
    numbers = _numbers(step, lane, quantity).tolist()
    return [f"{value:,}" if quantity == "rank" else format_number(float(value)) for value in numbers]


def _heat(inspection: Inspection, lane: int) -> Figure:
    """The steps of the window with their tokens, and below them, small, all steps of the text."""
    trace, steps, longest = inspection.trace, inspection.lane_steps[lane], _longest(inspection)
    window, n = _window(inspection, WINDOW), trace.model.n_layers
    shown = [steps[index] for index in window if index < len(steps)]
    taken = [token(trace, step.taken[step.lanes.index(lane)]) for step in shown]
    reads = inspection.lane(_contrasting(inspection, lane)).reads
    # Layer 0, the embeddings, has a name in the margin but no cells.
    layers = {"range": [-0.5 if 0 in reads else 0.5, n + 0.5], "showgrid": False}
    cells = (ROW if n <= MANY else LOW_ROW) * n
    whole = cells + GAP + OVERVIEW
    narrow = _window(inspection, NARROW_WINDOW)
    return figure(
        [
            *([_cells(inspection, lane, shown)] if shown else []),
            *([_overview(inspection, lane)] if steps else []),
            *_chosen_layers(inspection, lane, shown),
        ],
        height=TOP + whole + BOTTOM,
        margin={"l": 58, "r": 8, "t": TOP, "b": BOTTOM},
        xaxis={
            "range": _range(window),
            "tickvals": [step.index + 1 for step in shown],
            "ticktext": [
                f"{step.index + 1}<br>{escaped(short(name, LABEL))}" for step, name in zip(shown, taken, strict=True)
            ],
            "tickangle": 0,
            "showgrid": False,
        },
        yaxis=layers | {"domain": [1 - cells / whole, 1], "dtick": 1},
        xaxis2={
            "range": [0.5, max(longest, WINDOW) + 0.5],
            "dtick": max(1, -(-longest // 8)),
            "tick0": 1,
            "tickfont": {"size": 11},
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "anchor": "y2",
        },
        yaxis2=layers
        | {
            "domain": [0, OVERVIEW / whole],
            "tickvals": [1, n],
            "tickfont": {"size": 11},
            "fixedrange": True,
            "zeroline": False,
        },
        meta={"narrow": {"xaxis": {"range": _range(narrow)}, **_marks(inspection, lane, narrow)}},
        **_marks(inspection, lane, window),
    )


def _range(window: range) -> list[float]:
    return [window[0] + 0.5, window[-1] + 1.5]


def _overview(inspection: Inspection, lane: int) -> dict[str, Any]:
    """Colours of all steps of a lane's text, without tokens; as bytes, so that a long text is a small message."""
    words, n = inspection.words, inspection.trace.model.n_layers
    columns = [_colours(inspection, step, lane) for step in inspection.lane_steps[lane]]
    z = np.round(255 * np.array(columns).reshape(-1, n).T).astype(np.uint8)
    return {
        "type": "heatmap",
        "xaxis": "x2",
        "yaxis": "y2",
        "x0": 1,
        "dx": 1,
        "y0": 1,
        "dy": 1,
        "z": {"dtype": "u1", "bdata": base64.b64encode(z.tobytes()).decode(), "shape": f"{z.shape[0]}, {z.shape[1]}"},
        "zmin": 0,
        "zmax": 255,
        "colorscale": COLOURSCALE,
        "showscale": False,
        "hovertemplate": f"{words('chart.step')} %{{x}}, {words('chart.layer')} %{{y}}<extra></extra>",
    }


def _cells(inspection: Inspection, lane: int, shown: list[Step]) -> dict[str, Any]:
    """The steps of the window: colours, each layer's first choice as text, and the number when pointed at."""
    trace, words, quantity = inspection.trace, inspection.words, inspection.view.heat
    columns = [_colours(inspection, step, lane).round(3) for step in shown]
    firsts = [[int(i) for i in step.top_ids] for step in shown]
    names = [[label(trace, i) for i in column] for column in firsts]
    cut = [[escaped(short(token(trace, i), LABEL)) for i in column] for column in firsts]
    readings = [_readings(step, lane, quantity) for step in shown]
    return {
        "type": "heatmap",
        "x": [step.index + 1 for step in shown],
        "y": list(range(1, trace.model.n_layers + 1)),
        "z": np.array(columns).T.tolist(),
        "zmin": 0,
        "zmax": 1,
        "colorscale": COLOURSCALE,
        "showscale": False,
        "text": [list(row) for row in zip(*cut, strict=True)],
        "texttemplate": "%{text}",
        "textfont": {"size": 11, "family": "DejaVu Sans Mono, monospace"},
        "customdata": np.array([names, readings]).transpose(2, 1, 0).tolist(),
        "hovertemplate": f"{words('chart.step')} %{{x}}, {words('chart.layer')} %{{y}}: {words('chart.first_choice')} "
        f"%{{customdata[0]}}<br>{words(f'option.{_key(quantity)}')} %{{customdata[1]}}<extra></extra>",
        "xgap": 2,
        "ygap": 1,
    }


def _chosen_layers(inspection: Inspection, lane: int, shown: list[Step]) -> list[dict[str, Any]]:
    """M_t as a step line over the cells and over the overview, if the lane chooses its layer at each step."""
    number = _contrasting(inspection, lane)
    if not inspection.lane(number).chooses_layer:
        return []
    lines = []
    for axis, steps in (("", shown), ("2", inspection.lane_steps[lane])):
        if not steps:
            continue
        layers = [inspection.contrast_layer(number, step) for step in steps]
        first, last = steps[0].index + 1, steps[-1].index + 1
        lines.append(
            {
                "type": "scatter", "mode": "lines", "xaxis": f"x{axis}", "yaxis": f"y{axis}", "hoverinfo": "skip",
                "x": [first - 0.5, *range(first, last + 1), last + 0.5], "y": [layers[0], *layers, layers[-1]],
                "line": {"shape": "hvh", "color": LIGHT["ink"], "width": 1.5 if axis else 2.5}, "name": "M_t",
            }
        )  # fmt: skip
    return lines


def _marks(inspection: Inspection, lane: int, window: range) -> dict[str, Any]:
    """j* named in the margin, its row and the step looked at framed, the fork dashed; below, the window framed."""
    view, fork, contrasting = inspection.view, inspection.forks[lane], inspection.lane(_contrasting(inspection, lane))
    marks: dict[str, Any] = {"shapes": [], "annotations": []}
    for layer in () if contrasting.chooses_layer else contrasting.reads:
        marks["shapes"].append(_frame("y", layer - 0.5, layer + 0.5, other="x domain", width=1))
        name = f"j* = {layer} ▸" if len(contrasting.reads) == 1 else f"{layer} ▸"
        marks["annotations"].append(_in_margin(layer, name))
    for axis, first, last in (("", view.index, view.index), ("2", window[0], window[-1])):
        marks["shapes"].append(_frame(f"x{axis}", first + 0.5, last + 1.5, other=f"y{axis} domain", width=1.5))
    if fork is not None and fork in window:
        line = line_at("x", fork + 0.5, text=inspection.words("chart.part"), colour=LIGHT["mute"])
        line["shapes"][0] |= {"yref": "y domain"}
        line["shapes"][0]["line"]["dash"] = "dash"
        line["annotations"][0]["xanchor"] = "left" if fork == window[0] else "center"
        marks["shapes"] += line["shapes"]
        marks["annotations"] += line["annotations"]
    return marks


def _frame(axis: str, first: float, last: float, *, other: str, width: float) -> dict[str, Any]:
    """A frame around a row or a column of cells: from `first` to `last` on `axis`, and all of the `other`."""
    own, across = axis[0], other[0]
    return {
        "type": "rect", f"{own}ref": axis, f"{own}0": first, f"{own}1": last, f"{across}ref": other, f"{across}0": 0,
        f"{across}1": 1, "line": {"color": LIGHT["ink"], "width": width},
    }  # fmt: skip


def _in_margin(layer: int, name: str) -> dict[str, Any]:
    """The name of a contrast layer in place of its number on the axis.

    It covers the number: an axis with other ticks would be drawn anew, with all its cells.
    """
    return {
        "xref": "paper", "x": 0, "xanchor": "right", "y": layer, "text": name, "showarrow": False, "borderpad": 2,
        "font": {"size": 11, "weight": 700, "color": LIGHT["ink"]}, "bgcolor": LIGHT["card"],
    }  # fmt: skip
