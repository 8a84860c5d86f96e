"""The heatmaps: every layer at every step, one for each lane."""

import base64
from typing import Any

import numpy as np

from app.render.figures.style import COLOURSCALE, Figure, figure, is_penalised, label, line_at, norm
from app.render.token_text import number
from app.render.view_state import View
from app.ui.palette import LIGHT
from dola_core.contrast import LN_2
from dola_core.trace.schema import Step, Trace

WINDOW = 8
"""Steps that the heatmap shows at once, each cell with its token; more would be drawn slowly and read by nobody."""
LABEL = 8
"""Characters of a token in a cell of the heatmap."""


def heat_card(trace: Trace, lane: int, view: View) -> dict[str, Any]:
    """Every layer at the steps around the one looked at, for one lane; both lanes show the same steps on one scale."""
    words, n = view.words, trace.model.n_layers
    key = {"p(chosen)": "chosen"}.get(view.heat, view.heat)
    what = words(f"chart.heat_{key}", vocabulary=f"{trace.model.vocab_size:,}")
    steps = trace.lane_steps(lane)
    window = _window(view.index, max(len(trace.lane_steps(n)) for n in range(len(trace.lanes))))
    sub = words("chart.heat_sub", what=what, norm=norm(trace, words))
    if is_penalised(trace, "before"):
        sub += words("chart.last_penalised")
    first, last = min(window[0] + 1, len(steps)), min(window[-1] + 1, len(steps))
    return {
        "title": words("chart.heat", lane=trace.lanes[lane].name),
        "sub": sub,
        "alt": words("chart.heat_alt", what=what, n=n, first=first, last=last, steps=len(steps)),
        "figure": _heat(trace, lane, view, window),
    }


def _window(index: int, steps: int) -> range:
    """The steps shown around `index`: the same for lanes of any length, so that they scroll together."""
    start = min(max(0, index - WINDOW // 2), max(0, steps - WINDOW))
    return range(start, start + WINDOW)


def _quantity(trace: Trace, step: Step, lane: int, view: View) -> np.ndarray:
    """`[N]`: the heatmap's colours of one step, from 0 (paper) to 1 (deep: the layer has decided)."""
    match view.heat:
        case "JSD":
            return 1 - step.jsd.astype(np.float64) / LN_2
        case "entropy":
            return 1 - step.layer_entropy.astype(np.float64) / np.log(trace.model.vocab_size)
        case "p(chosen)":
            return np.exp(step.log_q_table[step.place(step.choices[lane].id)].astype(np.float64))
        case "rank":
            return 1 - np.log(step.rank_table[lane].astype(np.float64)) / np.log(trace.model.vocab_size)


def _reading(step: Step, lane: int, view: View) -> list[str]:
    """`[N]`: the same as numbers to read."""
    if view.heat == "rank":
        return [f"{rank:,}" for rank in step.rank_table[lane].tolist()]
    values = {
        "JSD": step.jsd,
        "entropy": step.layer_entropy,
        "p(chosen)": np.exp(step.log_q_table[step.place(step.choices[lane].id)]),
    }[view.heat]
    return [number(float(value)) for value in values]


def _heat(trace: Trace, lane: int, view: View, window: range) -> Figure:
    """The steps of the window with their tokens, and below them, small, all steps of the text."""
    steps = trace.lane_steps(lane)
    shown = [steps[index] for index in window if index < len(steps)]
    taken = [label(trace, step.taken[step.lanes.index(lane)]) for step in shown]
    longest = max(len(trace.lane_steps(n)) for n in range(len(trace.lanes)))
    layers = {"range": [0.5, trace.model.n_layers + 0.5], "showgrid": False}
    return figure(
        [*([_cells(trace, lane, view, shown)] if shown else []), *([_overview(trace, lane, view)] if steps else [])],
        height=640,
        margin={"l": 40, "r": 8, "t": 18, "b": 26},
        xaxis={
            "range": [window[0] + 0.5, window[-1] + 1.5],
            "tickvals": [step.index + 1 for step in shown],
            "ticktext": [f"{step.index + 1}<br>{_short(name)}" for step, name in zip(shown, taken, strict=True)],
            "showgrid": False,
        },
        yaxis=layers | {"domain": [0.23, 1], "dtick": 2, "title": {"text": view.words("chart.layer"), "standoff": 4}},
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
        **_marks(trace, view, window),
    )


def _overview(trace: Trace, lane: int, view: View) -> dict[str, Any]:
    """All steps of a lane's text as bytes, so that a long text is a small message; which layer is which, not what."""
    columns = [np.clip(_quantity(trace, step, lane, view), 0, 1) for step in trace.lane_steps(lane)]
    z = np.round(255 * np.array(columns).reshape(-1, trace.model.n_layers).T).astype(np.uint8)
    words = view.words
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


def _cells(trace: Trace, lane: int, view: View, shown: list[Step]) -> dict[str, Any]:
    columns = [np.clip(_quantity(trace, step, lane, view), 0, 1).round(3) for step in shown]
    names = [[label(trace, int(i)) for i in step.top_ids] for step in shown]
    readings = [_reading(step, lane, view) for step in shown]
    words, option = view.words, {"p(chosen)": "chosen"}.get(view.heat, view.heat)
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
        f"%{{customdata[0]}}<br>{words(f'option.{option}')} %{{customdata[1]}}<extra></extra>",
        "xgap": 2,
        "ygap": 1,
    }


def _marks(trace: Trace, view: View, window: range) -> dict[str, Any]:
    """j* as a line across, the step looked at as a frame, the fork as a dashed line; below, the window as a frame."""
    marks = line_at("y", view.layer)
    marks["shapes"][0]["line"]["width"] = 2
    for axis, first, last in (("", view.index, view.index), ("2", window[0], window[-1])):
        frame = {
            "type": "rect", "xref": f"x{axis}", "x0": first + 0.5, "x1": last + 1.5,
            "yref": f"y{axis} domain", "y0": 0, "y1": 1, "line": {"color": LIGHT["ink"], "width": 1.5},
        }  # fmt: skip
        marks["shapes"].append(frame)
    if trace.fork in window:
        fork = line_at("x", trace.fork + 0.5, text=view.words("chart.part"), colour=LIGHT["mute"])
        fork["shapes"][0] |= {"yref": "y domain"}
        fork["shapes"][0]["line"]["dash"] = "dash"
        marks["shapes"] += fork["shapes"]
        marks["annotations"] += fork["annotations"]
    return marks


def _short(name: str) -> str:
    """A label that fits a cell. A cut entity, as `&lt;`, would show its own letters."""
    if len(name) <= LABEL or "&" in name:
        return name
    return name[: LABEL - 1] + "…"
