"""What a visitor takes along or brings: a link, a trace, a report."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component

from app.compare_tab.controls import Changes, Controls
from app.compare_tab.inspector import Crumb, Inspector
from app.compare_tab.navigation import field
from app.inputs.recorded_traces import RECORDED, Recorded
from app.inputs.trace_file import TraceError, check_size, open_trace
from app.language import CODES, ENGLISH, Language, language, preferred
from app.paths import PAGE_FILES
from app.render.figures import head_card, heat_card, layer_card, map_card, spine_card, sweep_card
from app.render.sentences import difference_sentence, say, settings_sentence, step_sentence
from app.render.token_strips import strips
from app.render.view_state import View
from app.sharing import link
from app.ui.components import Inbox, Outbox
from app.ui.events import QUICK
from app.ui.palette import css_variables
from dola_core.models.loading import LoadedModel
from dola_core.trace.schema import ALPHA_MIN, Trace


def css() -> str:
    """The page's style sheet."""
    return css_variables() + (PAGE_FILES / "duet.css").read_text(encoding="utf-8")


def style() -> str:
    """The style sheet as it is handed to Gradio, twice: rendered by a server, which Spaces switch on, Gradio does not
    confine it to the page, and its own rules would go before ours."""
    return f"{css()}.gradio-container.gradio-container .contain{{{css()}}}"


@dataclass(frozen=True)
class Sharing:
    """The components in the page's corner."""

    language: gr.Radio
    link: gr.Button
    trace: gr.Button
    report: gr.Button
    inbox: Inbox
    outbox: Outbox

    def translated(self, words: Language) -> Changes:
        """Their words in another language."""
        return {getattr(self, name): gr.Button(words(f"controls.{name}")) for name in ("link", "trace", "report")} | {
            self.inbox: words.section("hand") | {"code": words.code}
        }


def sharing() -> Sharing:
    """Lay them out, in English."""
    with gr.Row(elem_classes="duet-share"):
        buttons = [
            gr.Button(ENGLISH(f"controls.{name}"), size="sm", elem_id=name) for name in ("link", "trace", "report")
        ]
        inbox = Inbox(ENGLISH.section("hand"), elem_id="inbox")
        switch = gr.Radio(
            [(language(code)("page.name"), code) for code in CODES], value="en", label="language", show_label=False,
            elem_id="language", elem_classes="duet-segments", container=False,
        )  # fmt: skip
    return Sharing(switch, *buttons, inbox, Outbox(elem_id="outbox"))


def report(trace: Trace, view: View) -> dict[str, Any]:
    """A report's parts for `Outbox`, which the browser puts into one file with the scripts that draw them."""
    charts = [
        head_card(trace, view), layer_card(trace, view), heat_card(trace, 0, view), heat_card(trace, 1, view),
        map_card(trace, view), sweep_card(trace, view),
    ]  # fmt: skip
    parts = [
        ("sentence", say(settings_sentence(trace, view.words))),
        ("strips", strips(trace, view)),
        ("sentence", say(difference_sentence(trace, view))),
        ("chart", spine_card(trace, view)),
        ("sentence", step_sentence(trace, view)),
        *(("chart", chart) for chart in charts),
    ]
    return {
        "name": f"dola-duet-{trace.digest}.html",
        "css": css(),
        "parts": [{"kind": kind, "value": value} for kind, value in parts],
    }


def _with_value(update: Any, control: Component, value: Any) -> Any:
    """A control's value together with the update that gives it other words, if there is one."""
    if update is None:
        return value
    return type(control)(**{**update.constructor_args, "value": value})


def _asked_for(trace: Trace) -> dict[str, Any]:
    """The controls as they would have been set for a trace."""
    decoding = trace.decoding.model_dump()
    stop = decoding.pop("stop")
    decoding.pop("min_p")
    return decoding | {"prompt": trace.prompt, "stop_text": stop[0].replace("\n", "\\n") if stop else "", "chat": False}


def wire_sharing(
    page: gr.Blocks,
    loaded: LoadedModel,
    hand: Sharing,
    ask: Controls,
    view: Inspector,
    shared: gr.State,
    ran: gr.State,
    corner: dict[Component, Callable[[Language], Any]],
) -> None:
    """`shared` gets what the link says that brings a visitor; `ran` is what the run that is shown was asked for.

    `corner` holds further parts of the page with what they become in another language.
    """
    nothing = {view.notice: gr.skip()}
    inputs = ask.inputs | view.inputs | {ran}

    def seen(values: Changes) -> View | None:
        trace = values[view.trace]
        return view.view(values, values[ask.layer], values[ask.alpha]).within(trace) if trace else None

    def hand_over(kind: str, **what: Any) -> Changes:
        """Never the same value twice, for the browser acts on a change only."""
        return {hand.outbox: {"kind": kind, "at": time.time_ns(), **what}}

    def copy_link(values: Changes) -> Changes:
        """A link to the controls; to the trace that is shown where that was opened, or went on from another."""
        trace, settings, look = values[view.trace], ask.settings(values), seen(values)
        if trace and values[ran] is None:
            settings |= _asked_for(trace) | {"layer": values[ask.layer], "alpha": values[ask.alpha]}
        digest = trace.digest if trace and values[ran] == settings else ""
        step = look.index + 1 if look else 1
        text = link.query(ask, settings, model=loaded.info.name, step=step, digest=digest)
        return hand_over("link", query=text, words=view.words(values).section("hand"))

    def arrive(visitor: gr.Request) -> Changes:
        words = preferred(visitor.headers.get("accept-language", ""), visitor.query_params.get("lang", ""))
        said = link.read(ask, visitor.query_params)
        changes = {hand.language: words.code}
        changes |= hand.translated(words) if words is ENGLISH else translate(words)
        if said is None:
            return changes
        text = words("page.from_link")
        if said.model and said.model != loaded.info.name:
            text += " " + words("page.from_other_model", shared=said.model, model=loaded.info.name)
        for name, value in said.settings.items():
            control = getattr(ask, name)
            changes[control] = _with_value(changes.get(control), control, value)
        return changes | {shared: said, view.notice: {"text": text, "tone": ""}}

    def save(values: Changes) -> Changes:
        trace = values[view.trace]
        if trace is None:
            return view.failed(view.words(values)("error.no_trace"))
        return hand_over("file", name=f"dola-duet-{trace.digest}.json", text=trace.to_json())

    def save_report(values: Changes) -> Changes:
        look = seen(values)
        if look is None:
            return view.failed(view.words(values)("error.no_report"))
        return hand_over("report", **report(values[view.trace], look))

    def bring(values: Changes, event: gr.EventData) -> Changes:
        try:
            check_size(field(event, "size"))  # what is too large to be sent comes as its size only
            trace = open_trace(field(event, "text"))
        except TraceError as error:
            return view.failed(error.said(view.words(values)))
        return show(values, trace, "page.opened")

    def show(values: Changes, trace: Trace, how: str) -> Changes:
        """A trace that was not run here, with its own settings."""
        words = view.words(values)
        text = words("page.nothing_run", settings=settings_sentence(trace, words))
        return at_start(values, [Crumb(words(how), trace)]) | {view.notice: {"text": text, "tone": ""}}

    def at_start(values: Changes, trail: list[Crumb]) -> Changes:
        """The last trace of a trail with the settings of its run, where the texts part or else at the first step."""
        trace = trail[-1].trace
        lane = trace.lanes[1]
        look = view.view(values, lane.layer, max(lane.alpha, ALPHA_MIN))
        look = replace(look, lane=1, index=trace.fork or 0, pinned=())
        return view.done(trail, look) | ask.at(trace, look) | {ran: None}

    def open_recorded(one: Recorded) -> Callable[[Changes], Changes]:
        return lambda values: show(values, one.read(), "page.recorded")

    def back(values: Changes, event: gr.EventData) -> Changes:
        trail, at = values[view.trail], field(event, "by")
        if not isinstance(at, int) or isinstance(at, bool) or not 0 <= at < len(trail) - 1:
            return nothing
        return at_start(values, trail[: at + 1])

    def translate(words: Language) -> Changes:
        corners = {part: update(words) for part, update in corner.items()}
        return ask.translated(loaded, words) | view.translated(words) | hand.translated(words) | corners

    def switch_language(values: Changes) -> Changes:
        look = seen(values)
        return translate(view.words(values)) | (
            view.at(values[view.trace], look) | ask.at(values[view.trace], look) if look else {}
        )

    everything = view.outputs | {ask.layer, ask.alpha, ran}
    translated = ask.everything | view.outputs | {hand.link, hand.trace, hand.report, hand.inbox, *corner}
    page.load(arrive, None, translated | {hand.language, shared}, **QUICK)
    hand.language.input(switch_language, inputs, translated, **QUICK)
    hand.link.click(copy_link, inputs, [hand.outbox], **QUICK)
    hand.trace.click(save, inputs, [hand.outbox, view.notice], **QUICK)
    hand.report.click(save_report, inputs, [hand.outbox, view.notice], **QUICK)
    hand.inbox.upload(bring, inputs, everything, trigger_mode="multiple", **QUICK)
    for button, one in zip(ask.recorded, RECORDED, strict=True):
        button.click(open_recorded(one), inputs, everything, trigger_mode="multiple", **QUICK)
    view.crumbs.select(back, inputs, everything, trigger_mode="multiple", **QUICK)
