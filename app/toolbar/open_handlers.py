"""Traces that were not run here: opened from a file, recorded with the page, or an earlier one of this visitor."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import gradio as gr

from app.compare_tab.controls import Controls
from app.compare_tab.inspector import Crumb, Inspector
from app.inputs.known_model import TITLES
from app.inputs.trace_file import TraceError, check_size, open_trace
from app.jobs.engine_pool import EnginePool
from app.render.sentences import settings_sentence
from app.toolbar.components import Toolbar
from app.ui.events import EVERY_CLICK, Changes, event_data
from dola_core.trace.schema import Trace
from dola_core.trace.step import ALPHA_MIN
from dola_core.trace.what_if import static_lane


@dataclass(frozen=True)
class OpenHandlers:
    """What happens when a visitor opens a trace."""

    pool: EnginePool
    model: gr.Dropdown
    controls: Controls
    inspector: Inspector
    shown_settings: gr.State
    """The control values that the shown trace was run with; an opened one has none."""

    def open_file(self, values: Changes, event: gr.EventData) -> Changes:
        """Show a trace from a file, which the browser reads and sends as text."""
        data = event_data(event)
        try:
            check_size(data["size"])  # of a file that is too large to be sent, only the size comes
            trace = open_trace(data["text"])
        except TraceError as error:
            return self.inspector.failed(error.message(self.inspector.words(values)))
        return self._show(values, trace, "page.opened")

    def open_recorded(self, title: str) -> Callable[[Changes], Changes]:
        """The handler that shows the trace of a title that was recorded with the chosen model."""

        def handler(values: Changes) -> Changes:
            facts = self.pool.facts(values[self.model])
            recorded = next((one for one in facts.known.recorded if one.title == title), None) if facts else None
            return self._show(values, recorded.read(), "page.recorded") if recorded else self.inspector.unchanged()

        return handler

    def back(self, values: Changes, event: gr.EventData) -> Changes:
        """Show an earlier run of the trail again."""
        trail, index = values[self.inspector.trail], event_data(event)["by"]
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(trail) - 1:
            return self.inspector.unchanged()
        return self._show_last(values, trail[: index + 1])

    def _show(self, values: Changes, trace: Trace, label_key: str) -> Changes:
        """A trace with the settings of its own run, and a note that nothing was run."""
        words = self.inspector.words(values)
        note = words("page.nothing_run", settings=settings_sentence(trace, words))
        return self._show_last(values, [Crumb(words(label_key), trace)]) | self.inspector.noted(note)

    def _show_last(self, values: Changes, trail: list[Crumb]) -> Changes:
        """The last run of a trail, at the step where its texts part or else the first."""
        trace = trail[-1].trace
        lane = static_lane(trace)
        view = self.inspector.view(values, lane.layer, max(lane.alpha, ALPHA_MIN))
        view = replace(view, lane=1, index=trace.fork or 0, pinned=())
        return self.inspector.finished(trail, view) | self.controls.at(trace, view) | {self.shown_settings: None}


def wire_opening(on: OpenHandlers, toolbar: Toolbar) -> None:
    """Connect the file box, the recorded traces and the crumbs."""
    controls, inspector = on.controls, on.inspector
    inputs = controls.inputs | inspector.inputs | {on.shown_settings, on.model}
    outputs = inspector.outputs | {controls.layer, controls.alpha, on.shown_settings}
    toolbar.inbox.upload(on.open_file, inputs, outputs, **EVERY_CLICK)
    for button, title in zip(controls.recorded, TITLES, strict=True):
        button.click(on.open_recorded(title), inputs, outputs, **EVERY_CLICK)
    inspector.crumbs.select(on.back, inputs, outputs, **EVERY_CLICK)
