"""The page: layout and the wiring of its events. Handlers are a few lines over pure functions."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components import Component

from app import moves
from app.components import Sentence
from app.controls import Controls, controls
from app.inspector import Changes, Crumb, Inspector, inspector
from app.run import RequestError, Update, run, run_on
from app.sentences import say
from app.settings import Settings
from app.sharing import QUICK, SILENT, sharing, wire_sharing
from app.stops import Stops
from app.view import View
from app.words import token
from dola_core.models import LoadedModel
from dola_core.trace import Trace

LOG = logging.getLogger(__name__)
TITLE = "<h1>Do<b>La</b> <i>Duet</i></h1>"
# Gradio confines `css` to what lies inside this frame, so the frame's own measures go into the head.
FRAME = """<style>
.gradio-container .main.fillable { max-width: 1280px; padding: 12px 20px 40px; margin: 0 auto; }
@media (max-width: 760px) { .gradio-container .main.fillable { padding: 10px; } }
</style>"""


def build(loaded: LoadedModel, settings: Settings) -> gr.Blocks:
    """The page for one loaded model."""
    with gr.Blocks(title="DoLa Duet", analytics_enabled=False) as page:
        with gr.Row(elem_classes="duet-head"):
            gr.HTML(TITLE, apply_default_css=False)
            Sentence(say(loaded.label))
            hand = sharing()
        ask, view = controls(loaded, settings), inspector()
        if loaded.preset.finding:
            Sentence(say(loaded.preset.finding), elem_classes="duet-finding")
        shared, ran = gr.State(), gr.State()
        _wire_runs(loaded, settings, ask, view, shared, ran)
        _wire_looks(ask, view)
        wire_sharing(page, loaded, hand, ask, view, shared, ran)
    return page


def _wire_runs(
    loaded: LoadedModel, settings: Settings, ask: Controls, view: Inspector, shared: gr.State, ran: gr.State
) -> None:
    """Runs, with Stop; `ran` keeps what was asked for, and `shared` what the link said that brought the visitor."""
    stops, ticket = Stops(), gr.State(0)

    def hear(visitor: gr.Request) -> Changes:
        waiting = {"text": "waiting for the model …", "tone": "busy"}
        return {ticket: stops.ticket(str(visitor.session_hash)), view.notice: waiting}

    def stop(visitor: gr.Request) -> None:
        stops.stop(str(visitor.session_hash))

    def play(
        updates: Iterator[Update], trail: list[Crumb], label: str, values: Changes, visitor: gr.Request
    ) -> Iterator[Changes]:
        """Show a run while it is written, and at its end: where the texts part, or else the first step."""
        last = None

        def done(trace: Trace) -> Changes:
            ran_with = trace.lanes[1]
            seen = view.view(values, ran_with.layer, ran_with.alpha)
            opened = replace(seen, lane=1, index=trace.fork or 0, pinned=())
            return view.done([*trail, Crumb(label, trace)], opened) | {ask.layer: ask.layers(trace.model.n_layers)}

        try:
            with closing(updates):
                for last in updates:
                    if last.finished:
                        yield done(last.trace)
                    elif stops.stopped(str(visitor.session_hash), values[ticket]):
                        yield done(last.trace.stopped())
                        return
                    else:
                        yield view.streaming(last.trace, last.note)
        except RequestError as error:
            yield view.failed(str(error))
        except Exception as error:  # whatever it is, the visitor gets a sentence and the log the traceback
            LOG.exception("a comparison failed")
            kept = done(last.trace.stopped()) if last else {}
            what = type(error).__name__
            yield {**kept, **view.failed(f"The comparison failed ({what}). Try again, with fewer tokens.")}

    def compare(values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        try:
            request = ask.request(values)
        except RequestError as error:
            yield view.failed(str(error))
            return
        asked, link = ask.settings(values), values[shared]
        for changes in play(run(loaded, request), [], "start", values, visitor):
            trail = changes.get(view.trail)
            verdict = link.verdict(asked, trail[-1].trace.digest) if trail and link else ""
            note = {view.notice: {"text": verdict, "tone": ""}} if verdict else {}
            yield changes | {ran: asked} | note

    def go_on(values: Changes, visitor: gr.Request, *, force: bool) -> Iterator[Changes]:
        trace, trail = values[view.trace], values[view.trail]
        seen = view.view(values, values[ask.layer], values[ask.alpha]).within(trace) if trace else None
        if seen is None:
            yield view.failed("There is nothing to go on from yet; press Compare first.")
            return
        token_id = seen.forced(trace) if force else None
        label = f"step {seen.index + 1}" + ("" if token_id is None else f" → {token(trace, token_id)}")
        updates = run_on(loaded, trace, seen, token=token_id, max_new_tokens=settings.max_new_tokens)
        for changes in play(updates, trail, label, values, visitor):
            yield changes | {ran: None}

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
        gr.on(asked, hear, None, [ticket, view.notice], **at_once).then(
            answer,
            ask.inputs | view.inputs | {ticket, shared},
            view.outputs | {ask.layer, ran},
            concurrency_limit=1,
            concurrency_id="model",
            trigger_mode="multiple",  # else a press while the last run still ends would be dropped
            **SILENT,
        )
    ask.stop.click(stop, **at_once)


def _wire_looks(ask: Controls, view: Inspector) -> None:
    inputs: set[Component] = {ask.layer, ask.alpha} | view.inputs
    outputs = {ask.layer, ask.alpha} | view.outputs
    nothing = {view.notice: gr.skip()}  # an empty answer would not be one for every output

    def seen(values: Changes) -> View:
        return view.view(values, values[ask.layer], values[ask.alpha])

    def look(values: Changes) -> Changes:
        return view.at(values[view.trace], seen(values)) or nothing

    def lead(values: Changes, move: moves.Move, data: dict[str, Any]) -> Changes:
        """The view that a move leads to, and the sliders that show it."""
        trace = values[view.trace]
        if trace is None:
            return nothing
        after = move(trace, seen(values), data)
        sliders = {ask.layer: after.layer, ask.alpha: after.alpha}
        moved = {slider: value for slider, value in sliders.items() if value != values[slider]}
        return view.at(trace, after) | moved or nothing

    def on_click(move: moves.Move) -> Callable[[Changes, gr.EventData], Changes]:
        def handler(values: Changes, event: gr.EventData) -> Changes:
            return lead(values, move, {name: getattr(event, name, None) for name in moves.FIELDS})

        return handler

    def on_press(move: moves.Move) -> Callable[[Changes], Changes]:
        return lambda values: lead(values, move, {})

    for moved in (ask.layer.input, ask.alpha.input, *(switch.input for switch in view.switches)):
        moved(look, inputs, view.outputs, trigger_mode="always_last", **QUICK)
    clicks = [
        (view.lanes.select, moves.to_token),
        (view.lanes.key_up, moves.by_layers),
        (view.spine.select, moves.to_step),
        (view.head.select, moves.pin),
        (view.layers.select, moves.to_layer),
        (view.heat_base.select, moves.to_cell(0)),
        (view.heat_dola.select, moves.to_cell(1)),
        (view.map.select, moves.to_setting),
        (view.sweep.select, moves.to_layer),
    ]
    for clicked, move in clicks:
        # "always_last" would send the event data of the first of several clicks again.
        clicked(on_click(move), inputs, outputs, trigger_mode="multiple", **QUICK)
    for button, direction in ((view.previous, -1), (view.next, 1)):
        button.click(on_press(moves.to_difference(direction)), inputs, outputs, trigger_mode="multiple", **QUICK)
