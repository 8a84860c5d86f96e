"""What happens on the tab where j* is chosen: settings are taken, questions opened and measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from app.inputs.question_file import SHIPPED_METRIC, SHIPPED_QUESTIONS, TRIAL, limit_of, questions_of, search_config
from app.jobs.failures import failure_sentence
from app.jobs.host import Host
from app.jobs.layer_search import search_questions
from app.jobs.model_pool import ModelFacts
from app.jobs.queue.cancellation import Cancellations
from app.jobs.queue.run_queue import SPARE
from app.jobs.queue.visitor import Visitor
from app.jobs.request import CHAT, COMPLETE
from app.language import Language, language
from app.render.figures import curve_card
from app.render.search_summary import errors_of
from app.tabs.compare.controls import Controls
from app.tabs.compare.inspector import Inspector
from app.tabs.search.components import SearchTab
from app.tabs.search.progress import progress
from app.ui.events import EVERY_CLICK, QUICK, SILENT, Changes, event_data
from dola_core.lanes import Baseline, DolaStatic, Lane
from dola_core.layer_search.answers.scoring import ScoringConfig
from dola_core.trace.step import ALPHA_MIN


@dataclass(frozen=True)
class SearchHandlers:
    """What happens when a visitor looks at a search, takes what it says to the comparison, or runs their own."""

    host: Host
    model: gr.Dropdown
    tab: SearchTab
    tabs: gr.Tabs
    controls: Controls
    inspector: Inspector
    language: gr.Radio
    number: gr.State
    """The number of the last search asked for, by which it can be cancelled."""
    cancellations: Cancellations

    def words(self, values: Changes) -> Language:
        """The visitor's language."""
        return language(values[self.language])

    # Looking at a result

    def show_metric(self, values: Changes) -> Changes:
        """Draw the curve of the metric that was picked."""
        result, tab = values[self.tab.result], self.tab
        if result is None:
            return {tab.notice: None}
        return {tab.curve: curve_card(result, tab.metric_of(result, values[tab.metric]), self.words(values))}

    def show_result(self, values: Changes) -> Changes:
        """Show what a search found, by its own metric, in the language that is set by then."""
        return self.tab.show(values[self.tab.result], None, self._facts(values), self.words(values))

    def show_shipped(self, values: Changes) -> Changes:
        """Show the shipped questions again, after a visitor's own."""
        facts = self._facts(values)
        return self.tab.show(facts.known.search, None, facts, self.words(values)) | {self.tab.notice: None}

    def translate(self, values: Changes) -> Changes:
        """Put the tab into another language."""
        words, tab = self.words(values), self.tab
        return tab.show(values[tab.result], values[tab.metric], self._facts(values), words) | tab.translated(words)

    # Taking it to the comparison

    def take_point(self, values: Changes, event: gr.EventData) -> Changes:
        """Make a point of the curve the comparison's setting."""
        result, data = values[self.tab.result], event_data(event)
        layer, custom = data["x"], data["custom"]
        alpha = custom[0] if isinstance(custom, list) and custom else None
        if result is None or isinstance(layer, bool) or layer not in result.layers or alpha not in result.asked.alphas:
            return self._unchanged()
        return self._take(values, int(layer), float(alpha))

    def take_best(self, values: Changes) -> Changes:
        """Make the chosen setting the comparison's; a button, so that the keyboard can do it."""
        result = values[self.tab.result]
        return self._take(values, result.chosen.layer, result.chosen.alpha) if result else self._unchanged()

    def open_question(self, who: str) -> Callable[[Changes, gr.EventData], Changes]:
        """The handler that opens a question which `who` alone had right, as the comparison's prompt."""

        def handler(values: Changes, event: gr.EventData) -> Changes:
            result, index = values[self.tab.result], event_data(event)["by"]
            cases = errors_of(result, who) if result else []
            if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(cases):
                return self._unchanged()
            layer, alpha = result.chosen.layer, max(result.chosen.alpha, ALPHA_MIN)
            note = self.words(values)("search.open", layer=layer, alpha=f"{alpha:g}")
            return (
                self._compare_at(values, layer, alpha)
                | {
                    self.controls.prompt: cases[index].prompt,
                    self.controls.mode: CHAT if result.asked.chat else COMPLETE,
                    self.tabs: gr.Tabs(selected="compare"),
                }
                | self.inspector.noted(note)
            )

        return handler

    def _take(self, values: Changes, layer: int, alpha: float) -> Changes:
        """The comparison at a setting, on its own tab."""
        alpha = max(alpha, ALPHA_MIN)
        note = self.words(values)("search.taken", layer=layer, alpha=f"{alpha:g}")
        return (
            self._compare_at(values, layer, alpha)
            | {self.tabs: gr.Tabs(selected="compare"), self.tab.notice: None}
            | self.inspector.noted(note)
        )

    def _compare_at(self, values: Changes, layer: int, alpha: float) -> Changes:
        """The comparison's controls at a setting, and the trace that is shown there as it would be with it."""
        controls, inspector = self.controls, self.inspector
        facts, words = self._facts(values), self.words(values)
        lanes = _with_static(controls.panes.seen(values), DolaStatic(layer=layer, alpha=alpha))
        own = controls.panes.at(lanes, values, facts.n_layers, words) | {
            controls.early_norm: values[self.tab.result].asked.rule.early_norm
        }
        inspection = inspector.inspection(values, lanes)
        return own if inspection is None else own | inspector.shown(inspection)

    def _unchanged(self) -> Changes:
        return {self.tab.notice: gr.skip()}

    # Searches

    def acknowledge(self, code: str, visitor: gr.Request) -> Changes:
        """Answer a click or an upload at once, without the queue, so that a visitor who has to wait sees that it
        counted."""
        waiting = {"text": language(code)("page.waiting"), "tone": "busy"}
        return {
            self.number: self.cancellations.register(str(visitor.session_hash)),
            self.tab.notice: waiting,
            self.tab.stop: gr.Button(visible=True),
        }

    def end(self, visitor: gr.Request) -> gr.Button:
        """Stop is there as long as a search of the visitor goes on."""
        return gr.Button(visible=not self.cancellations.end(str(visitor.session_hash)))

    def stop(self, visitor: gr.Request) -> None:
        """Cancel the visitor's searches."""
        self.cancellations.cancel(str(visitor.session_hash))

    def search(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Measure an uploaded file of questions, in the visitor's turn."""
        limit = limit_of(values[self.tab.limit])
        yield from self._search(values, visitor, values[self.tab.upload], {"limit": limit})

    def search_trial(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Measure some of the page's own questions, in the visitor's turn."""
        asked = {"limit": TRIAL, "metric": SHIPPED_METRIC}
        yield from self._search(values, visitor, str(SHIPPED_QUESTIONS), asked)

    def _search(
        self, values: Changes, visitor: gr.Request, file: str | None, asked: dict[str, Any]
    ) -> Iterator[Changes]:
        """Measure questions of a file; `asked` are fields of the `SearchConfig` beside those that follow from them."""
        words, session, number = self.words(values), str(visitor.session_hash), values[self.number]

        def cancelled() -> bool:
            return self.cancellations.is_cancelled(session, number)

        def abandoned() -> bool:
            return self.cancellations.is_abandoned(session, number)

        try:
            questions, sha256 = questions_of(file)
            shipped = self._facts(values).known.search
            if shipped and shipped.lacks_texts and shipped.data.sha256 == sha256:
                note = {"text": words("search.same_file"), "tone": ""}
                yield {self.tab.result: shipped.with_texts(questions), self.tab.notice: note}
                return
            scoring = ScoringConfig(early_norm=self._facts(values).preset.early_norm)
            config = search_config(questions, scoring).model_copy(update=asked)
            data = {"items": questions, "name": Path(str(file)).name, "sha256": sha256}
            job = partial(search_questions, config=config, limits=self.host.limits, **data)
            updates = self.host.in_turn(Visitor.of(visitor), values[self.model], job, cancelled)
            if Path(str(file)) == SHIPPED_QUESTIONS:
                updates = self.tab.pace.noting(values[self.model], updates)
            for changes in progress(self.tab, updates, cancelled, self.host.limits, words):
                if abandoned():
                    return
                yield changes
        except Exception as error:  # whatever it is, the visitor gets a sentence
            sentence = failure_sentence(error, "search", self.host.pool.release, words)
            if not abandoned():
                yield self._failed(sentence)

    def _facts(self, values: Changes) -> ModelFacts:
        """The facts of the chosen model, or of the first one as long as it is not loaded."""
        return self.host.pool.facts(values[self.model]) or self.host.pool.first

    def _failed(self, sentence: str) -> Changes:
        return {self.tab.notice: {"text": sentence, "tone": "error"}}


def _with_static(lanes: Sequence[Lane | None], static: DolaStatic) -> list[Lane]:
    """The lanes of the panes with `static` in the place of the first DoLa-static lane, or of the second lane."""
    place = next((number for number, lane in enumerate(lanes) if isinstance(lane, DolaStatic)), 1)
    return [static if number == place else lane or Baseline() for number, lane in enumerate(lanes)]


def wire_search(
    host: Host,
    model: gr.Dropdown,
    tab: SearchTab,
    tabs: gr.Tabs,
    controls: Controls,
    inspector: Inspector,
    code: gr.Radio,
    cancellations: Cancellations,
) -> None:
    """Connect the tab; `code` is the language switch. What is abandoned in `cancellations` ends unseen."""
    on = SearchHandlers(host, model, tab, tabs, controls, inspector, code, gr.State(0), cancellations)
    shown: set[Component] = {tab.result, tab.metric, code, model}
    inputs = shown | inspector.inputs | controls.panes.inputs
    outputs = (
        inspector.outputs
        | controls.panes.outputs
        | {
            controls.early_norm,
            controls.prompt,
            controls.mode,
            tabs,
            tab.notice,
        }
    )
    tab.metric.input(on.show_metric, shown, [tab.curve, tab.notice], **QUICK)
    tab.back.click(on.show_shipped, {code, model}, tab.outputs, **QUICK)
    code.change(on.translate, shown, tab.outputs, **QUICK)
    tab.best.click(on.take_best, inputs, outputs, **QUICK)
    tab.curve.select(on.take_point, inputs, outputs, **EVERY_CLICK)
    tab.harmed.select(on.open_question("baseline"), inputs, outputs, **EVERY_CLICK)
    tab.mended.select(on.open_question("dola"), inputs, outputs, **EVERY_CLICK)
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    asked = {code, on.number, model}
    for listen, search, given in (
        (tab.upload.upload, on.search, asked | {tab.upload, tab.limit}),
        (tab.trial.click, on.search_trial, asked),
    ):
        searched = listen(on.acknowledge, [code], [on.number, tab.notice, tab.stop], **at_once).then(
            search,
            given,
            tab.outputs,
            concurrency_limit=host.queue.most + SPARE,
            concurrency_id="model",
            trigger_mode="multiple",  # else one that is asked for while a search still ends would be dropped
            **SILENT,
        )
        searched.then(on.show_result, shown, tab.outputs, **EVERY_CLICK).then(on.end, None, [tab.stop], **EVERY_CLICK)
    tab.stop.click(on.stop, **at_once)
