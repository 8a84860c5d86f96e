"""What a visitor takes along: a link, a trace, a report."""

import json
import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.compare_tab.controls import Controls
from app.compare_tab.inspector import Inspector
from app.jobs.request import CHAT, COMPLETE
from app.sharing import link
from app.sharing.report import report
from app.toolbar.components import Toolbar
from app.ui.events import QUICK, Changes
from dola_core.trace.schema import Trace


@dataclass(frozen=True)
class SaveHandlers:
    """What the buttons in the page's corner do. Files are put together in the browser, from the outbox's value."""

    model: gr.Dropdown
    """Its value is the model's name in links."""
    toolbar: Toolbar
    controls: Controls
    inspector: Inspector
    shown_settings: gr.State
    """The control values that the shown trace was run with, or None."""

    def copy_link(self, values: Changes) -> Changes:
        """Link to the controls' settings, or to those of a trace that was opened or run on from another."""
        controls, inspector = self.controls, self.inspector
        layer, alpha, ran = values[controls.layer], values[controls.alpha], values[self.shown_settings]
        trace, settings = values[inspector.trace], controls.settings(values)
        inspection = inspector.inspection(values, layer, alpha)
        if trace and ran is None:
            settings |= settings_of(trace) | {"layer": layer, "alpha": alpha}
        digest = trace.digest if trace and ran == settings else ""
        step = inspection.view.index + 1 if inspection else 1
        query = link.query(vars(controls), settings, model=values[self.model], step=step, digest=digest)
        return self._hand_over("link", query=query, words=inspector.words(values).section("toolbar"))

    def save_trace(self, values: Changes) -> Changes:
        """Save everything recorded as one JSON file."""
        trace = values[self.inspector.trace]
        if trace is None:
            return self.inspector.failed(self.inspector.words(values)("error.no_trace"))
        return self._hand_over("file", name=f"dola-duet-{trace.digest}.json", text=trace.to_json())

    def save_report(self, values: Changes) -> Changes:
        """Save what the page shows as one HTML file."""
        inspection = self.inspector.inspection(values, values[self.controls.layer], values[self.controls.alpha])
        if inspection is None:
            return self.inspector.failed(self.inspector.words(values)("error.no_report"))
        return self._hand_over("report", **report(inspection))

    def _hand_over(self, kind: str, **what: Any) -> Changes:
        """Set the outbox, never to the same value twice: the browser acts on a change only."""
        return {self.toolbar.outbox: {"kind": kind, "at": time.time_ns(), **what}}


def settings_of(trace: Trace) -> dict[str, Any]:
    """The values that the controls would have for a trace; a chat that was run on begins from its first turn."""
    config = trace.decoding.model_dump()
    stop, chat = config.pop("stop"), trace.chat
    arguments = json.dumps(chat.template_arguments, ensure_ascii=False) if chat and chat.template_arguments else ""
    return config | {
        "prompt": trace.prompt,
        "stop_text": stop[0].replace("\n", "\\n") if stop else "",
        "mode": CHAT if chat else COMPLETE,
        "system": chat.system if chat else "",
        "template_arguments": arguments,
    }


def wire_saving(on: SaveHandlers) -> None:
    """Connect the buttons."""
    toolbar, inspector = on.toolbar, on.inspector
    inputs = on.controls.inputs | inspector.inputs | {on.shown_settings, on.model}
    toolbar.link.click(on.copy_link, inputs, [toolbar.outbox], **QUICK)
    toolbar.trace.click(on.save_trace, inputs, [toolbar.outbox, inspector.notice], **QUICK)
    toolbar.report.click(on.save_report, inputs, [toolbar.outbox, inspector.notice], **QUICK)
