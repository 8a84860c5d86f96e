"""The tab where j* is chosen: what a search found, and a search on a visitor's own questions."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from app.components import Chart, Notice, Rows, Sentence
from app.controls import Changes, Controls
from app.events import QUICK, SILENT
from app.figures import curve_card, halves_card
from app.inspector import Inspector
from app.language import ENGLISH, Language, VisitorError, language
from app.moves import field
from app.search_words import domain_rows, error_rows, errors_of, verdict
from app.sentences import say
from app.stops import Stops
from dola_core.items import Item, read_items
from dola_core.metrics import Metric
from dola_core.models import LoadedModel
from dola_core.scoring import TooLongError
from dola_core.search_result import Asked, SearchResult
from dola_core.searching import RESULT, Search
from dola_core.trace import ALPHA_MIN

LOG = logging.getLogger(__name__)
SHIPPED = Path(__file__).resolve().parent.parent / "assets" / "layer_search" / RESULT
MOST = 500
"""Questions that a visitor can have measured here."""
MOST_ANSWERS, LONGEST = 32, 4000
"""Answers of a question, and characters of any of its texts: a small file must not ask for much memory."""
SHOWN_ERRORS, SHOWN_WHEN_STOPPED = 50, 5
"""Errors of each kind that are told at the end, and after Stop, when nobody wants to wait."""
ALPHAS = (0.05, 0.1, 0.2, 0.5)
GROWS = 1.0
"""Seconds between two pictures of a search under way."""
WHO = ("baseline", "dola")


@dataclass(frozen=True)
class Choosing:
    """The components of the tab."""

    found: gr.State
    title: gr.Markdown
    verdict: Sentence
    notice: Notice
    metric: gr.Dropdown
    upload: gr.UploadButton
    stop: gr.Button
    about: gr.Markdown
    curve: Chart
    halves: Chart
    domains: Rows
    harmed: Rows
    mended: Rows

    @property
    def outputs(self) -> set[Component]:
        """Everything a handler may change."""
        return {getattr(self, name.name) for name in fields(self)}

    @staticmethod
    def shown(found: SearchResult, metric: object) -> Metric:
        """The metric to show: the one that was picked, if the result has it."""
        return metric if isinstance(metric, str) and metric in found.curves else found.asked.metric

    def show(self, found: SearchResult | None, metric: str | None, words: Language) -> Changes:
        """A result, or that there is none yet."""
        if found is None:
            return {self.verdict: say(words("search.not_here")), self.metric: gr.Dropdown(visible=False)}
        metric = self.shown(found, metric)
        names = [(words(f"metric.{name}"), name) for name in found.curves]
        return {
            self.found: found,
            self.verdict: say(verdict(found, words)),
            self.metric: gr.Dropdown(names, value=metric, visible=True, label=words("search.metric")),
            self.curve: curve_card(found, metric, words),
            self.halves: halves_card(found, words),
            self.domains: domain_rows(found, words),
            self.harmed: error_rows(found, "baseline", words),
            self.mended: error_rows(found, "dola", words),
        }


def shipped(loaded: LoadedModel) -> SearchResult | None:
    """The search that was made for the shipped model."""
    if not loaded.is_shipped or not SHIPPED.is_file():
        return None
    return SearchResult.model_validate_json(SHIPPED.read_text(encoding="utf-8"))


def choosing(loaded: LoadedModel) -> Choosing:
    """Lay out the tab, in English."""
    known = shipped(loaded)
    metric = known.asked.metric if known else "mc1"
    found = gr.State(known)
    title = gr.Markdown(f"## {ENGLISH('search.title')}", elem_classes="duet-title")
    said = Sentence(say(verdict(known, ENGLISH) if known else ENGLISH("search.not_here")), elem_classes="duet-say")
    notice = Notice()
    with gr.Row(elem_classes="duet-search"):
        names = [(ENGLISH(f"metric.{name}"), name) for name in known.curves] if known else []
        choice = gr.Dropdown(
            names, value=metric if known else None, label=ENGLISH("search.metric"), visible=known is not None,
            elem_id="metric", scale=0, min_width=220,
        )  # fmt: skip
        upload = gr.UploadButton(
            ENGLISH("search.upload"), file_types=[".jsonl", ".csv"], size="sm", elem_id="questions"
        )
        stop = gr.Button(ENGLISH("search.stop"), size="sm", elem_id="stop-search")
    about = gr.Markdown(ENGLISH("search.about", most=MOST), elem_classes="duet-about")
    with gr.Column(elem_classes="duet-card"):
        curve = Chart(curve_card(known, metric, ENGLISH) if known else None, elem_id="curve")
    with gr.Row(elem_classes="duet-columns"):
        with gr.Column(elem_classes="duet-card"):
            halves = Chart(halves_card(known, ENGLISH) if known else None, elem_id="halves")
        with gr.Column(elem_classes="duet-card"):
            domains = Rows(domain_rows(known, ENGLISH) if known else None, elem_id="domains")
    with gr.Column(elem_classes="duet-card"):
        harmed = Rows(error_rows(known, "baseline", ENGLISH) if known else None, elem_id="harmed")
        mended = Rows(error_rows(known, "dola", ENGLISH) if known else None, elem_id="mended")
    return Choosing(found, title, said, notice, choice, upload, stop, about, curve, halves, domains, harmed, mended)


class QuestionsError(VisitorError):
    """The file holds no questions that are measured here."""


def questions_of(file: str) -> tuple[list[Item], str]:
    """The questions of an uploaded file, a stranger's, and its hash; `QuestionsError` if they are not for this page."""
    path = Path(file)
    try:
        items = read_items(path)
    except ValueError as error:
        raise QuestionsError("search.bad_file", reason=str(error)) from error
    for number, item in enumerate(items[:MOST], start=1):
        texts = (*item.answers, *item.wrong)
        if len(texts) > MOST_ANSWERS:
            raise QuestionsError("search.many_answers", n=number, answers=len(texts), most=MOST_ANSWERS)
        if max(map(len, (*texts, item.prompt, item.domain, item.relation, item.entity))) > LONGEST:
            raise QuestionsError("search.too_long", n=number, most=f"{LONGEST:,}")
    return items, hashlib.sha256(path.read_bytes()).hexdigest()


def asked_for(items: list[Item]) -> Asked:
    """What is measured on a visitor's questions: multiple choice where all of them offer something wrong."""
    offered = all(item.wrong for item in items)
    several = any(len(item.answers) > 1 for item in items)
    return Asked(alphas=ALPHAS, metric=("mc1" if several else "accuracy") if offered else "said")


def wire_choosing(
    loaded: LoadedModel, tab: Choosing, tabs: gr.Tabs, ask: Controls, view: Inspector, code: gr.Radio
) -> None:
    """Wire the tab; `code` is the switch of the language."""
    stops, ticket = Stops(), gr.State(0)

    def show_metric(values: Changes) -> Changes:
        found, words = values[tab.found], language(values[code])
        return (
            {tab.curve: curve_card(found, tab.shown(found, values[tab.metric]), words)} if found else {tab.notice: None}
        )

    def tell(values: Changes) -> Changes:
        """What a search has found, by its own metric, in the language that is set by then."""
        return tab.show(values[tab.found], None, language(values[code]))

    def translate(values: Changes) -> Changes:
        words = language(values[code])
        return tab.show(values[tab.found], values[tab.metric], words) | {
            tab.title: f"## {words('search.title')}",
            tab.upload: gr.UploadButton(words("search.upload")),
            tab.stop: gr.Button(words("search.stop")),
            tab.about: words("search.about", most=MOST),
            tab.notice: None,
        }

    def take(values: Changes, event: gr.EventData) -> Changes:
        """A point of the curve becomes the setting of the comparison."""
        found, words = values[tab.found], language(values[code])
        layer, custom = field(event, "x"), field(event, "custom")
        alpha = custom[0] if isinstance(custom, list) and custom else None
        if found is None or isinstance(layer, bool) or layer not in found.layers or alpha not in found.asked.alphas:
            return {tab.notice: gr.skip()}
        alpha = max(float(alpha), ALPHA_MIN)
        said = words("search.taken", layer=int(layer), alpha=f"{alpha:g}")
        return compare_with(values, int(layer), alpha) | {tab.notice: {"text": said, "tone": ""}}

    def compare_with(values: Changes, layer: int, alpha: float) -> Changes:
        """The sliders of the comparison at a setting, and what is shown there as it would have been with it."""
        trace, words = values[view.trace], language(values[code])
        own = {ask.layer: ask.layers(loaded.readout.n_layers, words, value=layer), ask.alpha: alpha}
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
        if stops.stopped(session, number):
            yield {tab.notice: None}
            return
        try:
            items, sha256 = questions_of(values[tab.upload])
            taken = items[:MOST]
            under_way = Search(loaded, taken, asked_for(taken), name=Path(values[tab.upload]).name, sha256=sha256)
            yield from grow(under_way, len(items), words, lambda: stops.stopped(session, number))
        except QuestionsError as error:
            yield {tab.notice: {"text": error.said(words), "tone": "error"}}
        except TooLongError as error:
            text = words("search.too_many_tokens", n=error.number, size=error.size, most=error.most)
            yield {tab.notice: {"text": text, "tone": "error"}}
        except Exception as error:  # whatever it is, the visitor gets a sentence and the log the traceback
            LOG.exception("a search failed")
            yield {tab.notice: {"text": words("search.failed", what=type(error).__name__), "tone": "error"}}

    def grow(under_way: Search, held: int, words: Language, stopped: Callable[[], bool]) -> Iterator[Changes]:
        """The curve while it is measured, and the whole result at its end or where it was stopped."""
        shown, ended = time.monotonic(), False
        with closing(under_way.run()) as steps:
            for done, to_do in steps:
                ended = stopped()
                if ended:
                    break
                if time.monotonic() - shown >= GROWS and done > 1:
                    said = words("search.reading", done=done, of=to_do)
                    part = under_way.result(errors=0)
                    curve = curve_card(part, part.asked.metric, words)
                    yield {tab.curve: curve, tab.notice: {"text": said, "tone": "busy"}}
                    shown = time.monotonic()
        found = under_way.result(errors=SHOWN_WHEN_STOPPED if ended else SHOWN_ERRORS)
        text = ""
        if ended:
            text = words("search.kept", done=found.data.items, of=found.data.of)
        elif held > found.data.of:
            text = words("search.cut", done=found.data.of, of=f"{held:,}")
        yield {tab.found: found, tab.notice: {"text": text, "tone": ""} if text else None}

    read: set[Component] = {tab.found, tab.metric, code}
    seen = read | view.inputs
    tab.metric.input(show_metric, read, [tab.curve, tab.notice], **QUICK)
    code.change(translate, read, tab.outputs, **QUICK)
    opened = view.outputs | {ask.layer, ask.alpha, ask.prompt, tabs, tab.notice}
    tab.curve.select(take, seen, opened, trigger_mode="multiple", **QUICK)
    tab.harmed.select(open_harmed, seen, opened, trigger_mode="multiple", **QUICK)
    tab.mended.select(open_mended, seen, opened, trigger_mode="multiple", **QUICK)
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple", **SILENT}
    heard = tab.upload.upload(hear, [code], [ticket, tab.notice], **at_once)
    ended = heard.then(
        search,
        {tab.upload, code, ticket},
        tab.outputs,
        concurrency_limit=1,
        concurrency_id="model",
        trigger_mode="multiple",  # else a file that is brought while a search still ends would be dropped
        **SILENT,
    )
    ended.then(tell, read, tab.outputs, trigger_mode="multiple", **QUICK)
    tab.stop.click(stop, **at_once)
