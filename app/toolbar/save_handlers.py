"""What a visitor takes along: a link, a trace, a report."""

import time
from dataclasses import dataclass
from datetime import date
from typing import Any

import gradio as gr

from app.jobs.model_pool import ModelFacts, ModelPool
from app.jobs.request import lane_refused
from app.sharing import link
from app.sharing.report import report
from app.tabs.compare.controls import Controls, settings_of
from app.tabs.compare.inspector import Inspector
from app.toolbar.components import SAVES, Toolbar
from app.ui.events import EVERY_CLICK, QUICK, Changes, event_data


@dataclass(frozen=True)
class SaveHandlers:
    """What the buttons in the page's corner do. Files are put together in the browser, from the outbox's value."""

    pool: ModelPool
    model: gr.Dropdown
    """Its value is the model's name in links."""
    toolbar: Toolbar
    controls: Controls
    inspector: Inspector
    shown_settings: gr.State
    """The control values that the shown trace was run with; None if it was run on from another, or opened."""

    def copy_link(self, values: Changes) -> Changes:
        """Link to the controls' settings, or to those of a trace that was opened or run on from another."""
        words, settings = self.inspector.words(values), self.controls.settings(values)
        if "lanes" not in settings:
            return self.toolbar.failed(lane_refused(self._facts(values).n_layers).message(words))
        said = words.section("toolbar")
        if self._has_image(values):
            said |= {"copied": words("link.copied_without_image"), "copy": words("link.copy_without_image")}
        return self._hand_over("link", query=self._query(values, settings), words=said)

    def _has_image(self, values: Changes) -> bool:
        """Whether the run that is shown has an image in its prompt."""
        trace = values[self.inspector.trace]
        return bool(trace and trace.images)

    def _query(self, values: Changes, settings: dict[str, Any]) -> str:
        inspector = self.inspector
        ran, trace = values[self.shown_settings], values[inspector.trace]
        inspection = inspector.inspection(values, self.controls.panes.seen(values))
        if inspection and ran is None and not inspection.view.origin:  # run on from another, whose settings count
            settings = settings | settings_of(inspection.trace) | {"lanes": settings["lanes"]}
        digest = trace.digest if trace and ran == settings else ""
        step = inspection.view.index + 1 if inspection else 1
        image = self._has_image(values)
        return link.query(settings, self._facts(values), step=step, digest=digest, image=image)

    def _facts(self, values: Changes) -> ModelFacts:
        return self.pool.facts(values[self.model]) or self.pool.first

    def save(self, values: Changes, event: gr.EventData) -> Changes:
        """Save what the menu's item names: all as JSON, what the page shows as HTML, one step or all of them as CSV."""
        trace = values[self.inspector.trace]
        if trace is not None and trace.unrecorded:
            return self.toolbar.failed(self.inspector.words(values)("error.recording", left=trace.unrecorded))
        by = event_data(event)["by"]
        what = SAVES[by] if isinstance(by, int) and not isinstance(by, bool) and 0 <= by < len(SAVES) else "trace"
        saves = {"report": self.save_report, "step_table": self.save_step, "run_table": self.save_run}
        return saves.get(what, self.save_trace)(values)

    def save_trace(self, values: Changes) -> Changes:
        """Save everything recorded as one JSON file."""
        trace = values[self.inspector.trace]
        if trace is None:
            return self.toolbar.failed(self.inspector.words(values)("error.no_trace"))
        return self._hand_over("file", name=f"dola-duet-{trace.digest}.json", text=trace.to_json())

    def save_report(self, values: Changes) -> Changes:
        """Save what the page shows as one HTML file."""
        lanes = self.controls.panes.seen(values)
        inspection = self.inspector.inspection(values, lanes)
        if inspection is None:
            return self.toolbar.failed(self.inspector.words(values)("error.no_report"))
        settings = self.controls.settings(values)
        query = self._query(values, settings) if "lanes" in settings else ""
        return self._hand_over("report", **report(inspection, link=query, date=date.today().isoformat()))

    def save_step(self, values: Changes) -> Changes:
        """Save what every layer holds of each token that was recorded at the step that is looked at."""
        inspection = self.inspector.inspection(values, self.controls.panes.seen(values))
        if inspection is None:
            return self.toolbar.failed(self.inspector.words(values)("error.no_trace"))
        trace, view = inspection.trace, inspection.view
        text = trace.to_csv("tokens", lane=view.lane, step=view.index + 1)
        return self._table(f"{trace.digest}-step-{view.index + 1}", text)

    def save_run(self, values: Changes) -> Changes:
        """Save a row for each step of each lane."""
        trace = values[self.inspector.trace]
        if trace is None:
            return self.toolbar.failed(self.inspector.words(values)("error.no_trace"))
        return self._table(trace.digest, trace.to_csv())

    def _table(self, name: str, text: str) -> Changes:
        # Spreadsheets take a file for UTF-8 only if it begins with this mark.
        return self._hand_over("file", name=f"dola-duet-{name}.csv", text=f"\ufeff{text}", type="text/csv")

    def _hand_over(self, kind: str, **what: Any) -> Changes:
        """Set the outbox, never to the same value twice: the browser acts on a change only."""
        return {self.toolbar.outbox: {"kind": kind, "at": time.time_ns(), **what}, self.toolbar.notice: None}


def wire_saving(on: SaveHandlers) -> None:
    """Connect the buttons."""
    toolbar, inspector = on.toolbar, on.inspector
    inputs = on.controls.inputs | inspector.inputs | {on.shown_settings, on.model}
    toolbar.link.click(on.copy_link, inputs, [toolbar.outbox, toolbar.notice], **QUICK)
    toolbar.save.select(on.save, inputs, [toolbar.outbox, toolbar.notice], **EVERY_CLICK)
