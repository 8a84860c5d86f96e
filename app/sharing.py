"""What a visitor takes along or brings: a link, a trace, a report."""

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app import link
from app.components import ASSETS, Inbox, Outbox
from app.controls import Controls
from app.figures import head_card, heat_card, layer_card, map_card, spine_card, sweep_card
from app.inspector import Changes, Crumb, Inspector
from app.opening import MAX_CHARACTERS, TOO_LARGE, TraceError, open_trace
from app.palette import css_variables
from app.sentences import difference_sentence, say, settings_sentence, step_sentence
from app.strips import strips
from app.view import View
from dola_core.models import LoadedModel
from dola_core.trace import Trace

SILENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# One at a time and in order, so that an older answer never overtakes a newer one; each takes milliseconds.
QUICK: dict[str, Any] = {"concurrency_id": "look", "concurrency_limit": 1, **SILENT}


def css() -> str:
    """The page's style sheet."""
    return css_variables() + (ASSETS / "duet.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Sharing:
    """The components in the page's corner."""

    link: gr.Button
    trace: gr.Button
    report: gr.Button
    inbox: Inbox
    outbox: Outbox


def sharing() -> Sharing:
    """Lay them out."""
    with gr.Row(elem_classes="duet-share"):
        buttons = [
            gr.Button(text, size="sm", elem_id=name)
            for text, name in (("Copy link", "link"), ("Trace ⤓", "trace"), ("Report ⤓", "report"))
        ]
        inbox = Inbox(elem_id="inbox")
    return Sharing(*buttons, inbox, Outbox(elem_id="outbox"))


def report(trace: Trace, view: View) -> dict[str, Any]:
    """A report's parts for `Outbox`, which the browser puts into one file with the scripts that draw them."""
    charts = [
        head_card(trace, view), layer_card(trace, view), heat_card(trace, 0, view), heat_card(trace, 1, view),
        map_card(trace, view), sweep_card(trace, view),
    ]  # fmt: skip
    parts = [
        ("sentence", say(settings_sentence(trace))),
        ("strips", strips(trace, view)),
        ("sentence", say(difference_sentence(trace, view))),
        ("chart", spine_card(trace, view)),
        ("sentence", step_sentence(trace, view)),
        *(("chart", chart) for chart in charts),
    ]
    return {
        "kind": "report",
        "name": f"dola-duet-{trace.digest}.html",
        "css": css(),
        "parts": [{"kind": kind, "value": value} for kind, value in parts],
    }


def wire_sharing(
    page: gr.Blocks,
    loaded: LoadedModel,
    hand: Sharing,
    ask: Controls,
    view: Inspector,
    shared: gr.State,
    ran: gr.State,
) -> None:
    """`shared` gets what the link says that brings a visitor; `ran` is what the run that is shown was asked for."""
    nothing = {view.notice: gr.skip()}
    inputs = ask.inputs | view.inputs | {ran}

    def seen(values: Changes) -> View | None:
        trace = values[view.trace]
        return view.view(values, values[ask.layer], values[ask.alpha]).within(trace) if trace else None

    def copy_link(values: Changes) -> Changes:
        trace, settings, look = values[view.trace], ask.settings(values), seen(values)
        if len(values[view.trail]) > 1:  # a run that goes on from another: its prompt is all that stood before it
            settings["prompt"] = trace.prompt
        digest = trace.digest if trace and values[ran] == settings else ""
        step = look.index + 1 if look else 1
        return {hand.outbox: {"kind": "link", "query": link.query(
            ask, settings, model=loaded.info.name, step=step, digest=digest
        )}}  # fmt: skip

    def arrive(visitor: gr.Request) -> Changes:
        said = link.read(ask, visitor.query_params)
        if said is None:
            return nothing
        text = "These settings come from a link; press Compare to run them."
        if said.model and said.model != loaded.info.name:
            text += f" They were shared from the model {said.model}; this page runs {loaded.info.name}."
        controls = {getattr(ask, name): value for name, value in said.settings.items()}
        return controls | {shared: said, view.notice: {"text": text, "tone": ""}}

    def save(values: Changes) -> Changes:
        trace = values[view.trace]
        if trace is None:
            return view.failed("There is no trace yet; press Compare first.")
        return {hand.outbox: {"kind": "file", "name": f"dola-duet-{trace.digest}.json", "text": trace.to_json()}}

    def save_report(values: Changes) -> Changes:
        look = seen(values)
        if look is None:
            return view.failed("There is nothing to report yet; press Compare first.")
        return {hand.outbox: report(values[view.trace], look)}

    def bring(values: Changes, event: gr.EventData) -> Changes:
        size = getattr(event, "size", 0)
        if isinstance(size, int) and size > MAX_CHARACTERS:  # too large to be sent: only its size is
            return view.failed(TOO_LARGE)
        try:
            trace = open_trace(getattr(event, "text", None))
        except TraceError as error:
            return view.failed(str(error))
        return show(values, trace, "opened")

    def show(values: Changes, trace: Trace, how: str) -> Changes:
        """A trace that was not run here, with its own settings."""
        lane = trace.lanes[1]
        look = view.view(values, lane.layer, lane.alpha)
        shown = view.done([Crumb(how, trace)], replace(look, lane=1, index=trace.fork or 0, pinned=()))
        text = f"Recorded: {settings_sentence(trace)} Nothing was run here."
        slider = gr.Slider(value=lane.layer, maximum=trace.model.n_layers - 1)
        notice = {"text": text, "tone": ""}
        return shown | {ask.layer: slider, ask.alpha: lane.alpha, ran: None, view.notice: notice}

    def back(values: Changes, event: gr.EventData) -> Changes:
        trail, at = values[view.trail], getattr(event, "by", None)
        if not isinstance(at, int) or not 0 <= at < len(trail) - 1:
            return nothing
        lane = trail[at].trace.lanes[1]
        look = view.view(values, lane.layer, lane.alpha)
        shown = view.done(trail[: at + 1], replace(look, lane=1, index=trail[at].trace.fork or 0, pinned=()))
        return shown | {ask.layer: lane.layer, ask.alpha: lane.alpha, ran: None}

    everything = view.outputs | {ask.layer, ask.alpha, ran}
    page.load(arrive, None, ask.inputs | {shared, view.notice}, **QUICK)
    hand.link.click(copy_link, inputs, [hand.outbox], **QUICK)
    hand.trace.click(save, inputs, [hand.outbox, view.notice], **QUICK)
    hand.report.click(save_report, inputs, [hand.outbox, view.notice], **QUICK)
    hand.inbox.upload(bring, inputs, everything, trigger_mode="multiple", **QUICK)
    view.crumbs.select(back, inputs, everything, trigger_mode="multiple", **QUICK)
