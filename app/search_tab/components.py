"""The tab where j* is chosen: its components, and how they show what a search found."""

from dataclasses import dataclass, fields

import gradio as gr
from gradio.components import Component

from app.compare_tab.controls import Changes
from app.inputs.question_file import MOST
from app.language import ENGLISH, Language
from app.paths import SHIPPED_SEARCH
from app.render.figures import curve_card, halves_card
from app.render.search_summary import domain_rows, error_rows, verdict
from app.render.sentences import say
from app.ui.components import Chart, Notice, Rows, Sentence
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.result import SearchResult
from dola_core.models.loading import LoadedModel


@dataclass(frozen=True)
class Choosing:
    """The components of the tab."""

    found: gr.State
    title: gr.Markdown
    verdict: Sentence
    notice: Notice
    metric: gr.Dropdown
    best: gr.Button
    back: gr.Button
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
            hidden = {self.metric: gr.Dropdown(visible=False), self.best: gr.Button(visible=False)}
            return {self.verdict: say(words("search.not_here")), **hidden}
        metric = self.shown(found, metric)
        names = [(words(f"metric.{name}"), name) for name in found.curves]
        return {
            self.found: found,
            self.verdict: say(verdict(found, words)),
            self.metric: gr.Dropdown(names, value=metric, visible=True, label=words("search.metric")),
            self.best: gr.Button(_best(found, words), visible=True),
            self.curve: curve_card(found, metric, words),
            self.halves: halves_card(found, words),
            self.domains: domain_rows(found, words),
            self.harmed: error_rows(found, "baseline", words),
            self.mended: error_rows(found, "dola", words),
        }


def _best(found: SearchResult, words: Language) -> str:
    return words("search.take", layer=found.chosen.layer, alpha=f"{found.chosen.alpha:g}")


def shipped(loaded: LoadedModel) -> SearchResult | None:
    """The search that was made for the shipped model."""
    if not loaded.is_shipped or not SHIPPED_SEARCH.is_file():
        return None
    return SearchResult.model_validate_json(SHIPPED_SEARCH.read_text(encoding="utf-8"))


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
        best = gr.Button(
            _best(known, ENGLISH) if known else "", visible=known is not None, size="sm", elem_id="take-best"
        )
        back = gr.Button(ENGLISH("search.back"), visible=known is not None, size="sm", elem_id="shipped-questions")
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
    return Choosing(
        found, title, said, notice, choice, best, back, upload, stop, about, curve, halves, domains, harmed, mended
    )
