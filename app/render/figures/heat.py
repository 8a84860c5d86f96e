"""The heatmaps, one per lane: every layer at every step."""

import base64
from typing import Any

import numpy as np

from app.render.figures.style import COLOURSCALE, Figure, figure, is_penalised, label, line_at, norm
from app.render.inspection import Inspection
from app.render.view_state import HeatQuantity
from app.ui.palette import LIGHT
from dola_core.contrast import LN_2
from dola_core.display import format_number
from dola_core.trace.step import Step

WINDOW = 8
"""Steps that are shown in large, each cell with its token. More would be slow to draw and too small to read."""
LABEL = 8
"""Characters of a token in a cell."""


def heat_card(inspection: Inspection, lane: int) -> dict[str, Any]:
    """Every layer at the steps of `lane` around the one looked at, for `Chart`.

    Both lanes' heatmaps show the same steps on the same scale.
    """
    trace, view, words = inspection.trace, inspection.view, inspection.words
    quantity = words(f"chart.heat_{_key(view.heat)}", vocabulary=f"{trace.model.vocab_size:,}")
    n, steps, window = trace.model.n_layers, len(inspection.lane_steps[lane]), _window(inspection)
    sub = words("chart.heat_sub", what=quantity, norm=norm(trace, words))
    if is_penalised(trace, "before"):
        sub += words("chart.last_penalised")
    first, last = min(window[0] + 1, steps), min(window[-1] + 1, steps)
    return {
        "title": words("chart.heat", lane=trace.lanes[lane].name),
        "sub": sub,
        "alt": words("chart.heat_alt", what=quantity, n=n, first=first, last=last, steps=steps),
        "figure": _heat(inspection, lane, window),
    }


def _key(quantity: HeatQuantity) -> str:
    """What the language files call a quantity."""
    return "chosen" if quantity == "p(chosen)" else quantity


def _longest(inspection: Inspection) -> int:
    return max(map(len, inspection.lane_steps))


def _window(inspection: Inspection) -> range:
    """The steps shown in large; the same for both lanes whatever their lengths, so that they scroll together."""
    start = min(max(0, inspection.view.index - WINDOW // 2), max(0, _longest(inspection) - WINDOW))
    return range(start, start + WINDOW)


def _colours(inspection: Inspection, step: Step, lane: int) -> np.ndarray:
    """`[N]`: where each layer of a step stands on the colour scale, 0 (pale) to 1 (deep: the layer has decided)."""
    vocab_size = inspection.trace.model.vocab_size
    match inspection.view.heat:
        case "JSD":
            values = 1 - step.jsd.astype(np.float64) / LN_2
        case "entropy":
            values = 1 - step.layer_entropy.astype(np.float64) / np.log(vocab_size)
        case "p(chosen)":
            values = np.exp(_log_q_of_choice(step, lane).astype(np.float64))
        case "rank":
            values = 1 - np.log(step.rank_table[lane].astype(np.float64)) / np.log(vocab_size)
    return np.clip(values, 0, 1)


def _readings(step: Step, lane: int, quantity: HeatQuantity) -> list[str]:
    """`[N]`: the same as numbers to read."""
    match quantity:
        case "JSD":
            values = step.jsd
        case "entropy":
            values = step.layer_entropy
        case "p(chosen)":
            values = np.exp(_log_q_of_choice(step, lane))
        case "rank":
            return [f"{rank:,}" for rank in step.rank_table[lane].tolist()]
    return [format_number(float(value)) for value in values]


def _log_q_of_choice(step: Step, lane: int) -> np.ndarray:
    return step.log_q_table[step.index_of(step.choices[lane].id)]


def _heat(inspection: Inspection, lane: int, window: range) -> Figure:
    """The steps of the window with their tokens, and below them, small, all steps of the text."""
    trace, steps, longest = inspection.trace, inspection.lane_steps[lane], _longest(inspection)
    shown = [steps[index] for index in window if index < len(steps)]
    taken = [label(trace, step.taken[step.lanes.index(lane)]) for step in shown]
    layers = {"range": [0.5, trace.model.n_layers + 0.5], "showgrid": False}
    return figure(
        [
            *([_cells(inspection, lane, shown)] if shown else []),
            *([_overview(inspection, lane)] if steps else []),
        ],
        height=640,
        margin={"l": 40, "r": 8, "t": 18, "b": 26},
        xaxis={
            "range": [window[0] + 0.5, window[-1] + 1.5],
            "tickvals": [step.index + 1 for step in shown],
            "ticktext": [f"{step.index + 1}<br>{_short(name)}" for step, name in zip(shown, taken, strict=True)],
            "showgrid": False,
        },
        yaxis=layers
        | {"domain": [0.23, 1], "dtick": 2, "title": {"text": inspection.words("chart.layer"), "standoff": 4}},
        xaxis2={
            "range": [0.5, max(longest, WINDOW) + 0.5],
            "dtick": max(1, longest // 8),
            "tick0": 1,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "anchor": "y2",
        },
        yaxis2=layers
        | {"domain": [0, 0.14], "showticklabels": False, "ticks": "", "fixedrange": True, "zeroline": False},
        **_marks(inspection, window),
    )


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
    names = [[label(trace, int(i)) for i in step.top_ids] for step in shown]
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
        "text": [[_short(name) for name in row] for row in zip(*names, strict=True)],
        "texttemplate": "%{text}",
        "textfont": {"size": 9.5, "family": "DejaVu Sans Mono, monospace"},
        "customdata": np.array([names, readings]).transpose(2, 1, 0).tolist(),
        "hovertemplate": f"{words('chart.step')} %{{x}}, {words('chart.layer')} %{{y}}: {words('chart.first_choice')} "
        f"%{{customdata[0]}}<br>{words(f'option.{_key(quantity)}')} %{{customdata[1]}}<extra></extra>",
        "xgap": 2,
        "ygap": 1,
    }


def _marks(inspection: Inspection, window: range) -> dict[str, Any]:
    """j* as a horizontal line, the step looked at framed, the fork as a dashed line; below, the window framed."""
    view, fork = inspection.view, inspection.trace.fork
    marks = line_at("y", view.layer)
    marks["shapes"][0]["line"]["width"] = 2
    for axis, first, last in (("", view.index, view.index), ("2", window[0], window[-1])):
        frame = {
            "type": "rect", "xref": f"x{axis}", "x0": first + 0.5, "x1": last + 1.5,
            "yref": f"y{axis} domain", "y0": 0, "y1": 1, "line": {"color": LIGHT["ink"], "width": 1.5},
        }  # fmt: skip
        marks["shapes"].append(frame)
    if fork is not None and fork in window:
        line = line_at("x", fork + 0.5, text=inspection.words("chart.part"), colour=LIGHT["mute"])
        line["shapes"][0] |= {"yref": "y domain"}
        line["shapes"][0]["line"]["dash"] = "dash"
        marks["shapes"] += line["shapes"]
        marks["annotations"] += line["annotations"]
    return marks


def _short(name: str) -> str:
    """A label cut to fit a cell. Names with an entity such as `&lt;` stay whole: cut, it would show its letters."""
    if len(name) <= LABEL or "&" in name:
        return name
    return name[: LABEL - 1] + "…"
