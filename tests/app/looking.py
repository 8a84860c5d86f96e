"""How the tests look at a trace."""

from dataclasses import replace

from app.render.view_state import View
from dola_core.trace.schema import Trace


def looking(trace: Trace, index: int | None = None, **changes: object) -> View:
    """At a step of DoLa's text, where the texts part or else the first, with the settings of the run."""
    ran = trace.lanes[1]
    view = View(lane=1, index=(trace.fork or 0) if index is None else index, layer=ran.layer, alpha=ran.alpha)
    return replace(view, **changes)
