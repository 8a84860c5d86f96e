"""What happens on the tab where j* is chosen: settings are taken, questions opened, a visitor's own measured."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from app.compare_tab.controls import Changes, Controls
from app.compare_tab.inspector import Inspector
from app.compare_tab.navigation import field
from app.inputs.question_file import MOST, QuestionsError, asked_for, questions_of
from app.jobs.cancellation import Stops
from app.jobs.comparison import Limits
from app.jobs.layer_search import Found, run_search
from app.jobs.run_queue import SPARE, FullError, Line
from app.language import Language, language
from app.render.figures import curve_card
from app.render.search_summary import errors_of
from app.search_tab.components import Choosing, shipped
from app.ui.events import QUICK, SILENT
from dola_core.layer_search.scoring import Rule, TooLongError
from dola_core.models.loading import LoadedModel
from dola_core.trace.schema import ALPHA_MIN

LOG = logging.getLogger(__name__)
WHO = ("baseline", "dola")


def wire_choosing(
    loaded: LoadedModel,
    limits: Limits,
    line: Line,
    tab: Choosing,
    tabs: gr.Tabs,
    ask: Controls,
    view: Inspector,
    code: gr.Radio,
) -> None:
    """Wire the tab; a search waits in `line`; `code` is the switch of the language."""
    stops, ticket = Stops(), gr.State(0)

    def show_metric(values: Changes) -> Changes:
        found, words = values[tab.found], language(values[code])
        return (
            {tab.curve: curve_card(found, tab.shown(found, values[tab.metric]), words)} if found else {tab.notice: None}
        )

    def go_back(values: Changes) -> Changes:
        """The shipped questions again, after a visitor's own."""
        return tab.show(shipped(loaded), None, language(values[code])) | {tab.notice: None}

    def tell(values: Changes) -> Changes:
        """What a search has found, by its own metric, in the language that is set by then."""
        return tab.show(values[tab.found], None, language(values[code]))

    def translate(values: Changes) -> Changes:
        words = language(values[code])
        return tab.show(values[tab.found], values[tab.metric], words) | {
            tab.title: f"## {words('search.title')}",
            tab.upload: gr.UploadButton(words("search.upload")),
            tab.stop: gr.Button(words("search.stop")),
            tab.back: gr.Button(words("search.back")),
            tab.about: words("search.about", most=MOST),
            tab.notice: None,
        }

    def take(values: Changes, event: gr.EventData) -> Changes:
        """A point of the curve becomes the setting of the comparison."""
        found = values[tab.found]
        layer, custom = field(event, "x"), field(event, "custom")
        alpha = custom[0] if isinstance(custom, list) and custom else None
        if found is None or isinstance(layer, bool) or layer not in found.layers or alpha not in found.asked.alphas:
            return {tab.notice: gr.skip()}
        return taken(values, int(layer), float(alpha))

    def take_best(values: Changes) -> Changes:
        """So does what was chosen, by keyboard as well."""
        found = values[tab.found]
        return taken(values, found.chosen.layer, found.chosen.alpha) if found else {tab.notice: gr.skip()}

    def taken(values: Changes, layer: int, alpha: float) -> Changes:
        alpha = max(alpha, ALPHA_MIN)
        said = language(values[code])("search.taken", layer=layer, alpha=f"{alpha:g}")
        return compare_with(values, layer, alpha) | {tab.notice: {"text": said, "tone": ""}}

    def compare_with(values: Changes, layer: int, alpha: float) -> Changes:
        """The controls of the comparison at a setting, and what is shown there as it would have been with it."""
        trace, words = values[view.trace], language(values[code])
        own = {
            ask.layer: ask.layers(loaded.readout.n_layers, words, value=layer),
            ask.alpha: alpha,
            ask.early_norm: values[tab.found].asked.rule.early_norm,
        }
        seen = view.view(values, layer, alpha).within(trace) if trace else None
        return own if seen is None else view.at(trace, seen) | ask.at(trace, seen)

    def open_item(values: Changes, event: gr.EventData, who: str) -> Changes:
        found, words, at = values[tab.found], language(values[code]), field(event, "by")
        cases = errors_of(found, who) if found else []
        if not isinstance(at, int) or isinstance(at, bool) or not 0 <= at < len(cases):
            return {tab.notice: gr.skip()}
        layer, alpha = found.chosen.layer, max(found.chosen.alpha, ALPHA_MIN)
        text = words("search.open", layer=layer, alpha=f"{alpha:g}")
        return compare_with(values, layer, alpha) | {
            ask.prompt: cases[at].prompt,
            tabs: gr.Tabs(selected="compare"),
            view.notice: {"text": text, "tone": ""},
        }

    def open_harmed(values: Changes, event: gr.EventData) -> Changes:
        return open_item(values, event, WHO[0])

    def open_mended(values: Changes, event: gr.EventData) -> Changes:
        return open_item(values, event, WHO[1])

    def hear(words: str, visitor: gr.Request) -> Changes:
        waiting = {"text": language(words)("page.waiting"), "tone": "busy"}
        return {ticket: stops.ticket(str(visitor.session_hash)), tab.notice: waiting}

    def stop(visitor: gr.Request) -> None:
        stops.stop(str(visitor.session_hash))

    def search(values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        words, session, number = language(values[code]), str(visitor.session_hash), values[ticket]

        def stopped() -> bool:
            return stops.stopped(session, number)

        try:
            items, sha256 = questions_of(values[tab.upload])
            taken = items[:MOST]
            asked = asked_for(taken, Rule(early_norm=loaded.preset.early_norm))
            name = Path(values[tab.upload]).name
            with line.place(session) as place:
                for _ in place.waits():
                    if stopped():
                        break
                    yield {tab.notice: {"text": place.said(words), "tone": "busy"}}
                if stopped():
                    yield {tab.notice: None}
                    return
                updates = run_search(loaded, taken, asked, name, sha256, limits, True, stopped=stopped)
                yield from grow(updates, len(items), words, stopped)
        except (QuestionsError, FullError) as error:
            yield {tab.notice: {"text": error.said(words), "tone": "error"}}
        except TooLongError as error:
            text = words("search.too_many_tokens", n=error.number, size=error.size, most=error.most)
            yield {tab.notice: {"text": text, "tone": "error"}}
        except Exception as error:  # whatever it is, the visitor gets a sentence and the log the traceback
            LOG.exception("a search failed")
            yield {tab.notice: {"text": words("search.failed", what=type(error).__name__), "tone": "error"}}

    def grow(updates: Iterator[Found], held: int, words: Language, stopped: Callable[[], bool]) -> Iterator[Changes]:
        """The curve while it is measured, and the whole result at its end or where it was stopped."""
        with closing(updates):
            for found in updates:
                part, halt = found.result, found.halt or ("stopped" if stopped() else None)
                if found.finished or halt:
                    break
                said = words("search.reading", done=found.done, of=found.of)
                yield {
                    tab.curve: curve_card(part, part.asked.metric, words),
                    tab.notice: {"text": said, "tone": "busy"},
                }
        text = ""
        if halt:
            text = words("search.kept", done=part.data.items, of=part.data.of)
            text += f" {words('error.time', seconds=limits.seconds)}" if halt == "time" else ""
        elif held > part.data.of:
            text = words("search.cut", done=part.data.of, of=f"{held:,}")
        yield {tab.found: part, tab.notice: {"text": text, "tone": ""} if text else None}

    read: set[Component] = {tab.found, tab.metric, code}
    seen = read | view.inputs
    tab.metric.input(show_metric, read, [tab.curve, tab.notice], **QUICK)
    tab.back.click(go_back, {code}, tab.outputs, **QUICK)
    code.change(translate, read, tab.outputs, **QUICK)
    opened = view.outputs | {ask.layer, ask.alpha, ask.early_norm, ask.prompt, tabs, tab.notice}
    tab.best.click(take_best, seen, opened, **QUICK)
    tab.curve.select(take, seen, opened, trigger_mode="multiple", **QUICK)
    tab.harmed.select(open_harmed, seen, opened, trigger_mode="multiple", **QUICK)
    tab.mended.select(open_mended, seen, opened, trigger_mode="multiple", **QUICK)
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    heard = tab.upload.upload(hear, [code], [ticket, tab.notice], **at_once)
    ended = heard.then(
        search,
        {tab.upload, code, ticket},
        tab.outputs,
        concurrency_limit=line.most + SPARE,
        concurrency_id="model",
        trigger_mode="multiple",  # else a file that is brought while a search still ends would be dropped
        **SILENT,
    )
    ended.then(tell, read, tab.outputs, trigger_mode="multiple", **QUICK)
    tab.stop.click(stop, **at_once)
