"""What a click or key does to the view. Event data comes from the browser, so whatever it holds, a view comes out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeGuard

from app.render.inspection import Inspection
from app.render.view_state import View
from dola_core.lanes import BUCKETS, Lane
from dola_core.trace.step import ALPHA_MIN
from dola_core.trace.what_if import with_bucket, with_layer

Move = Callable[[Inspection, dict[str, Any]], View]
"""What is looked at, and the data of an event → what is looked at next."""


def to_token(inspection: Inspection, data: dict[str, Any]) -> View:
    """Look at a token of a strip: `lane`, from 0, and `step`, from 1."""
    lane, view = data.get("lane"), replace(inspection.view, edited=None)
    view = replace(view, lane=lane) if _is_whole(lane) and lane in inspection.shown else view
    step = data.get("step")
    if inspection.trace.unrecorded and _is_whole(step) and step > len(inspection.lane_steps[view.lane]):
        return inspection.view  # what the layers said there is still to be read
    return _at_step(view, step)


def to_step(inspection: Inspection, data: dict[str, Any]) -> View:
    """Look at step `x`, counted from 1, of the same lane's text."""
    return _at_step(inspection.view, data.get("x"))


def to_cell(lane: int) -> Move:
    """Look at a cell of a lane's heatmap: its step `x`, and its layer `y` as j* of a lane that has one.

    If that changes nothing, the layer's own first choice is pinned or unpinned.
    """

    def move(inspection: Inspection, data: dict[str, Any]) -> View:
        view, step, layer = inspection.view, data.get("x"), data.get("y")
        if lane not in inspection.shown:
            return view
        moved = replace(inspection, view=_at_step(replace(view, lane=lane), step))
        there = _at_layer(moved, moved.view, layer)
        if there == view and step == view.index + 1 and _is_layer(layer, inspection):
            return view.pin(int(inspection.focus_step.top_ids[layer - 1]))
        return there

    return move


def to_layer(inspection: Inspection, data: dict[str, Any]) -> View:
    """Make layer `x` j*, also of a lane that chose its layers until now."""
    layer, lane = data.get("x"), inspection.focus_lane
    if not _is_layer(layer, inspection):
        return inspection.view
    return inspection.view.with_lane(inspection.focus, _with(lane, layer=layer) or with_layer(inspection.varied, layer))


def to_setting(inspection: Inspection, data: dict[str, Any]) -> View:
    """A cell of the what-if map: make layer `x` j*, and `y`, which comes as text, α; or choose from a bucket.

    The bucket is the first of the `custom` data.
    """
    custom, focus, lane = data.get("custom"), inspection.focus, inspection.focus_lane
    if isinstance(custom, list) and custom and custom[0] in BUCKETS:
        model = inspection.trace.model
        try:
            chosen = with_bucket(inspection.varied, custom[0], model.n_layers, tied=bool(model.tied))
        except ValueError:
            return inspection.view
        return inspection.view.with_lane(focus, chosen)
    try:
        alpha = float(data.get("y", ""))
    except (TypeError, ValueError, OverflowError):
        return inspection.view
    view = to_layer(inspection, data)
    if not ALPHA_MIN <= alpha <= 1 or not _is_layer(data.get("x"), inspection):
        return view
    now = view.lanes[focus] or lane
    return view.with_lane(focus, _with(now, alpha=alpha) or now)


def pin(inspection: Inspection, data: dict[str, Any]) -> View:
    """Pin or unpin a token of the plausible head's chart, which is the second of its `custom` data."""
    custom = data.get("custom")
    token = custom[1] if isinstance(custom, list) and len(custom) > 1 else None
    view = inspection.view
    return view.pin(token) if _is_whole(token) and token in inspection.trace.pieces else view


def by_layers(inspection: Inspection, data: dict[str, Any]) -> View:
    """Move j* of a lane that has one by `by` layers, at most to the first and the last but one."""
    by, view, lane = data.get("by"), inspection.view, inspection.focus_lane
    before = getattr(lane, "layer", None)
    if not _is_whole(by) or before is None:
        return view
    layer = min(max(before + by, 1), inspection.trace.model.n_layers - 1)
    return view.with_lane(inspection.focus, _with(lane, layer=layer) or lane)


def by_steps(by: int) -> Move:
    """Look at the next (1) or previous (−1) step of the same text."""
    return lambda inspection, data: _at_step(inspection.view, inspection.view.index + 1 + by)


def to_difference(direction: int) -> Move:
    """Look at the next (1) or previous (−1) underlined choice, first in the same lane's text, then in the others'.

    There, what stands in an earlier lane's text as well is passed over.
    """

    def move(inspection: Inspection, data: dict[str, Any]) -> View:
        view = inspection.view
        own = [(view.lane, index) for index in inspection.differing[view.lane]]
        places = own + [place for place in inspection.differences if place[0] != view.lane]
        here = (view.lane, view.index)
        beyond = [place for place in places if (place > here if direction > 0 else place < here)]
        if not beyond:
            return view
        lane, index = min(beyond) if direction > 0 else max(beyond)
        return replace(view, lane=lane, index=index)

    return move


def back(inspection: Inspection, data: dict[str, Any]) -> View:
    """Set the lanes as they ran."""
    return replace(inspection.view, lanes=inspection.trace.lanes[: len(inspection.shown)], edited=None)


def reset(inspection: Inspection, data: dict[str, Any]) -> View:
    """Set one field of a pane as it ran: `custom` is the pane's number and the field's name, such as `[1, "layer"]`."""
    custom, view = data.get("custom"), inspection.view
    if not isinstance(custom, list) or len(custom) != 2 or not _is_whole(custom[0]):
        return view
    lane, field = custom
    name = FIELD_NAMES.get(field) if isinstance(field, str) else None
    if lane not in inspection.shown or name is None:
        return view
    ran = getattr(inspection.trace.lanes[lane], name, None)
    other = None if ran is None else _with(inspection.now[lane], **{name: ran})
    return view.with_lane(lane, other) if other else view


FIELD_NAMES = {"layer": "layer", "alpha": "alpha", "beta": "beta", "penalty": "repetition_penalty"}
"""{field of a pane: the setting of a lane}, of the fields that are sliders."""
BAR: dict[tuple[Any, Any], Move] = {
    ("step", 1): by_steps(1),
    ("step", -1): by_steps(-1),
    ("difference", 1): to_difference(1),
    ("difference", -1): to_difference(-1),
    ("back", None): back,
    ("reset", None): reset,
}
"""{(`text`, `by`) of an event of the bar: its move}"""


def at_bar(inspection: Inspection, data: dict[str, Any]) -> View:
    """What a button of the bar does."""
    text, by = data.get("text"), data.get("by")
    is_known = isinstance(text, str) and (by is None or _is_whole(by))
    move = BAR.get((text, by)) if is_known else None
    return move(inspection, data) if move else inspection.view


def _at_step(view: View, step: Any) -> View:
    return replace(view, index=step - 1) if _is_whole(step) else view


def _at_layer(inspection: Inspection, view: View, layer: Any) -> View:
    """The view with `layer` as j* of the lane that the charts explain, if it has a j*."""
    other = _with(inspection.focus_lane, layer=layer) if _is_layer(layer, inspection) else None
    return view.with_lane(inspection.focus, other) if other else view


def _with(lane: Lane | None, **values: Any) -> Lane | None:
    """A lane with other values; None if it has no such settings."""
    has = lane is not None and all(hasattr(lane, name) for name in values)
    return lane.model_copy(update=values) if lane is not None and has else None


def _is_layer(layer: Any, inspection: Inspection) -> TypeGuard[int]:
    return _is_whole(layer) and 1 <= layer < inspection.trace.model.n_layers


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
