"""The chart of the candidates through the layers at one step."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from app.render.figures.layer_gap import bracket, gap_of
from app.render.figures.style import (
    DASHES,
    HEIGHT,
    KEY_HEIGHT,
    SYMBOLS,
    WIDE_KEY,
    Card,
    Entry,
    Figure,
    card,
    colour,
    escaped,
    figure,
    is_penalised,
    layer_axis,
    line_at,
    norm,
    power_of_ten,
    short,
    small_number,
)
from app.render.inspection import Inspection
from app.render.view_state import LayerQuantity
from app.ui.palette import LIGHT
from dola_core.display import LANE_MARKS
from dola_core.trace.ranks import EXACT
from dola_core.trace.step import Step
from dola_core.trace.token_text import token

LEAST = 1e-9
"""The bottom of the logarithmic scale; what is below is drawn there, hollow."""
LED = 2
"""How many tokens are added because a layer has them as its first choice."""
NAMED = 5
"""How many lines the key names."""


def layer_card(inspection: Inspection) -> Card:
    """The lanes' choices, the pinned tokens and the early layers' own choices, in every layer."""
    view, words, lines = inspection.view, inspection.words, _lines(inspection)
    keys = [Entry(_called(inspection, line), line.colour, line.dash) for line in lines[:NAMED]]
    return card(
        words,
        words("chart.layers"),
        words(f"chart.layers_{view.layers}"),
        alt=_spoken(inspection, lines),
        figure=_layer_chart(inspection, lines),
        more=_notes(inspection),
        hints=[words("chart.layers_click")],
        key=keys,
        seen=inspection.focus_lane.image,
    )


class _Line(NamedTuple):
    """The look of one token's line."""

    token_id: int
    mark: str
    colour: str
    dash: str
    symbol: str
    led: int | None = None
    """A layer of which it is the first choice, if it is shown for that."""


def _lines(inspection: Inspection) -> list[_Line]:
    """The lanes' choices, each with the marks of all lanes that choose it, then pinned tokens, then first choices.

    Lanes with one choice share a line, in the look of the first of them; of two lanes each has its own.
    """
    chosen = inspection.choices
    first = dict[int, int]()
    for lane, token_id in enumerate(chosen):
        if len(chosen) <= 2 or token_id not in chosen[:lane]:
            first[lane] = token_id
    lanes = [
        _Line(token_id, LANE_MARKS[lane], colour(lane), DASHES[lane], SYMBOLS[lane]) for lane, token_id in first.items()
    ]
    pins = [
        _Line(pin, "■", LIGHT["early"], "dot", symbol)
        for pin, symbol in zip(inspection.view.pinned, ("square", "triangle-up", "x"), strict=False)
        if pin not in chosen and _values(inspection.focus_step, pin, inspection.view.layers) is not None
    ]
    return [*lanes, *pins, *_first_choices(inspection, len(lanes) + len(pins))]


def _first_choices(inspection: Inspection, others: int) -> list[_Line]:
    """Lines of tokens that lead a layer beside `others`: of the contrast layer, then the one that leads most layers."""
    step, layers = inspection.focus_step, list(inspection.focus_layers())
    shown = {*inspection.choices, *inspection.view.pinned}
    leads = {int(t): np.flatnonzero(step.top_ids == t) + 1 for t in np.unique(step.top_ids) if t not in shown}

    def order(token_id: int) -> tuple[bool, int, float]:
        led = leads[token_id]
        return bool(set(led.tolist()) & set(layers)), len(led), float(step.top_p[led - 1].max())

    ranked = sorted(leads, key=order, reverse=True)
    fitting = [token_id for n, token_id in enumerate(ranked[:LED]) if order(token_id)[0] or others + n < NAMED]
    return [
        _Line(token_id, "", LIGHT["mute"], "dot", symbol, _layer_led(step, leads[token_id], layers))
        for token_id, symbol in zip(fitting, ("circle", "square"), strict=False)
    ]


def _layer_led(step: Step, led: np.ndarray, layers: list[int]) -> int:
    """The layer by which a first choice is called: a contrast layer, or the one that is surest of it."""
    return next((layer for layer in layers if layer in led), int(led[step.top_p[led - 1].argmax()]))


def _called(inspection: Inspection, line: _Line) -> str:
    name = short(token(inspection.trace, line.token_id))
    return f"{line.mark} {name}" if line.led is None else inspection.words("chart.led", token=name, layer=line.led)


def _values(step: Step, token_id: int, quantity: LayerQuantity) -> list[float | None] | None:
    """`[N]`: a token's log-probability or rank by layer; None if nothing is known of it.

    For a token that was not recorded at this step, only the layers that have it as their first choice are known; the
    others are None.
    """
    if quantity == "rank":
        ranks = step.ranks_of(token_id)
        if ranks is not None:
            return [float(rank) for rank in ranks]
        first = [1.0] * len(step.top_ids)
    elif token_id in step.tokens:
        return [float(value) for value in step.log_q_table[step.index_of(token_id)]]
    else:
        first = np.log(np.maximum(step.top_p.astype(float), 1e-30)).tolist()
    known = [value if top == token_id else None for value, top in zip(first, step.top_ids.tolist(), strict=True)]
    return known if any(value is not None for value in known) else None


def _layer_chart(inspection: Inspection, lines: list[_Line]) -> Figure:
    """One line per token over layers 1..N, the contrast layer as a line across, and the gap there as a bracket."""
    view, words, lane = inspection.view, inspection.words, inspection.focus_lane
    marks: dict[str, list[dict[str, Any]]] = {"shapes": [], "annotations": []}
    for layer in inspection.focus_layers():
        name = "M_t" if lane.chooses_layer else "j*" if len(lane.reads) == 1 else "w"
        line = line_at("x", layer, text=f"{name} = {layer}" if name != "w" else str(layer))
        marks["shapes"] += line["shapes"]
        marks["annotations"] += line["annotations"]
    if lane.chooses_layer:
        marks["shapes"] += [_tick(layer) for layer in lane.reads]
    gap = gap_of(inspection) if view.layers != "rank" else None
    if gap is not None:
        drawn = bracket(gap, least=LEAST if view.layers == "log" else None, n_layers=inspection.trace.model.n_layers)
        marks["shapes"] += drawn["shapes"]
        marks["annotations"] += drawn["annotations"]
    axis = layer_axis(words, inspection.trace.model.n_layers)
    if 0 in lane.reads:
        axis["range"][0] = -0.5
    return figure(
        [_scatter(inspection, line) for line in lines],
        height=HEIGHT - KEY_HEIGHT * (2 if len(lines) > WIDE_KEY else 1),
        margin={"l": 42, "r": 10, "t": 18, "b": 34},
        xaxis=axis,
        yaxis=_AXES[view.layers],
        **marks,
    )


_AXES: dict[LayerQuantity, dict[str, Any]] = {
    "log": {
        "type": "log",
        "range": [math.log10(LEAST) - 0.35, 0.25],
        "tickvals": [1, 1e-2, 1e-4, 1e-6, LEAST],
        "ticktext": ["1", *map(power_of_ten, (-2, -4, -6)), f"&lt;{power_of_ten(-9)}"],
    },
    "linear": {"range": [-0.03, 1.05], "tickvals": [0, 0.25, 0.5, 0.75, 1], "ticktext": ["0", "", "0.5", "", "1"]},
    "rank": {
        "type": "log",
        "autorange": "reversed",
        "tickvals": [10**power for power in range(7)],
        "tickformat": ",d",
    },
}
"""The axis of each quantity. By default Plotly labels a short logarithmic axis with every digit."""


def _scatter(inspection: Inspection, line: _Line) -> dict[str, Any]:
    """One token's line. Points below a logarithmic scale are hollow, and what is known of some layers only has dots."""
    quantity, words = inspection.view.layers, inspection.words
    values = _values(inspection.focus_step, line.token_id, quantity) or []
    low = [quantity == "log" and value is not None and value < math.log(LEAST) for value in values]
    has_dots, name = line.led is None or None in values, escaped(_called(inspection, line))
    return {
        "type": "scatter",
        "mode": "lines+markers" if has_dots else "lines",
        "name": name,
        "x": list(range(1, len(values) + 1)),
        "y": [None if value is None else _height(value, quantity) for value in values],
        "line": {"color": line.colour, "dash": line.dash, "width": 2.2 if line.led is None else 1.6},
        "marker": {
            "symbol": line.symbol,
            "size": 5,
            "opacity": 1,
            "color": [LIGHT["card"] if is_low else line.colour for is_low in low],
            "line": {"width": 1, "color": line.colour},
        },
        "customdata": [[name, "" if value is None else _read(value, quantity)] for value in values],
        "hovertemplate": f"%{{customdata[0]}}<br>{words('chart.layer')} %{{x}}: %{{customdata[1]}}<extra></extra>",
    }  # fmt: skip


def _height(value: float, quantity: LayerQuantity) -> float:
    match quantity:
        case "rank":
            return value
        case "linear":
            return round(math.exp(value), 5)
        case "log":
            return float(f"{max(math.exp(value), LEAST):.5g}")


def _read(value: float, quantity: LayerQuantity) -> str:
    return f"{value:,.0f}" if quantity == "rank" else small_number(value)


def _tick(layer: int) -> dict[str, Any]:
    """A short tick on the axis: a layer of the bucket among which a lane chooses."""
    return {
        "type": "line", "x0": layer, "x1": layer, "yref": "paper", "y0": 0, "y1": 0.04,
        "line": {"color": LIGHT["ink"], "width": 3},
    }  # fmt: skip


def _notes(inspection: Inspection) -> Iterator[str]:
    """How the layers were read, what the bracket measures, and what was not recorded."""
    view, words, lane = inspection.view, inspection.words, inspection.focus_lane
    if view.layers == "log":
        yield words("chart.layers_least", least=power_of_ten(-9))
    gap = gap_of(inspection)
    if gap is not None and view.layers != "rank":
        yield gap.told(inspection)
    if any(line.led for line in _lines(inspection)):
        yield words("chart.led_note")
    layer = inspection.contrast_layer(inspection.focus, inspection.step)
    if lane.chooses_layer and layer is not None:
        yield words("chart.chosen_among", layer=layer, layers=", ".join(map(str, lane.reads)))
    yield from _pin_notes(inspection)
    yield norm(inspection, inspection.focus)
    yield words("chart.unreliable")
    if is_penalised(inspection, inspection.focus, "before"):
        yield words("chart.last_penalised")


def _pin_notes(inspection: Inspection) -> Iterator[str]:
    """How exact the numbers of the pinned tokens are, and which of them were not recorded at this step."""
    view, step, words = inspection.view, inspection.focus_step, inspection.words
    if view.layers == "rank":
        unavailable = [pin for pin in view.pinned if step.ranks_of(pin) is None]
        if len(unavailable) < len(view.pinned):
            yield words("chart.rank_rounded", n=EXACT)
    else:
        unavailable = [pin for pin in view.pinned if pin not in step.tokens]
    if unavailable:
        names = ", ".join(f"“{token(inspection.trace, pin)}”" for pin in unavailable)
        yield words("chart.pin_unavailable", tokens=names)


def _spoken(inspection: Inspection, lines: list[_Line]) -> str:
    """The values of the lines at the contrast layers and in the last layer."""
    trace, step, words, quantity = inspection.trace, inspection.focus_step, inspection.words, inspection.view.layers
    n, told = trace.model.n_layers, list[str]()
    named = {line.token_id: line for line in lines if line.led is None}
    for layer in dict.fromkeys([*(layer for layer in inspection.focus_layers() if layer), n]):
        known = [(t, (_values(step, t, quantity) or [None] * n)[layer - 1]) for t in named]
        values = ", ".join(
            f"{token(trace, token_id)} {_read(value, quantity)}" for token_id, value in known if value is not None
        )
        told.append(words("chart.layers_alt_at", layer=layer, values=values))
    leaders = "".join(
        words("chart.led_alt", token=token(trace, line.token_id), layer=line.led, p=f"{step.top_p[line.led - 1]:.2f}")
        for line in lines
        if line.led is not None
    )
    key = f"chart.layers_alt_{'rank' if quantity == 'rank' else 'p'}"
    return words(key, told=words("chart.then").join(told)) + leaders
