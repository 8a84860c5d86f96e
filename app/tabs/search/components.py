"""The tab where j* is chosen: its components, and how they show what a search result."""

from dataclasses import dataclass, fields
from functools import cache

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from app.inputs.question_file import MOST, SHIPPED_QUESTIONS, UPLOADS, USUAL
from app.jobs.model_pool import ModelFacts
from app.language import ENGLISH, Language
from app.render.figures import curve_card, halves_card, sketch_card
from app.render.search_summary import Verdict, domain_rows, error_rows, opening, take_label, verdict
from app.render.sentences import say
from app.tabs.search.pace import Pace, trial_label
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
    details: Sentence
    notice: Notice
    metric: gr.Dropdown
    best: gr.Button
    back: gr.Button
    trial: gr.Button
    upload: gr.UploadButton
    limit: gr.Number
    stop: gr.Button
    about: gr.Markdown
    empty: gr.Column
    """What stands in the place of the charts as long as there is no result."""
    sketch: Chart
    steps: gr.Markdown
    charts: gr.Column
    curve: Chart
    halves: Chart
    domains: Rows
    harmed: Rows
    mended: Rows
    pace: Pace

    @property
    def outputs(self) -> set[Component]:
        """Everything a handler may change."""
        parts = (getattr(self, name.name) for name in fields(self))
        return {part for part in parts if isinstance(part, Block)}  # type: ignore[misc]  # columns may be changed, too

    @staticmethod
    def metric_of(result: SearchResult, picked: object) -> Metric:
        """The metric to show: the one that was picked, if the result has it, else the one it was chosen by."""
        return next((metric for metric in result.curves if metric == picked), result.asked.metric)

    def translated(self, words: Language) -> Changes:
        """The words around the result in another language."""
        return {
            self.title: f"## {words('search.title')}",
            self.upload: gr.UploadButton(words("search.upload")),
            self.limit: gr.Number(label=words("search.limit")),
            self.stop: gr.Button(words("search.stop")),
            self.back: gr.Button(words("search.back")),
            self.about: words("search.about", most=MOST),
            self.steps: steps(words),
            self.notice: None,
        }

    def for_model(self, facts: ModelFacts, words: Language) -> Changes:
        """What is known about a model."""
        known = facts.known.search
        shown = self.show(known, None, facts, words)
        return shown | {self.back: gr.Button(visible=known is not None), self.notice: None}

    def show(self, result: SearchResult | None, metric: str | None, facts: ModelFacts, words: Language) -> Changes:
        """A result of a model, or that there is none yet."""
        said = said_of(result, facts, words)
        always: Changes = {
            self.result: result,
            self.verdict: say(said.first),
            self.details: say(said.more.strip()),
            self.trial: gr.Button(trial_label(facts, self.pace, words)),
        }
        if result is None:
            return always | {
                self.metric: gr.Dropdown(visible=False),
                self.best: gr.Button(visible=False),
                self.charts: gr.Column(visible=False),
                self.empty: gr.Column(visible=True),
                self.sketch: sketch_card(facts.n_layers, words),
            }
        metric = self.metric_of(result, metric)
        names = [(words(f"metric.{name}"), name) for name in result.curves]
        take = take_label(result, words)
        return always | {
            self.metric: gr.Dropdown(names, value=metric, visible=True, label=words("search.metric")),
            self.best: gr.Button(take or "", visible=take is not None),
            self.charts: gr.Column(visible=True),
            self.empty: gr.Column(visible=False),
            self.curve: curve_card(result, metric, words),
            self.halves: halves_card(result, words),
            self.domains: domain_rows(result, words),
            self.harmed: error_rows(result, "baseline", words),
            self.mended: error_rows(result, "dola", words),
        }


def said_of(result: SearchResult | None, facts: ModelFacts, words: Language) -> Verdict:
    """The sentences above a result; above the one that comes with the model, also how its setting was tested."""
    known = facts.known.search
    if result is None or (known is not None and (result.data, result.seconds) == (known.data, known.seconds)):
        return opening(facts.preset, result, words)
    return verdict(result, words)


def steps(words: Language) -> str:
    """What goes into a search, what comes out, and how long it takes, as a list."""
    lines = (words("search.goes_in", n=f"{_shipped():,}"), words("search.comes_out"), words("search.how_long"))
    return "\n".join(f"- {line}" for line in lines)


@cache
def _shipped() -> int:
    """How many questions come with the page."""
    return len(SHIPPED_QUESTIONS.read_text(encoding="utf-8").splitlines())


def lay_out_search_tab(facts: ModelFacts) -> SearchTab:
    """Lay out the tab, in English, with what is known about the first model."""
    known, words, pace = facts.known.search, ENGLISH, Pace()
    has, metric = known is not None, known.asked.metric if known else "mc1"
    state = gr.State(known)
    title = gr.Markdown(f"## {words('search.title')}", elem_classes="duet-title")
    said = opening(facts.preset, known, words)
    summary = Sentence(say(said.first), elem_classes="duet-say")
    details = Sentence(say(said.more.strip()), elem_classes="duet-why")
    notice = Notice()
    with gr.Row(elem_classes="duet-search"):
        take = take_label(known, words) if known else None
        best = gr.Button(take or "", visible=take is not None, size="sm", elem_id="take-best")
        trial = gr.Button(trial_label(facts, pace, words), size="sm", elem_id="try-questions")
        upload = gr.UploadButton(words("search.upload"), file_types=list(UPLOADS), size="sm", elem_id="questions")
        stop = gr.Button(words("search.stop"), size="sm", elem_id="stop-search", visible=False)
        back = gr.Button(words("search.back"), visible=has, size="sm", elem_id="shipped-questions")
    with gr.Row(elem_classes="duet-search"):
        limit = gr.Number(USUAL, label=words("search.limit"), elem_id="question-limit", scale=0, min_width=220)
        names = [(words(f"metric.{name}"), name) for name in known.curves] if known else []
        choice = gr.Dropdown(
            names, value=metric if has else None, label=words("search.metric"), visible=has, elem_id="metric",
            scale=0, min_width=220,
        )  # fmt: skip
    about = gr.Markdown(words("search.about", most=MOST), elem_classes="duet-about")
    with gr.Column(visible=not has, elem_classes="duet-card", elem_id="search-empty") as empty:
        text = gr.Markdown(steps(words), elem_classes="duet-about")
        sketch = Chart(sketch_card(facts.n_layers, words), elem_id="sketch")
    with gr.Column(visible=has) as charts:
        with gr.Column(elem_classes="duet-card"):
            curve = Chart(curve_card(known, metric, words) if known else None, elem_id="curve")
        with gr.Row(elem_classes="duet-columns"):
            with gr.Column(elem_classes="duet-card"):
                halves = Chart(halves_card(known, words) if known else None, elem_id="halves")
            with gr.Column(elem_classes="duet-card"):
                domains = Rows(domain_rows(known, words) if known else None, elem_id="domains")
        with gr.Column(elem_classes="duet-card"):
            harmed = Rows(error_rows(known, "baseline", words) if known else None, elem_id="harmed")
            mended = Rows(error_rows(known, "dola", words) if known else None, elem_id="mended")
    return SearchTab(
        state, title, summary, details, notice, choice, best, back, trial, upload, limit, stop, about, empty, sketch,
        text, charts, curve, halves, domains, harmed, mended, pace,
    )  # fmt: skip
