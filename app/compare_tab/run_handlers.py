"""Runs on the page: Compare, running on from a step, forcing a token, and Stop."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app.compare_tab.controls import Controls
from app.compare_tab.inspector import Crumb, Inspector
from app.jobs.cancellation import Cancellations
from app.jobs.comparison import ComparisonUpdate, run, run_on
from app.jobs.engine_pool import Loading
from app.jobs.failures import failure_sentence
from app.jobs.host import Host
from app.jobs.request import RequestError
from app.jobs.run_queue import SPARE, Waiting
from app.language import Language, VisitorError, language
from app.render.inspection import Inspection
from app.render.token_text import token
from app.sharing.link import SharedLink
from app.ui.events import SILENT, Changes
from dola_core.decoding.engine import Engine
from dola_core.trace.schema import Trace
from dola_core.trace.what_if import static_lane


@dataclass(frozen=True)
class RunStates:
    """What the page remembers about a visitor's runs."""

    shared: gr.State
    """The `SharedLink` that brought the visitor, or None."""
    shown_settings: gr.State
    """The control values that the shown trace was run with; None if it was opened, halted, or run on from another."""
    number: gr.State
    """The number of the last run asked for, by which it can be cancelled."""
    asked_on: gr.State
    """The digest of the trace that was shown when a run on from it was asked for."""


@dataclass(frozen=True)
class RunHandlers:
    """What happens when a visitor starts or stops a run. Runs wait in the host's queue."""

    host: Host
    model: gr.Dropdown
    controls: Controls
    inspector: Inspector
    states: RunStates
    cancellations: Cancellations

    def acknowledge(self, code: str, trace: Trace | None, visitor: gr.Request) -> Changes:
        """Answer at once, without the queue, so that a visitor who has to wait sees that the click counted."""
        return {
            self.states.number: self.cancellations.register(str(visitor.session_hash)),
            self.states.asked_on: trace.digest if trace else "",
            self.inspector.notice: {"text": language(code)("page.waiting"), "tone": "busy"},
        }

    def stop(self, visitor: gr.Request) -> None:
        """Cancel the visitor's runs."""
        self.cancellations.cancel(str(visitor.session_hash))

    def compare(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Run what the controls ask for."""
        words = self.inspector.words(values)
        try:
            request = self.controls.request(values)
        except RequestError as error:
            yield self._refused(error, values)
            return
        settings = self.controls.settings(values)

        def start(engine: Engine) -> Generator[ComparisonUpdate, None, None]:
            return run(engine, request, self.host.limits, cancelled=self._is_cancelled(values, visitor))

        for changes, trace in self._play(start, [], words("page.start"), values, visitor):
            yield changes | (self._replaced(changes) if trace is None else self._compared(values, settings, trace))

    def run_on_here(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Run on from the step that is looked at."""
        yield from self._run_on(values, visitor, None)

    def force_here(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Run on with the token that was pinned last instead of the one that was chosen."""
        yield from self._run_on(values, visitor, lambda inspection: inspection.forced)

    def _run_on(
        self, values: Changes, visitor: gr.Request, token_of: Callable[[Inspection], int | None] | None
    ) -> Iterator[Changes]:
        """Run on from the step that is looked at, after the token that `token_of` names there, if it is given."""
        inspector = self.inspector
        inspection = inspector.inspection(values, values[self.controls.layer], values[self.controls.alpha])
        if inspection is None:
            yield inspector.failed(inspector.words(values)("error.nothing_to_go_on"))
            return
        trace, view = inspection.trace, inspection.view
        forced = token_of(inspection) if token_of else None
        if trace.digest != values[self.states.asked_on] or (token_of and forced is None):
            yield {inspector.notice: None}  # a second click: what it was meant for is no longer shown
            return
        label = f"{view.words('inspector.step')} {view.index + 1}"
        label += "" if forced is None else f" → {token(trace, forced)}"

        def start(engine: Engine) -> Generator[ComparisonUpdate, None, None]:
            return run_on(
                engine,
                trace,
                lane=view.lane,
                index=view.index,
                layer=view.layer,
                alpha=view.alpha,
                token=forced,
                limits=self.host.limits,
                cancelled=self._is_cancelled(values, visitor),
            )

        for changes, _ in self._play(start, values[inspector.trail], label, values, visitor):
            yield changes | self._replaced(changes)

    def _play(
        self,
        start: Callable[[Engine], Generator[ComparisonUpdate, None, None]],
        trail: list[Crumb],
        label: str,
        values: Changes,
        visitor: gr.Request,
    ) -> Iterator[tuple[Changes, Trace | None]]:
        """Yield page updates for one run: queue position, streamed text, then the full view at the first differing
        token. The second value is the trace once the run is finished."""
        inspector, words, last = self.inspector, self.inspector.words(values), None
        cancelled, abandoned = self._is_cancelled(values, visitor), self._is_abandoned(values, visitor)

        def said(update: ComparisonUpdate) -> Changes:
            """What was not read of the prompt."""
            return inspector.noted(words("page.unread", texts=update.unread)) if update.unread else {}

        try:
            updates = self.host.in_turn(str(visitor.session_hash), values[self.model], start, cancelled)
            with closing(updates):
                for update in updates:
                    if abandoned():
                        return
                    if isinstance(update, Waiting):
                        if not update.behind_own:  # else the page shows the visitor's own run that is under way
                            yield {inspector.notice: {"text": update.message(words), "tone": "busy"}}, None
                        continue
                    if isinstance(update, Loading):
                        yield {inspector.notice: {"text": update.message(words), "tone": "busy"}}, None
                        continue
                    last = update
                    if last.finished:
                        yield self._at_end(values, [*trail, Crumb(label, last.trace)]) | said(last), last.trace
                    elif last.halt or cancelled():
                        ended = [*trail, Crumb(label, last.trace.stopped())]
                        yield self._at_end(values, ended) | said(last) | self._halt_notice(last, words), None
                        return
                    else:
                        note = words(last.note, **last.values) if last.note else ""
                        yield inspector.streaming(last.trace, note, inspector.view(values, 1, 1.0)), None
            if last is None and not abandoned():  # cancelled before its turn
                yield {inspector.notice: None}, None
        except VisitorError as error:
            if not abandoned():
                yield self._refused(error, values), None
        except Exception as error:  # whatever it is, the visitor gets a sentence
            sentence = failure_sentence(error, "comparison", self.host.pool.release, words)
            if not abandoned():
                kept = self._at_end(values, [*trail, Crumb(label, last.trace.stopped())]) if last else {}
                yield kept | inspector.failed(sentence), None

    def _at_end(self, values: Changes, trail: list[Crumb]) -> Changes:
        """The last run of a trail with its own settings, where its texts part."""
        trace = trail[-1].trace
        lane = static_lane(trace)
        view = self.inspector.view(values, lane.layer, lane.alpha)
        view = replace(view, lane=1, index=trace.fork or 0, pinned=())
        return self.inspector.finished(trail, view) | self.controls.at(trace, view)

    def _compared(self, values: Changes, settings: dict[str, Any], trace: Trace) -> Changes:
        """After a finished run: what it says about the link that brought the visitor, opened at the step it names."""
        ran, inspector = {self.states.shown_settings: settings}, self.inspector
        link: SharedLink | None = values[self.states.shared]
        verdict = link.verdict(settings, trace.digest) if link else ""
        if link is None or not verdict:
            return ran
        note = inspector.noted(inspector.words(values)(verdict)) | ran
        if verdict != "page.same_text":
            return note
        lane = static_lane(trace)
        view = replace(inspector.view(values, lane.layer, lane.alpha), lane=1, index=link.step - 1, pinned=())
        inspection = Inspection.of(trace, view)
        return (inspector.shown(inspection) if inspection else {}) | note

    def _replaced(self, changes: Changes) -> Changes:
        """Once something else is shown, its settings are not the controls' any more; a run that waits shows nothing."""
        return {self.states.shown_settings: None} if self.inspector.lanes in changes else {}

    def _halt_notice(self, last: ComparisonUpdate, words: Language) -> Changes:
        """Why a run ended, if its visitor did not stop it."""
        if last.halt == "time":
            return self.inspector.failed(words("error.time", seconds=self.host.limits.seconds))
        if last.halt == "broken":
            longest = max(len(last.trace.lane_ids(lane)) for lane in (0, 1))
            return self.inspector.failed(words("error.broken", step=1 + longest))
        return {}

    def _refused(self, error: VisitorError, values: Changes) -> Changes:
        words = self.inspector.words(values)
        facts = self.host.pool.facts(values[self.model])
        own = self.controls.own_layers(facts.n_layers, values, words) if facts else {}
        return self.inspector.failed(error.message(words)) | own

    def _is_cancelled(self, values: Changes, visitor: gr.Request) -> Callable[[], bool]:
        session, number = str(visitor.session_hash), values[self.states.number]
        return lambda: self.cancellations.is_cancelled(session, number)

    def _is_abandoned(self, values: Changes, visitor: gr.Request) -> Callable[[], bool]:
        session, number = str(visitor.session_hash), values[self.states.number]
        return lambda: self.cancellations.is_abandoned(session, number)


def wire_runs(
    host: Host,
    model: gr.Dropdown,
    controls: Controls,
    inspector: Inspector,
    shared: gr.State,
    shown_settings: gr.State,
    cancellations: Cancellations,
) -> None:
    """Connect what starts and ends a run. Who abandons runs in `cancellations`, lets them end unseen."""
    states = RunStates(shared, shown_settings, gr.State(0), gr.State(""))
    on = RunHandlers(host, model, controls, inspector, states, cancellations)
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    acknowledged = [states.number, states.asked_on, inspector.notice]
    inputs = controls.inputs | inspector.inputs | {states.number, states.asked_on, shared, model}
    outputs = inspector.outputs | {controls.layer, controls.alpha, shown_settings}
    for triggers, handler in (
        ([controls.compare.click, controls.prompt.submit], on.compare),
        ([inspector.run_on.click], on.run_on_here),
        ([inspector.force.click], on.force_here),
    ):
        click = gr.on(triggers, on.acknowledge, [inspector.language, inspector.trace], acknowledged, **at_once)
        click.then(
            handler,
            inputs,
            outputs,
            concurrency_limit=host.queue.most + SPARE,
            concurrency_id="model",
            trigger_mode="multiple",  # else a click while the last run still ends would be dropped
            **SILENT,
        )
    controls.stop.click(on.stop, **at_once)
