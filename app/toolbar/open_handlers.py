"""Traces that were not run here: opened from a file, recorded with the page, or an earlier one of this visitor."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app.inputs.trace_file import TraceError, check_size, open_trace
from app.jobs.model_pool import ModelFacts, ModelPool
from app.jobs.queue.cancellation import Cancellations
from app.jobs.request import CHAT, COMPLETE
from app.render.inspection import Inspection
from app.render.sentences import settings_sentence
from app.render.view_state import Origin
from app.tabs.compare.chips import chips_of
from app.tabs.compare.controls import Controls, settings_of
from app.tabs.compare.inspector import Crumb, Inspector
from app.toolbar.components import Toolbar
from app.ui.events import EVERY_CLICK, Changes, event_data
from dola_core.trace.schema import Trace

SETTLING = 0.4
"""Seconds in which an update of a run is on its way to the page."""


@dataclass(frozen=True)
class OpenHandlers:
    """What happens when a visitor opens a trace, or clicks on something to try.

    Prompt, lanes and settings become those of what is shown, so that the next run is the same.
    """

    pool: ModelPool
    model: gr.Dropdown
    toolbar: Toolbar
    controls: Controls
    inspector: Inspector
    shown_settings: gr.State
    """The control values that the shown trace was run with; None for one from a file."""
    pending: gr.State
    """A trace that waits to be shown until its model is chosen."""
    runs: Cancellations
    """Of the visitor's runs, which end when another trace is opened: what came of them would be shown over it."""

    def _end_runs(self, visitor: gr.Request) -> None:
        """Let the runs that are under way end unseen, once what they have let go has reached the page."""
        session = str(visitor.session_hash)
        if self.runs.is_running(session) and self.runs.abandon(session):
            time.sleep(SETTLING)

    def open_file(self, values: Changes, event: gr.EventData, visitor: gr.Request) -> Changes:
        """Show a trace from a file, which the browser reads and sends as text."""
        data, words = event_data(event), self.inspector.words(values)
        try:
            check_size(data["size"])  # of a file that is too large to be sent, only the size comes
            trace = open_trace(data["text"])
        except TraceError as error:
            return self.toolbar.failed(error.message(words))
        name = trace.model.name
        if name in self.pool.titles and name != values[self.model]:
            # The menu's own event follows, which loads the model and then shows the trace.
            return {self.model: name, self.pending: trace, self.toolbar.notice: None}
        self._end_runs(visitor)
        return self.show(values, trace, "opened") | {self.toolbar.notice: None}

    def open_chip(self, values: Changes, event: gr.EventData, visitor: gr.Request) -> Changes:
        """Show the recorded run of a chip."""
        _, chip = self._chip(values, event)
        if chip is None or chip.recorded is None:
            return self.inspector.unchanged()
        self._end_runs(visitor)
        return self.show(values, chip.recorded.read(), "recorded")

    def fill_in(self, values: Changes, event: gr.EventData) -> Changes:
        """Set the prompt of a chip, and everything else as usual, before it is run."""
        facts, chip = self._chip(values, event)
        if chip is None or chip.example is None:
            return self.inspector.unchanged()
        mode = CHAT if facts.has_chat_template and chip.example.chat is not False else COMPLETE
        words = self.inspector.words(values)
        return self.controls.as_usual(facts, words, prompt=chip.example.prompt, mode=mode)

    def _chip(self, values: Changes, event: gr.EventData) -> tuple[ModelFacts, Any]:
        facts, by = self.pool.facts(values[self.model]) or self.pool.first, event_data(event)["by"]
        chips = chips_of(facts.known)
        is_one = isinstance(by, int) and not isinstance(by, bool) and 0 <= by < len(chips)
        return facts, chips[by] if is_one else None

    def back(self, values: Changes, event: gr.EventData, visitor: gr.Request) -> Changes:
        """Show an earlier run of the trail again."""
        trail, index = values[self.inspector.trail], event_data(event)["by"]
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(trail) - 1:
            return self.inspector.unchanged()
        self._end_runs(visitor)
        return self._show_last(values, trail[: index + 1])

    def show(self, values: Changes, trace: Trace, origin: Origin, *, step: int | None = None) -> Changes:
        """A trace with the settings of its own run, and a note that nothing was run."""
        words = self.inspector.words(values)
        facts = self.pool.facts(values[self.model]) or self.pool.first
        crumb = Crumb(words(f"strips.{origin}"), trace, origin)
        note = words("page.nothing_run", settings=settings_sentence(trace, words))
        if not facts.info.is_same_model(trace.model):
            note += " " + words("page.of_other_model", shown=trace.model.name, model=facts.info.name)
        if trace.images and origin == "opened":
            note += " " + words("link.without_image" if facts.reads_images else "link.image_unread")
        return (
            self.controls.of_trace(trace, trace.model.n_layers, words, with_chat=facts.has_chat_template)
            | self._show_last(values, [crumb], step=step)
            | self.inspector.noted(note if origin == "opened" else "")
            | {self.shown_settings: settings_of(trace) if origin == "recorded" else None}
        )

    def _show_last(self, values: Changes, trail: list[Crumb], *, step: int | None = None) -> Changes:
        """The last run of a trail, at a step of its text, by default where its texts part or else the first."""
        trace = trail[-1].trace
        index = (trace.fork or 0) if step is None else step - 1
        view = replace(self.inspector.view(values, trace.lanes), lane=1, index=index, pinned=())
        panes = self.controls.at(Inspection(trace, view), values, alone=True)
        return self.inspector.finished(trail, view) | panes | {self.shown_settings: None}


def wire_opening(on: OpenHandlers, compare_after: Callable[[gr.events.Dependency], None]) -> None:
    """Connect the file box, the chips and the crumbs. `compare_after` makes a run follow on an event."""
    controls, inspector = on.controls, on.inspector
    inputs = controls.inputs | inspector.inputs | {on.shown_settings, on.model}
    outputs = inspector.outputs | controls.everything | {on.shown_settings}
    opened = outputs | {on.model, on.pending, on.toolbar.notice}
    on.toolbar.inbox.upload(on.open_file, inputs, opened, **EVERY_CLICK)
    controls.chips.select(on.open_chip, inputs, outputs, **EVERY_CLICK)
    compare_after(controls.chips.submit(on.fill_in, inputs, outputs, **EVERY_CLICK))
    inspector.crumbs.select(on.back, inputs, outputs, **EVERY_CLICK)
