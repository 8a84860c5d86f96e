"""Views and inspections of a trace for the tests."""

from dataclasses import replace

from app.render.inspection import Inspection
from app.render.view_state import View
from dola_core.trace.schema import Trace

SETTINGS = ("layer", "alpha", "beta")


def looking(trace: Trace, index: int | None = None, **changes: object) -> View:
    """A view of a step of DoLa's text, by default the fork or else the first, with the settings of the run.

    `changes` are of the view, or j*, α and β of the second lane.
    """
    own = {name: changes.pop(name) for name in SETTINGS if name in changes}
    lanes = (trace.lanes[0], trace.lanes[1].model_copy(update=own), *trace.lanes[2:])
    view = View(lane=1, index=(trace.fork or 0) if index is None else index, lanes=lanes)
    return replace(view, **changes)


def inspecting(trace: Trace, index: int | None = None, **changes: object) -> Inspection:
    """The trace looked at in that way."""
    return Inspection(trace, looking(trace, index, **changes))


def settings_of(view: View) -> dict[str, object]:
    """Where `run_on` goes on from, and with which lanes."""
    return {"lane": view.lane, "index": view.index, "lanes": view.lanes}
