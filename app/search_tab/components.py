"""The tab where j* is chosen: its components, and how they show what a search result."""

from dataclasses import dataclass, fields

import gradio as gr
from gradio.components import Component

from app.inputs.question_file import MOST, UPLOADS
from app.jobs.engine_pool import ModelFacts
from app.language import ENGLISH, Language
from app.render.figures import curve_card, halves_card
from app.render.search_summary import domain_rows, error_rows, verdict
from app.render.sentences import say
from app.ui.components import Chart, Notice, Rows, Sentence
from app.ui.events import Changes
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.result import SearchResult


@dataclass(frozen=True)
class SearchTab:
    """The components of the tab."""

    result: gr.State
    title: gr.Markdown
    verdict: Sentence
    notice: Notice
    metric: gr.Dropdown
    best: gr.Button
    back: gr.Button
    upload: gr.UploadButton
    stop: gr.Button
    about: gr.Markdown
    charts: gr.Column
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
    def metric_of(result: SearchResult, picked: object) -> Metric:
        """The metric to show: the one that was picked, if the result has it, else the one it was chosen by."""
        return next((metric for metric in result.curves if metric == picked), result.asked.metric)

    def translated(self, words: Language) -> Changes:
        """The words around the result in another language."""
        return {
            self.title: f"## {words('search.title')}",
            self.upload: gr.UploadButton(words("search.upload")),
            self.stop: gr.Button(words("search.stop")),
            self.back: gr.Button(words("search.back")),
            self.about: words("search.about", most=MOST),
            self.notice: None,
        }

    def for_model(self, facts: ModelFacts, words: Language) -> Changes:
        """What is known about a model."""
        known = facts.known.search
        return self.show(known, None, words) | {self.back: gr.Button(visible=known is not None), self.notice: None}

    def show(self, result: SearchResult | None, metric: str | None, words: Language) -> Changes:
        """A result, or that there is none yet."""
        if result is None:
            return {
                self.result: None,
                self.verdict: say(words("search.not_here")),
                self.metric: gr.Dropdown(visible=False),
                self.best: gr.Button(visible=False),
                self.charts: gr.Column(visible=False),
            }
        metric = self.metric_of(result, metric)
        names = [(words(f"metric.{name}"), name) for name in result.curves]
        return {
            self.result: result,
            self.verdict: say(verdict(result, words)),
            self.metric: gr.Dropdown(names, value=metric, visible=True, label=words("search.metric")),
            self.best: gr.Button(_best(result, words), visible=True),
            self.charts: gr.Column(visible=True),
            self.curve: curve_card(result, metric, words),
            self.halves: halves_card(result, words),
            self.domains: domain_rows(result, words),
            self.harmed: error_rows(result, "baseline", words),
            self.mended: error_rows(result, "dola", words),
        }


def _best(result: SearchResult, words: Language) -> str:
    return words("search.take", layer=result.chosen.layer, alpha=f"{result.chosen.alpha:g}")


def lay_out_search_tab(known: SearchResult | None) -> SearchTab:
    """Lay out the tab, in English, with what is known about the first model."""
    metric = known.asked.metric if known else "mc1"
    state = gr.State(known)
    title = gr.Markdown(f"## {ENGLISH('search.title')}", elem_classes="duet-title")
    summary = Sentence(say(verdict(known, ENGLISH) if known else ENGLISH("search.not_here")), elem_classes="duet-say")
    notice = Notice()
    with gr.Row(elem_classes="duet-search"):
        names = [(ENGLISH(f"metric.{name}"), name) for name in known.curves] if known else []
        choice = gr.Dropdown(
            names, value=metric if known else None, label=ENGLISH("search.metric"), visible=known is not None,
            elem_id="metric", scale=0, min_width=220,
        )  # fmt: skip
        best = gr.Button(
            _best(known, ENGLISH) if known else "", visible=known is not None, size="sm", elem_id="take-best"
        )
        back = gr.Button(ENGLISH("search.back"), visible=known is not None, size="sm", elem_id="shipped-questions")
        upload = gr.UploadButton(ENGLISH("search.upload"), file_types=list(UPLOADS), size="sm", elem_id="questions")
        stop = gr.Button(ENGLISH("search.stop"), size="sm", elem_id="stop-search")
    about = gr.Markdown(ENGLISH("search.about", most=MOST), elem_classes="duet-about")
    with gr.Column(visible=known is not None) as charts:
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
    return SearchTab(
        state, title, summary, notice, choice, best, back, upload, stop, about, charts, curve, halves, domains, harmed,
        mended,
    )  # fmt: skip
