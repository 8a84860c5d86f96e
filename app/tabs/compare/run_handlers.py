"""Runs on the page: Compare, running on from a step, forcing a token, and Stop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from app.jobs.comparison import run, run_on
from app.jobs.host import Host
from app.jobs.queue.cancellation import Cancellations
from app.jobs.queue.run_queue import SPARE
from app.jobs.request import RequestError, rows_of, texts_of
from app.language import language
from app.render.inspection import Inspection
from app.sharing.link import SharedLink
from app.tabs.compare.controls import Controls
from app.tabs.compare.inspector import Inspector
from app.tabs.compare.run_updates import AskedRun, RunChanges, RunUpdates, at_fork
from app.ui.components import NO_IMAGE, Notice
from app.ui.events import EVERY_CLICK, SILENT, Changes
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
    updates: RunUpdates

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

    def end(self, values: Changes, visitor: gr.Request) -> Changes:
        """Compare in the place of Stop, unless another run of the visitor goes on, and all steps in the charts."""
        is_idle = self.cancellations.end(str(visitor.session_hash))
        return self.updates.redrawn(values) | (self.controls.running(runs=False) if is_idle else {})

    def stop(self, visitor: gr.Request) -> None:
        """Cancel the visitor's runs."""
        self.cancellations.cancel(str(visitor.session_hash))

    def compare(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Run what the controls ask for."""
        words = self.inspector.words(values)
        facts = self.host.pool.facts(values[self.model]) or self.host.pool.first
        try:
            image = values[self.controls.image] if facts.reads_images else NO_IMAGE
            request = self.controls.request(values, facts.n_layers, image)
        except RequestError as error:
            yield self.updates.refused(error, values, self.inspector.notice)
            return
        settings, cancelled = self.controls.settings(values), self._is_cancelled(values, visitor)
        job = partial(run, request=request, limits=self.host.limits)
        opens_at, at = self._opens_at(values, settings), self.inspector.notice
        asked = AskedRun(job, request.rows, [], words("page.start"), at, opens_at, cancelled)
        for changes, trace, finished in self._play(asked, values, visitor):
            if trace is None:
                yield changes | self._replaced(changes)
                continue
            verdict = self._verdict(values, settings, trace) if finished else ""
            noted = self.inspector.noted(words(verdict)) if verdict else {}
            yield changes | {self.states.shown_settings: settings} | noted

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
        if trace.unrecorded:
            yield inspector.failed(view.words("error.recording", left=trace.unrecorded), at_bar=True)
            return
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
        cancelled = self._is_cancelled(values, visitor)
        image = values[self.controls.image].url if trace.images else ""
        goes_on = {"lanes": lanes, "lane": view.lane, "index": view.index, "token": forced, "image": image}
        job = partial(run_on, trace=trace, limits=self.host.limits, **goes_on)
        texts = texts_of(lanes, image=bool(trace.images))
        rows, trail = rows_of(texts, trace.decoding.num_beams), values[inspector.trail]
        asked = AskedRun(job, rows, trail, label, inspector.bar_notice, at_fork, cancelled)
        for changes, *_ in self._play(asked, values, visitor):
            yield changes | self._replaced(changes)

    def _play(self, asked: AskedRun, values: Changes, visitor: gr.Request) -> Iterator[RunChanges]:
        """The changes of the page by one run, unless it is abandoned.

        If another run was asked for meanwhile, the notices are its own.
        """
        inspector, notices = self.inspector, {self.inspector.notice, self.inspector.bar_notice}
        abandoned, number, is_open = self._is_abandoned(values, visitor), values[self.states.number], False
        for shown in self.updates.of(asked, values, visitor):
            if abandoned():
                return
            changes = shown.changes
            if number and not self.cancellations.is_last(str(visitor.session_hash), number):
                if is_open:  # what is still recorded of it must not come over the other
                    return
                changes = {part: value for part, value in changes.items() if part not in notices}
            is_open = is_open or shown.trace is not None
            yield shown._replace(changes=changes or inspector.unchanged())

    def _verdict(self, values: Changes, settings: dict[str, Any], trace: Trace) -> str:
        """What a run says about the link that brought the visitor, as a language key, or ""."""
        link: SharedLink | None = values[self.states.shared]
        return link.verdict(settings, trace.digest) if link else ""

    def _opens_at(self, values: Changes, settings: dict[str, Any]) -> Callable[[Trace], int]:
        """Where a run is opened: at the step that a link names if its text is the shared one, else where texts part."""
        link: SharedLink | None = values[self.states.shared]

        def index(trace: Trace) -> int:
            is_shared = link is not None and self._verdict(values, settings, trace) == "page.same_text"
            return link.step - 1 if link is not None and is_shared else at_fork(trace)

        return index

    def _replaced(self, changes: Changes) -> Changes:
        """Once something else is shown, its settings are not the controls' any more; a run that waits shows nothing."""
        return (
            {self.states.shown_settings: None} if {self.inspector.lanes, self.inspector.trail} & changes.keys() else {}
        )

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
) -> Callable[[gr.events.Dependency], None]:
    """Connect what starts and ends a run. Who abandons runs in `cancellations`, lets them end unseen.

    Returns what makes a run of the present controls follow on another event.
    """
    states = RunStates(shared, shown_settings, gr.State(0), gr.State(""))
    updates = RunUpdates(host, model, controls, inspector, gr.State(False))
    on = RunHandlers(host, model, controls, inspector, states, cancellations, updates)
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    switched = [controls.compare, controls.stop]
    inputs = controls.inputs | inspector.inputs | {controls.image, states.number, states.asked_on, shared, model}
    outputs = inspector.outputs | controls.panes.outputs | {shown_settings, updates.grown}
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
    looked = on.inspector.inputs | on.controls.panes.inputs | {on.updates.grown}
    switched = {on.controls.compare, on.controls.stop}
    ran.then(on.end, looked, on.inspector.drawn_parts | switched | {on.updates.grown}, **EVERY_CLICK)
