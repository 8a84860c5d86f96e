"""Runs on the page: Compare, going on from a step, forcing a token, and Stop."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr

from app.compare_tab.controls import Changes, Controls
from app.compare_tab.inspector import Crumb, Inspector
from app.jobs.cancellation import Stops
from app.jobs.comparison import Limits, RequestError, Update, run, run_on
from app.jobs.run_queue import SPARE, Line
from app.language import Language, VisitorError, language
from app.render.token_text import token
from app.sharing.link import Shared
from app.ui.events import SILENT
from dola_core.models.loading import LoadedModel, out_of_memory
from dola_core.trace.schema import Trace

LOG = logging.getLogger(__name__)


def wire_runs(
    loaded: LoadedModel,
    limits: Limits,
    line: Line,
    ask: Controls,
    view: Inspector,
    shared: gr.State,
    ran: gr.State,
) -> None:
    """Wire what starts and ends a run; runs wait in `line`.

    `ran` gets what the run that is shown was asked for, as long as it is whole and was asked for by the controls;
    `shared` holds what the link said that brought the visitor.
    """
    stops, ticket, seen_digest = Stops(), gr.State(0), gr.State("")

    def hear(code: str, trace: Trace | None, visitor: gr.Request) -> Changes:
        waiting = {"text": language(code)("page.waiting"), "tone": "busy"}
        return {
            ticket: stops.ticket(str(visitor.session_hash)),
            seen_digest: trace.digest if trace else "",
            view.notice: waiting,
        }

    def stop(visitor: gr.Request) -> None:
        stops.stop(str(visitor.session_hash))

    def stopper(values: Changes, visitor: gr.Request) -> Callable[[], bool]:
        """Whether this run was stopped by its visitor."""
        session, number = str(visitor.session_hash), values[ticket]
        return lambda: stops.stopped(session, number)

    def play(
        updates: Iterator[Update], trail: list[Crumb], label: str, values: Changes, visitor: gr.Request
    ) -> Iterator[tuple[Changes, Trace | None]]:
        """Show a run in line, while it is written and at its end, where the texts part; with the trace once it is
        finished."""
        last, words, stopped = None, view.words(values), stopper(values, visitor)

        def done(trace: Trace) -> Changes:
            lane = trace.lanes[1]
            seen = replace(view.view(values, lane.layer, lane.alpha), lane=1, index=trace.fork or 0, pinned=())
            return view.done([*trail, Crumb(label, trace)], seen) | ask.at(trace, seen)

        try:
            with line.place(str(visitor.session_hash)) as place, closing(updates):
                for _ in place.waits():
                    if stopped():
                        yield {view.notice: None}, None
                        return
                    if not place.behind_own:  # else that run is what the page shows
                        yield {view.notice: {"text": place.said(words), "tone": "busy"}}, None
                for last in updates:
                    if last.finished:
                        yield done(last.trace), last.trace
                    elif last.halt or stopped():
                        yield done(last.trace.stopped()) | halted(last, words), None
                        return
                    else:
                        note = words(last.note, **last.values) if last.note else ""
                        yield view.streaming(last.trace, note, view.view(values, 1, 1.0)), None
        except VisitorError as error:
            yield view.failed(error.said(words)) | ask.own_layers(loaded, values, words), None
        except Exception as error:  # whatever it is, the visitor gets a sentence and the log what it was
            kept = done(last.trace.stopped()) if last else {}
            if out_of_memory(error):
                LOG.warning("a comparison ran out of memory: %s", error)
                loaded.release()
                said = words("error.out_of_memory")
            else:
                LOG.exception("a comparison failed")
                said = words("error.failed", what=type(error).__name__)
            yield {**kept, **view.failed(said)}, None

    def halted(last: Update, words: Language) -> Changes:
        """Why a run ended that was not stopped by its visitor."""
        if last.halt == "time":
            return view.failed(words("error.time", seconds=limits.seconds))
        if last.halt == "broken":
            return view.failed(words("error.broken", step=1 + max(map(len, map(last.trace.lane_ids, (0, 1))))))
        return {}

    def compare(values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        words = view.words(values)
        try:
            request = ask.request(values)
        except RequestError as error:
            yield view.failed(error.said(words)) | ask.own_layers(loaded, values, words)
            return
        asked = ask.settings(values)
        updates = run(loaded, request, limits, stopped=stopper(values, visitor))
        for changes, trace in play(updates, [], words("page.start"), values, visitor):
            yield changes | (instead(changes) if trace is None else finished(values, asked, trace))

    def instead(changes: Changes) -> Changes:
        """What was run for the controls is shown no more once something else is; while one waits it still is."""
        return {ran: None} if view.lanes in changes else {}

    def finished(values: Changes, asked: dict[str, Any], trace: Trace) -> Changes:
        """What a finished run says about the link that brought the visitor; opened at the step that it names."""
        link: Shared | None = values[shared]
        verdict = link.verdict(asked, trace.digest) if link else ""
        if not verdict:
            return {ran: asked}
        note = {view.notice: {"text": view.words(values)(verdict), "tone": ""}, ran: asked}
        if verdict != "page.same_text":
            return note
        lane = trace.lanes[1]
        seen = replace(view.view(values, lane.layer, lane.alpha), lane=1, index=link.step - 1, pinned=())
        return view.at(trace, seen) | note

    def go_on(values: Changes, visitor: gr.Request, *, force: bool) -> Iterator[Changes]:
        trace, trail = values[view.trace], values[view.trail]
        seen = view.view(values, values[ask.layer], values[ask.alpha]).within(trace) if trace else None
        if seen is None:
            yield view.failed(view.words(values)("error.nothing_to_go_on"))
            return
        token_id = seen.forced(trace) if force else None
        if trace.digest != values[seen_digest] or (force and token_id is None):
            yield {view.notice: None}  # pressed twice: what it was pressed for is no longer shown
            return
        label = f"{seen.words('inspector.step')} {seen.index + 1}"
        label += "" if token_id is None else f" → {token(trace, token_id)}"
        updates = run_on(loaded, trace, seen, token_id, limits, stopped=stopper(values, visitor))
        for changes, _ in play(updates, trail, label, values, visitor):
            yield changes | instead(changes)

    def run_on_here(values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        yield from go_on(values, visitor, force=False)

    def force_here(values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        yield from go_on(values, visitor, force=True)

    # First a word that needs no place in the queue, so that a visitor who has to wait sees that it was heard.
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    for asked, answer in (
        ([ask.compare.click, ask.prompt.submit], compare),
        ([view.run_on.click], run_on_here),
        ([view.force.click], force_here),
    ):
        heard = gr.on(asked, hear, [view.language, view.trace], [ticket, seen_digest, view.notice], **at_once)
        heard.then(
            answer,
            ask.inputs | view.inputs | {ticket, seen_digest, shared},
            view.outputs | {ask.layer, ask.alpha, ran},
            concurrency_limit=line.most + SPARE,
            concurrency_id="model",
            trigger_mode="multiple",  # else a press while the last run still ends would be dropped
            **SILENT,
        )
    ask.stop.click(stop, **at_once)
