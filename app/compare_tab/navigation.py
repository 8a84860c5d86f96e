"""What a click or key does to the view. Event data comes from the browser, so whatever it holds, a view comes out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr

from app.render.view_state import View
from dola_core.trace.schema import ALPHA_MIN, Trace
from dola_core.trace.what_if import rechosen

Move = Callable[[Trace, View, dict[str, Any]], View]
"""The data of an event → what is looked at then."""
FIELDS = ("lane", "step", "x", "y", "custom", "by")
"""What the data of an event may hold."""


def to_token(trace: Trace, view: View, data: dict[str, Any]) -> View:
    """A token of a strip: `lane` and `step`, counted from 1."""
    lane = data.get("lane")
    return _at_step(replace(view, lane=lane) if _whole(lane) and lane in (0, 1) else view, data.get("step"))


def to_step(trace: Trace, view: View, data: dict[str, Any]) -> View:
    """A step of the lane looked at: `x`, counted from 1."""
    return _at_step(view, data.get("x"))


def to_cell(lane: int) -> Move:
    """A cell of a lane's heatmap: its step `x` is looked at, and its layer `y` becomes j*.

    On the cell where the view is already, the layer's own first choice is pinned or let go.
    """

    def move(trace: Trace, view: View, data: dict[str, Any]) -> View:
        there = _at_layer(trace, _at_step(replace(view, lane=lane), data.get("x")), data.get("y"))
        if there == view and (data.get("x"), data.get("y")) == (view.index + 1, view.layer):
            return view.pin(int(view.step(trace).top_ids[view.layer - 1]))
        return there

    return move


def to_layer(trace: Trace, view: View, data: dict[str, Any]) -> View:
    """A layer `x` becomes j*."""
    return _at_layer(trace, view, data.get("x"))


def to_setting(trace: Trace, view: View, data: dict[str, Any]) -> View:
    """A cell of the map: layer `x` becomes j* and `y`, as text, α."""
    try:
        alpha = float(data.get("y"))
    except (TypeError, ValueError, OverflowError):
        return view
    moved = _at_layer(trace, view, data.get("x"))
    return replace(moved, alpha=alpha) if ALPHA_MIN <= alpha <= 1 else moved


def pin(trace: Trace, view: View, data: dict[str, Any]) -> View:
    """A token of the head chart, the second of its `custom` data, is pinned or let go."""
    custom = data.get("custom")
    token = custom[1] if isinstance(custom, list) and len(custom) > 1 else None
    return view.pin(token) if _whole(token) and token in trace.pieces else view


def by_layers(trace: Trace, view: View, data: dict[str, Any]) -> View:
    """j* moves by `by` layers, and stops at the first and the last but one."""
    by = data.get("by")
    if not _whole(by):
        return view
    return replace(view, layer=min(max(view.layer + by, 1), trace.model.n_layers - 1))


def to_difference(direction: int) -> Move:
    """The next (1) or previous (−1) step of the lane's text at which the lanes' choices differ, if there is one."""

    def move(trace: Trace, view: View, data: dict[str, Any]) -> View:
        chosen = rechosen(trace, view.lane, view.layer, view.alpha)
        steps = zip(trace.lane_steps(view.lane), chosen, strict=True)
        differ = [step.index for step, dola in steps if dola != step.choices[0].id]
        beyond = [index for index in differ if (index - view.index) * direction > 0]
        return replace(view, index=min(beyond, key=lambda index: abs(index - view.index))) if beyond else view

    return move


def read(event: gr.EventData) -> dict[str, Any]:
    """The fields of an event that a move may look at, whatever the browser sent."""
    return {name: field(event, name) for name in FIELDS}


def field(event: gr.EventData, name: str) -> Any:
    """One field of an event; None if it has none, or no data at all."""
    try:
        return getattr(event, name)
    except (AttributeError, TypeError):
        return None


def _at_step(view: View, step: Any) -> View:
    return replace(view, index=step - 1) if _whole(step) else view


def _at_layer(trace: Trace, view: View, layer: Any) -> View:
    return replace(view, layer=layer) if _whole(layer) and 1 <= layer < trace.model.n_layers else view


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
