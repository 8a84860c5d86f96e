"""What happens on the tab that completes many prompts: they are run, sorted, opened and saved."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.inputs.prompt_file import digest, prompts_of_file, prompts_of_text
from app.jobs.failures import failure_sentence
from app.jobs.host import Host
from app.jobs.many_prompts import PromptProgress, PromptResult, run_many
from app.jobs.model_pool import Loading
from app.jobs.queue.cancellation import Cancellations
from app.jobs.queue.run_queue import SPARE, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.request import ComparisonRequest
from app.language import Language, language
from app.render.sentences import settings_sentence
from app.tabs.compare.controls import Controls
from app.tabs.compare.inspector import Inspector
from app.tabs.prompts.components import PromptsTab
from app.tabs.prompts.table import csv_file, json_lines, table
from app.ui.components import Outbox
from app.ui.events import EVERY_CLICK, QUICK, SILENT, Changes, event_data
from dola_core.trace.schema import Trace


@dataclass(frozen=True)
class PromptsHandlers:
    """What happens when a visitor completes many prompts, and looks at what came of them."""

    host: Host
    model: gr.Dropdown
    tab: PromptsTab
    tabs: gr.Tabs
    controls: Controls
    inspector: Inspector
    outbox: Outbox
    show: Callable[[Changes, Trace], Changes]
    """What shows a trace on the comparison's tab, with its own settings."""
    shown_settings: gr.State
    """What `show` changes besides the comparison's parts."""
    number: gr.State
    """The number of what was asked for last, by which it can be cancelled."""
    cancellations: Cancellations

    def words(self, values: Changes) -> Language:
        """The visitor's language."""
        return language(values[self.inspector.language])

    # Completing them

    def acknowledge(self, code: str, visitor: gr.Request) -> Changes:
        """Answer at once, without the queue, so that a visitor who has to wait sees that the click counted.

        What the visitor asked for before is cancelled: there is one table.
        """
        self.cancellations.cancel(str(visitor.session_hash))
        return {
            self.number: self.cancellations.register(str(visitor.session_hash)),
            self.tab.notice: {"text": language(code)("page.waiting"), "tone": "busy"},
            self.tab.stop: gr.Button(visible=True),
        }

    def end(self, visitor: gr.Request) -> gr.Button:
        """Stop is there as long as prompts of the visitor are being completed."""
        return gr.Button(visible=not self.cancellations.end(str(visitor.session_hash)))

    def stop(self, visitor: gr.Request) -> None:
        """Cancel what the visitor has asked for."""
        self.cancellations.cancel(str(visitor.session_hash))

    def complete_typed(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Complete the prompts in the box."""
        yield from self._complete(values, visitor, lambda: prompts_of_text(values[self.tab.prompts]))

    def complete_file(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Complete the prompts of an uploaded file."""
        yield from self._complete(values, visitor, lambda: prompts_of_file(values[self.tab.upload]))

    def _complete(self, values: Changes, visitor: gr.Request, prompts_of: Callable[[], list[str]]) -> Iterator[Changes]:
        """Fill the table with what the comparison's lanes and settings make of each prompt.

        What is found stays, however it ends. Once the visitor asks for other prompts, nothing more of these is shown.
        """
        words, session, number = self.words(values), str(visitor.session_hash), values[self.number]
        results: list[PromptResult] = []

        def cancelled() -> bool:
            return self.cancellations.is_cancelled(session, number)

        def replaced() -> bool:
            return bool(number) and not self.cancellations.is_last(session, number)

        try:
            requests = self._requests(values, prompts_of())
            last, of = 0, len(requests)
            with closing(
                run_many(self.host, Visitor.of(visitor), values[self.model], requests, cancelled, words)
            ) as updates:
                for update in updates:
                    if replaced():
                        return
                    if isinstance(update, PromptResult):
                        results = [*results, update]
                        yield self._shown(results, words) | self._told(self._running(len(results), of, words), "busy")
                    elif isinstance(update, Waiting | Loading):
                        yield self._told(update.message(words), "busy")
                    elif isinstance(update, PromptProgress) and update.number != last:
                        last = update.number
                        yield self._told(self._running(last - 1, of, words), "busy")
            stopped = words("prompts.stopped", done=len(results), of=of) if len(results) < of else ""
            if not replaced():
                yield self._shown(results, words) | self._told(stopped)
        except Exception as error:  # whatever it is, the visitor gets a sentence
            sentence = failure_sentence(error, "comparison", self.host.pool.release, words)
            if not replaced():
                yield (self._shown(results, words) if results else {}) | self._told(sentence, "error")

    def _requests(self, values: Changes, prompts: list[str]) -> list[ComparisonRequest]:
        """What the comparison's controls ask for of each prompt; raises `RequestError`."""
        facts = self.host.pool.facts(values[self.model]) or self.host.pool.first
        return [self.controls.request(values | {self.controls.prompt: prompt}, facts.n_layers) for prompt in prompts]

    def _told(self, text: str, tone: str = "") -> Changes:
        return {self.tab.notice: {"text": text, "tone": tone} if text else None}

    @staticmethod
    def _running(done: int, of: int, words: Language) -> str:
        return words("prompts.running", done=done, of=of)

    def _shown(self, results: list[PromptResult], words: Language) -> Changes:
        """The table as it fills, in the order in which the prompts were given."""
        has, tab = bool(results), self.tab
        return {
            tab.results: results,
            tab.rows: table(results, "number", words),
            tab.order: gr.Dropdown(visible=has),
            tab.json_lines: gr.Button(visible=has),
            tab.csv: gr.Button(visible=has),
        }

    # Looking at what came of them

    def sort(self, values: Changes) -> Changes:
        """The table in the order that was picked."""
        return {self.tab.rows: table(values[self.tab.results], values[self.tab.order], self.words(values))}

    def translate(self, values: Changes) -> Changes:
        """The tab in another language."""
        return self.tab.translated(values, self.words(values))

    def open(self, values: Changes, event: gr.EventData) -> Changes:
        """Show a prompt's comparison on its own tab, or the prompt alone if nothing is kept of it."""
        by = event_data(event)["by"]
        result = next(
            (one for one in values[self.tab.results] if not isinstance(by, bool) and one.row.number == by), None
        )
        if result is None:
            return {self.tab.notice: None}
        there, trace = {self.tabs: gr.Tabs(selected="compare")}, result.trace()
        words = self.words(values)
        if trace is not None:
            shown, facts = self.show(values, trace), self.host.pool.facts(values[self.model])
            if facts and facts.info.is_same_model(trace.model):  # else the note says that it is another's
                note = words("prompts.opened", n=result.row.number, settings=settings_sentence(trace, words))
                shown |= self.inspector.noted(note)
            return shown | there
        note = words("prompts.not_kept")
        return {self.controls.prompt: result.row.prompt} | self.inspector.noted(note) | there

    def save_json_lines(self, values: Changes) -> Changes:
        """Save a row for each prompt, as the command `dola compare-file` writes them."""
        return self._save(values, "jsonl", json_lines(values[self.tab.results]), "application/jsonl")

    def save_csv(self, values: Changes) -> Changes:
        """Save the rows as a table; a spreadsheet takes it for UTF-8 only if it begins with a mark."""
        return self._save(values, "csv", "\ufeff" + csv_file(values[self.tab.results]), "text/csv")

    def _save(self, values: Changes, ending: str, text: str, kind: str) -> Changes:
        name = f"dola-duet-prompts-{digest([result.row.prompt for result in values[self.tab.results]])}.{ending}"
        outbox = {"kind": "file", "at": time.time_ns(), "name": name, "text": text, "type": kind}
        return {self.outbox: outbox}


def wire_prompts(on: PromptsHandlers) -> None:
    """Connect the tab."""
    tab, controls, inspector = on.tab, on.controls, on.inspector
    code = inspector.language
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    seen: set[Component] = {tab.results, tab.order, code}
    asked = controls.inputs | {on.number, on.model, code}
    filled = {tab.results, tab.rows, tab.order, tab.json_lines, tab.csv, tab.notice}
    for listen, complete, source in (
        (tab.complete.click, on.complete_typed, tab.prompts),
        (tab.upload.upload, on.complete_file, tab.upload),
    ):
        completed = listen(on.acknowledge, [code], [on.number, tab.notice, tab.stop], **at_once).then(
            complete,
            asked | {source},
            filled,
            concurrency_limit=on.host.queue.most + SPARE,
            concurrency_id="model",
            trigger_mode="multiple",  # else one that is asked for while another still ends would be dropped
            **SILENT,
        )
        completed.then(on.sort, seen, [tab.rows], **EVERY_CLICK).then(on.end, None, [tab.stop], **EVERY_CLICK)
    tab.stop.click(on.stop, **at_once)
    tab.order.input(on.sort, seen, [tab.rows], **QUICK)
    code.change(on.translate, seen, tab.outputs - {tab.results}, **QUICK)
    inputs = controls.inputs | inspector.inputs | {on.shown_settings, on.model, tab.results}
    shown = inspector.outputs | controls.everything | {on.shown_settings, on.tabs, tab.notice}
    tab.rows.select(on.open, inputs, shown, **EVERY_CLICK)
    tab.json_lines.click(on.save_json_lines, {tab.results}, [on.outbox], **QUICK)
    tab.csv.click(on.save_csv, {tab.results}, [on.outbox], **QUICK)
