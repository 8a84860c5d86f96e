"""What a click or key does to the view. Event data comes from the browser, so whatever it holds, a view comes out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeGuard

from app.render.inspection import Inspection
from app.render.view_state import View
from dola_core.trace.step import ALPHA_MIN

Move = Callable[[Inspection, dict[str, Any]], View]
"""What is looked at, and the data of an event → what is looked at next."""


def to_token(inspection: Inspection, data: dict[str, Any]) -> View:
    """Look at a token of a strip: `lane` and `step`, counted from 1."""
    lane, view = data.get("lane"), inspection.view
    return _at_step(replace(view, lane=lane) if _is_whole(lane) and lane in (0, 1) else view, data.get("step"))


def to_step(inspection: Inspection, data: dict[str, Any]) -> View:
    """Look at step `x`, counted from 1, of the same lane's text."""
    return _at_step(inspection.view, data.get("x"))


def to_cell(lane: int) -> Move:
    """Look at a cell of a lane's heatmap: its step `x`, and its layer `y` as j*.

    On the cell that is looked at already, the layer's own first choice is pinned or unpinned.
    """

    def move(inspection: Inspection, data: dict[str, Any]) -> View:
        view = inspection.view
        there = _at_layer(inspection, _at_step(replace(view, lane=lane), data.get("x")), data.get("y"))
        if there == view and (data.get("x"), data.get("y")) == (view.index + 1, view.layer):
            return view.pin(int(inspection.step.top_ids[view.layer - 1]))
        return there

    return move


def to_layer(inspection: Inspection, data: dict[str, Any]) -> View:
    """Make layer `x` j*."""
    return _at_layer(inspection, inspection.view, data.get("x"))


def to_setting(inspection: Inspection, data: dict[str, Any]) -> View:
    """A cell of the what-if map: make layer `x` j*, and `y`, which comes as text, α."""
    try:
        alpha = float(data.get("y", ""))
    except (TypeError, ValueError, OverflowError):
        return inspection.view
    moved = _at_layer(inspection, inspection.view, data.get("x"))
    return replace(moved, alpha=alpha) if ALPHA_MIN <= alpha <= 1 else moved


def pin(inspection: Inspection, data: dict[str, Any]) -> View:
    """Pin or unpin a token of the plausible head's chart, which is the second of its `custom` data."""
    custom = data.get("custom")
    token = custom[1] if isinstance(custom, list) and len(custom) > 1 else None
    view = inspection.view
    return view.pin(token) if _is_whole(token) and token in inspection.trace.pieces else view


def by_layers(inspection: Inspection, data: dict[str, Any]) -> View:
    """Move j* by `by` layers, at most to the first and the last but one."""
    by, view = data.get("by"), inspection.view
    if not _is_whole(by):
        return view
    return replace(view, layer=min(max(view.layer + by, 1), inspection.trace.model.n_layers - 1))


def to_difference(direction: int) -> Move:
    """Look at the next (1) or previous (−1) step of the lane's text at which the choices differ, if there is one."""

    def move(inspection: Inspection, data: dict[str, Any]) -> View:
        view = inspection.view
        beyond = [index for index in inspection.differing[view.lane] if (index - view.index) * direction > 0]
        return replace(view, index=min(beyond, key=lambda index: abs(index - view.index))) if beyond else view

    return move


def _at_step(view: View, step: Any) -> View:
    return replace(view, index=step - 1) if _is_whole(step) else view


def _at_layer(inspection: Inspection, view: View, layer: Any) -> View:
    inside = _is_whole(layer) and 1 <= layer < inspection.trace.model.n_layers
    return replace(view, layer=layer) if inside else view


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
