"""What happens on the tab where j* is chosen: settings are taken, questions opened, a visitor's own measured."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from app.compare_tab.controls import Controls
from app.compare_tab.inspector import Inspector
from app.inputs.question_file import MOST, questions_of, search_config
from app.jobs.cancellation import Cancellations
from app.jobs.engine_pool import Loading, ModelFacts
from app.jobs.failures import failure_sentence
from app.jobs.host import Host
from app.jobs.layer_search import SearchUpdate, run_search
from app.jobs.request import CHAT, COMPLETE
from app.jobs.run_queue import SPARE, Waiting
from app.language import Language, language
from app.render.figures import curve_card
from app.render.search_summary import errors_of
from app.search_tab.components import SearchTab
from app.ui.events import EVERY_CLICK, QUICK, SILENT, Changes, event_data
from dola_core.decoding.engine import Engine
from dola_core.layer_search.answers.scoring import ScoringConfig
from dola_core.layer_search.search_config import SearchConfig
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
        return self.tab.show(values[self.tab.result], None, self.words(values))

    def show_shipped(self, values: Changes) -> Changes:
        """Show the shipped questions again, after a visitor's own."""
        facts = self._facts(values)
        return self.tab.show(facts.known.search, None, self.words(values)) | {self.tab.notice: None}

    def translate(self, values: Changes) -> Changes:
        """Put the tab into another language."""
        words, tab = self.words(values), self.tab
        return tab.show(values[tab.result], values[tab.metric], words) | tab.translated(words)

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
        alpha = max(alpha, ALPHA_MIN)
        note = self.words(values)("search.taken", layer=layer, alpha=f"{alpha:g}")
        return self._compare_at(values, layer, alpha) | {self.tab.notice: {"text": note, "tone": ""}}

    def _compare_at(self, values: Changes, layer: int, alpha: float) -> Changes:
        """The comparison's controls at a setting, and the trace that is shown there as it would be with it."""
        controls, inspector = self.controls, self.inspector
        inspection = inspector.inspection(values, layer, alpha)
        own = {
            controls.layer: controls.layers(self._facts(values).n_layers, self.words(values), value=layer),
            controls.alpha: alpha,
            controls.early_norm: values[self.tab.result].asked.rule.early_norm,
        }
        if inspection is None:
            return own
        return own | inspector.shown(inspection) | controls.at(inspection.trace, inspection.view)

    def _unchanged(self) -> Changes:
        return {self.tab.notice: gr.skip()}

    # A visitor's own questions

    def acknowledge(self, code: str, visitor: gr.Request) -> Changes:
        """Answer an upload at once, without the queue, so that a visitor who has to wait sees that it counted."""
        waiting = {"text": language(code)("page.waiting"), "tone": "busy"}
        return {self.number: self.cancellations.register(str(visitor.session_hash)), self.tab.notice: waiting}

    def stop(self, visitor: gr.Request) -> None:
        """Cancel the visitor's searches."""
        self.cancellations.cancel(str(visitor.session_hash))

    def search(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Measure an uploaded file of questions, in the visitor's turn."""
        words, file = self.words(values), values[self.tab.upload]
        session, number = str(visitor.session_hash), values[self.number]

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
            items = questions[:MOST]
            config = search_config(items, ScoringConfig(early_norm=self._facts(values).preset.early_norm))
            start = self._starter(items, config, Path(file).name, sha256, cancelled)
            updates = self.host.in_turn(session, values[self.model], start, cancelled)
            for changes in self._stream(updates, len(questions), words, cancelled):
                if abandoned():
                    return
                yield changes
        except Exception as error:  # whatever it is, the visitor gets a sentence
            sentence = failure_sentence(error, "search", self.host.pool.release, words)
            if not abandoned():
                yield self._failed(sentence)

    def _starter(
        self, items: list[Any], config: SearchConfig, name: str, sha256: str, cancelled: Callable[[], bool]
    ) -> Callable[[Engine], Generator[SearchUpdate, None, None]]:
        limits = self.host.limits
        return lambda engine: run_search(engine, items, config, name, sha256, limits, True, cancelled=cancelled)

    def _stream(
        self,
        updates: Generator[Waiting | Loading | SearchUpdate, None, None],
        held: int,
        words: Language,
        cancelled: Callable[[], bool],
    ) -> Iterator[Changes]:
        """The queue position, the curve while it is measured, and the result at its end or where it was cancelled."""
        last: SearchUpdate | None = None
        with closing(updates):
            for update in updates:
                if isinstance(update, Waiting | Loading):
                    yield self._busy(update.message(words))
                    continue
                last = update
                if update.finished or cancelled():
                    break
                progress = words("search.reading", done=update.done, of=update.of)
                curve = curve_card(update.result, update.result.asked.metric, words)
                shown: Changes = {self.tab.curve: curve, self.tab.charts: gr.Column(visible=True)}
                yield shown | self._busy(progress)
        if last is None:  # cancelled before its turn
            yield {self.tab.notice: None}
            return
        text = self._summary(last, held, words, stopped=cancelled())
        yield {self.tab.result: last.result, self.tab.notice: {"text": text, "tone": ""} if text else None}

    def _summary(self, last: SearchUpdate, held: int, words: Language, *, stopped: bool) -> str:
        """What was left out of a search: questions that were not read before it ended, or that were too many."""
        data, halt = last.result.data, last.halt or ("stopped" if stopped else None)
        if halt:
            text = words("search.kept", done=data.items, of=data.of)
            return text + (f" {words('error.time', seconds=self.host.limits.seconds)}" if halt == "time" else "")
        return words("search.cut", done=data.of, of=f"{held:,}") if held > data.of else ""

    def _facts(self, values: Changes) -> ModelFacts:
        """The facts of the chosen model, or of the first one as long as it is not loaded."""
        return self.host.pool.facts(values[self.model]) or self.host.pool.first

    def _busy(self, text: str) -> Changes:
        return {self.tab.notice: {"text": text, "tone": "busy"}}

    def _failed(self, sentence: str) -> Changes:
        return {self.tab.notice: {"text": sentence, "tone": "error"}}


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
    shown: set[Component] = {tab.result, tab.metric, code}
    inputs = shown | inspector.inputs | {model}
    outputs = inspector.outputs | {
        controls.layer,
        controls.alpha,
        controls.early_norm,
        controls.prompt,
        controls.mode,
        tabs,
        tab.notice,
    }
    tab.metric.input(on.show_metric, shown, [tab.curve, tab.notice], **QUICK)
    tab.back.click(on.show_shipped, {code, model}, tab.outputs, **QUICK)
    code.change(on.translate, shown, tab.outputs, **QUICK)
    tab.best.click(on.take_best, inputs, outputs, **QUICK)
    tab.curve.select(on.take_point, inputs, outputs, **EVERY_CLICK)
    tab.harmed.select(on.open_question("baseline"), inputs, outputs, **EVERY_CLICK)
    tab.mended.select(on.open_question("dola"), inputs, outputs, **EVERY_CLICK)
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    uploaded = tab.upload.upload(on.acknowledge, [code], [on.number, tab.notice], **at_once)
    searched = uploaded.then(
        on.search,
        {tab.upload, code, on.number, model},
        tab.outputs,
        concurrency_limit=host.queue.most + SPARE,
        concurrency_id="model",
        trigger_mode="multiple",  # else a file that is uploaded while a search still ends would be dropped
        **SILENT,
    )
    searched.then(on.show_result, shown, tab.outputs, **EVERY_CLICK)
    tab.stop.click(on.stop, **at_once)
