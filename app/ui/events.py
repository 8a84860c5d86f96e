"""How the page's events run, and what handlers read and return."""

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.components import Component

Changes = dict[Component, Any]
"""{component: its value}, for what a handler is given, and its new value or an update for what it returns."""
NO_CHANGE = gr.skip
"""For one of a handler's outputs where nothing changes: an empty dictionary would not be an answer for every output."""

SILENT: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
"""No spinner over the page, and no place in the API."""
QUICK: dict[str, Any] = {"queue": False, **SILENT}
"""For handlers that only read a recorded trace and take milliseconds.

Without Gradio's queue an answer comes with the request itself, one round trip instead of two, and nobody waits for
another visitor. Strips, keys and sliders ask again only when the last answer has come, so that none overtakes a newer
one; two clicks on charts are further apart than an answer takes.
"""
EVERY_CLICK: dict[str, Any] = {"trigger_mode": "multiple", **QUICK}
"""For clicks and keys, each of which counts: by "always_last", the first click's data would be sent again."""
FIELDS = ("lane", "step", "x", "y", "custom", "by", "text", "size", "index")
"""What the data of an event from our own components, or from the tabs, may hold."""

Handler = Callable[..., Any]


def event_data(event: gr.EventData) -> dict[str, Any]:
    """The fields of an event; None for each that it lacks. The browser may have sent anything."""
    return {name: _field(event, name) for name in FIELDS}


def _field(event: gr.EventData, name: str) -> Any:
    try:
        return getattr(event, name)
    except (AttributeError, TypeError):  # no such field, or no data at all
        return None
