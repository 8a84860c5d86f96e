"""Runs on the page: Compare, running on from a step, forcing a token, and Stop."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component

from app.jobs.comparison import ComparisonUpdate, run, run_on
from app.jobs.engine_pool import Loading
from app.jobs.failures import failure_sentence
from app.jobs.host import Host
from app.jobs.queue.cancellation import Cancellations
from app.jobs.queue.run_queue import SPARE, Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.request import RequestError, rows_of
from app.jobs.zero_gpu import ZERO_GPU
from app.language import Language, VisitorError, language
from app.render.inspection import Inspection, lane_name
from app.render.sentences import ended_at_once
from app.sharing.link import SharedLink
from app.tabs.compare.controls import Controls
from app.tabs.compare.inspector import Crumb, Inspector
from app.ui.components import Notice
from app.ui.events import EVERY_CLICK, SILENT, Changes
from dola_core.decoding.engine import Engine
from dola_core.trace.schema import Trace
from dola_core.trace.token_text import token


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

    def acknowledge(self, at: Notice) -> Callable[[str, Trace | None, gr.Request], Changes]:
        """The handler that answers at once, without the queue, so that a visitor sees that the click counted.

        `at` is the notice next to the button.
        """

        def handler(code: str, trace: Trace | None, visitor: gr.Request) -> Changes:
            return {
                self.states.number: self.cancellations.register(str(visitor.session_hash)),
                self.states.asked_on: trace.digest if trace else "",
                at: {"text": language(code)("page.waiting"), "tone": "busy"},
                **self.controls.running(runs=True),
            }

        return handler

    def end(self, visitor: gr.Request) -> Changes:
        """Compare in the place of Stop, unless another run of the visitor goes on."""
        is_idle = self.cancellations.end(str(visitor.session_hash))
        return self.controls.running(runs=False) if is_idle else {self.controls.compare: gr.skip()}

    def stop(self, visitor: gr.Request) -> None:
        """Cancel the visitor's runs."""
        self.cancellations.cancel(str(visitor.session_hash))

    def compare(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Run what the controls ask for."""
        words = self.inspector.words(values)
        facts = self.host.pool.facts(values[self.model]) or self.host.pool.first
        try:
            request = self.controls.request(values, facts.n_layers)
        except RequestError as error:
            yield self._refused(error, values, self.inspector.notice)
            return
        settings = self.controls.settings(values)

        def start(engine: Engine) -> Generator[ComparisonUpdate, None, None]:
            return run(engine, request, self.host.limits, cancelled=self._is_cancelled(values, visitor))

        played = self._play(start, request.rows, [], words("page.start"), values, visitor, self.inspector.notice)
        for changes, trace in played:
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
        inspector, panes = self.inspector, self.controls.panes
        inspection = inspector.inspection(values, panes.seen(values))
        if inspection is None:
            yield inspector.failed(inspector.words(values)("error.nothing_to_go_on"), at_bar=True)
            return
        trace, view = inspection.trace, inspection.view
        try:
            added = panes.lanes(values, trace.model.n_layers)[len(inspection.shown) :]
        except RequestError as error:
            yield inspector.failed(error.message(view.words), at_bar=True)
            return
        lanes = [*inspection.now, *added]
        forced = token_of(inspection) if token_of else None
        if trace.digest != values[self.states.asked_on] or (token_of and forced is None):
            yield {inspector.bar_notice: None}  # a second click: what it was meant for is no longer shown
            return
        label = view.words("page.from_step", step=view.index + 1)
        label += "" if forced is None else f" → {token(trace, forced)}"

        def start(engine: Engine) -> Generator[ComparisonUpdate, None, None]:
            return run_on(
                engine,
                trace,
                lanes=lanes,
                lane=view.lane,
                index=view.index,
                token=forced,
                limits=self.host.limits,
                cancelled=self._is_cancelled(values, visitor),
            )

        rows = rows_of(len(lanes), trace.decoding.num_beams)
        played = self._play(start, rows, values[inspector.trail], label, values, visitor, inspector.bar_notice)
        for changes, _ in played:
            yield changes | self._replaced(changes)

    def _play(
        self,
        start: Callable[[Engine], Generator[ComparisonUpdate, None, None]],
        rows: int | None,
        trail: list[Crumb],
        label: str,
        values: Changes,
        visitor: gr.Request,
        at: Notice,
    ) -> Iterator[tuple[Changes, Trace | None]]:
        """Yield page updates for one run: queue position, streamed text, then the full view at the first differing
        token. The second value is the trace once the run is finished; `at` is the notice that says how it goes.

        If another run was asked for meanwhile, the notices are its own.
        """
        inspector, notices = self.inspector, {self.inspector.notice, self.inspector.bar_notice}
        abandoned, number = self._is_abandoned(values, visitor), values[self.states.number]
        for changes, trace in self._updates(start, rows, trail, label, values, visitor, at):
            if abandoned():
                return
            if number and not self.cancellations.is_last(str(visitor.session_hash), number):
                changes = {part: value for part, value in changes.items() if part not in notices}
            yield changes or inspector.unchanged(), trace

    def _updates(
        self,
        start: Callable[[Engine], Generator[ComparisonUpdate, None, None]],
        rows: int | None,
        trail: list[Crumb],
        label: str,
        values: Changes,
        visitor: gr.Request,
        at: Notice,
    ) -> Iterator[tuple[Changes, Trace | None]]:
        """What `_play` yields, whatever else the visitor has asked for."""
        inspector, words, last = self.inspector, self.inspector.words(values), None
        cancelled = self._is_cancelled(values, visitor)

        def busy(text: str) -> Changes:
            return {at: {"text": text, "tone": "busy"}}

        try:
            updates = self.host.in_turn(Visitor.of(visitor), values[self.model], start, cancelled, rows=rows)
            with closing(updates):
                for update in updates:
                    if isinstance(update, Waiting):
                        if not update.behind_own:  # else the page shows the visitor's own run that is under way
                            yield busy(update.message(words)), None
                        continue
                    if isinstance(update, Loading):
                        yield busy(update.message(words)), None
                        continue
                    last = update
                    if last.finished:
                        shown = self._at_end(values, [*trail, Crumb(label, last.trace)])
                        yield shown | self._said(last, values, at), last.trace
                    elif last.halt or (ZERO_GPU and cancelled()):  # there a run does not learn of it
                        ended = [*trail, Crumb(label, last.trace.stopped())]
                        note = self._said(last, values, at) | self._halt_notice(last, words, at)
                        yield self._at_end(values, ended) | note, None
                        return
                    else:
                        told = busy(_progress(last, words))
                        yield inspector.streaming(last, inspector.view(values, ())) | told, None
            if last is None:  # cancelled before its turn
                yield {at: None}, None
        except VisitorError as error:
            yield self._refused(error, values, at), None
        except Exception as error:  # whatever it is, the visitor gets a sentence
            sentence = failure_sentence(error, "comparison", self.host.pool.release, words)
            kept = self._at_end(values, [*trail, Crumb(label, last.trace.stopped())]) if last else {}
            yield kept | _failed(sentence, at), None

    def _said(self, update: ComparisonUpdate, values: Changes, at: Notice) -> Changes:
        """What a visitor should know of a run that has ended: what was not read of the prompt, why a text is empty."""
        words, trace = self.inspector.words(values), update.trace
        if update.unread:
            return {at: {"text": words("page.unread", texts=update.unread), "tone": ""}}
        facts = self.host.pool.facts(values[self.model])
        can_chat = bool(facts and facts.has_chat_template and not trace.chat)
        inspection = Inspection.of(trace, self.inspector.view(values, trace.lanes))
        text = ended_at_once(inspection, can_chat=can_chat) if inspection else ""
        if not text and trace.prompt.endswith(" ") and not trace.chat:
            text = words("page.ends_in_space")
        return {at: {"text": text, "tone": ""}} if text else {}

    def _at_end(self, values: Changes, trail: list[Crumb]) -> Changes:
        """The last run of a trail with its own settings, where its texts part."""
        trace = trail[-1].trace
        view = replace(self.inspector.view(values, trace.lanes), lane=1, index=trace.fork or 0, pinned=())
        return self.inspector.finished(trail, view) | self.controls.at(Inspection(trace, view), values)

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
        view = replace(inspector.view(values, trace.lanes), lane=1, index=link.step - 1, pinned=())
        inspection = Inspection.of(trace, view)
        return (inspector.shown(inspection) if inspection else {}) | note

    def _replaced(self, changes: Changes) -> Changes:
        """Once something else is shown, its settings are not the controls' any more; a run that waits shows nothing."""
        return {self.states.shown_settings: None} if self.inspector.lanes in changes else {}

    def _halt_notice(self, last: ComparisonUpdate, words: Language, at: Notice) -> Changes:
        """Why a run ended, if its visitor did not stop it."""
        if last.halt == "time":
            return _failed(words("error.time", seconds=self.host.limits.seconds), at)
        if last.halt == "broken":
            longest = max(len(last.trace.lane_ids(lane)) for lane in range(len(last.trace.lanes)))
            return _failed(words("error.broken", step=1 + longest), at)
        return {}

    def _refused(self, error: VisitorError, values: Changes, at: Notice) -> Changes:
        words = self.inspector.words(values)
        facts = self.host.pool.facts(values[self.model])
        own = self.controls.panes.ranges(values, facts.n_layers, words) if facts else {}
        return _failed(error.message(words), at) | own

    def _is_cancelled(self, values: Changes, visitor: gr.Request) -> Callable[[], bool]:
        session, number = str(visitor.session_hash), values[self.states.number]
        return lambda: self.cancellations.is_cancelled(session, number)

    def _is_abandoned(self, values: Changes, visitor: gr.Request) -> Callable[[], bool]:
        session, number = str(visitor.session_hash), values[self.states.number]
        return lambda: self.cancellations.is_abandoned(session, number)


def _progress(update: ComparisonUpdate, words: Language) -> str:
    """How far a run is that has no tokens to show yet."""
    called = {lane.name: lane_name(lane, words) for lane in update.trace.lanes}
    values = {name: called.get(str(value), value) if name == "lane" else value for name, value in update.values.items()}
    return words(update.note, **values) if update.note else ""


def _failed(sentence: str, at: Notice) -> Changes:
    """One sentence instead of what was asked for; what is on the page stays."""
    return {at: {"text": sentence, "tone": "error"}}


def wire_runs(
    host: Host,
    model: gr.Dropdown,
    controls: Controls,
    inspector: Inspector,
    shared: gr.State,
    shown_settings: gr.State,
    cancellations: Cancellations,
) -> Callable[[gr.events.Dependency], None]:
    """Connect what starts and ends a run. Who abandons runs in `cancellations`, lets them end unseen.

    Returns what makes a run of the present controls follow on another event.
    """
    states = RunStates(shared, shown_settings, gr.State(0), gr.State(""))
    on = RunHandlers(host, model, controls, inspector, states, cancellations)
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    switched = [controls.compare, controls.stop]
    inputs = controls.inputs | inspector.inputs | {states.number, states.asked_on, shared, model}
    outputs = inspector.outputs | controls.panes.outputs | {shown_settings}
    for triggers, handler, at in (
        ([controls.compare.click, controls.prompt.submit, inspector.lanes.submit], on.compare, inspector.notice),
        ([inspector.run_on.click], on.run_on_here, inspector.bar_notice),
        ([inspector.force.click], on.force_here, inspector.bar_notice),
    ):
        acknowledged = [states.number, states.asked_on, at, *switched]
        asked = gr.on(triggers, on.acknowledge(at), [inspector.language, inspector.trace], acknowledged, **at_once)
        _run_then(asked, on, handler, inputs, outputs)
    controls.stop.click(on.stop, **at_once)

    def compare_after(event: gr.events.Dependency) -> None:
        acknowledged = [states.number, states.asked_on, inspector.notice, *switched]
        handler, of = on.acknowledge(inspector.notice), [inspector.language, inspector.trace]
        _run_then(event.then(handler, of, acknowledged, **at_once), on, on.compare, inputs, outputs)

    return compare_after


def _run_then(
    asked: gr.events.Dependency,
    on: RunHandlers,
    handler: Callable[..., Any],
    inputs: set[Component],
    outputs: set[Component],
) -> None:
    """After a run was asked for, run it, and put Compare back in its place whatever has become of it."""
    ran = asked.then(
        handler,
        inputs,
        outputs,
        concurrency_limit=on.host.queue.most + SPARE,
        concurrency_id="model",
        trigger_mode="multiple",  # else a click while the last run still ends would be dropped
        **SILENT,
    )
    ran.then(on.end, None, [on.controls.compare, on.controls.stop], **EVERY_CLICK)
