"""The model in the page's head: the menu that names it, and what was measured of it."""

from dataclasses import dataclass

import gradio as gr

from app.jobs.model_pool import ModelFacts
from app.language import ENGLISH, Language
from app.render.finding import badge_text, finding_text
from app.render.sentences import say
from app.ui.components import Sentence
from app.ui.events import Changes


@dataclass(frozen=True)
class ModelMenu:
    """The components that name the model."""

    model: gr.Dropdown
    """The model that runs are asked of; hidden where there is but one."""
    badge: Sentence
    verdict: gr.Button
    """What was measured of the model's recorded settings, in a few words; leads to the tab that measures."""
    finding: Sentence
    """The same in a sentence or two, at the page's foot."""
    shown: gr.State
    """The name of the model that the page shows."""
    titles: dict[str, str]
    """{name: what the menu calls it}"""

    def for_model(self, facts: ModelFacts, words: Language) -> Changes:
        """What they say of a model."""
        return {self.model: facts.name, self.shown: facts.name} | self.translated(facts, words)

    def translated(self, facts: ModelFacts, words: Language) -> Changes:
        """The same in another language; no value changes."""
        return {
            self.badge: say(badge(facts, self.titles, words)),
            self.verdict: gr.Button(badge_text(facts.preset, words)),
            self.finding: say(foot(facts, words)),
        }


def badge(facts: ModelFacts, titles: dict[str, str], words: Language) -> str:
    """The model in a few words; where a menu names it, without its name."""
    text = words("models.layers", n=facts.n_layers)
    return text if len(titles) > 1 else f"{titles[facts.name]} · {text}"


def foot(facts: ModelFacts, words: Language) -> str:
    """What was measured of a model, and what it is in full."""
    return " ".join(filter(None, [finding_text(facts.preset, words), words("models.full", label=facts.label)]))


def lay_out_model_menu(facts: ModelFacts, titles: dict[str, str]) -> ModelMenu:
    """Lay out menu, badge and verdict, in English; the finding is laid out by the page."""
    model = gr.Dropdown(
        [(title, name) for name, title in titles.items()], value=facts.name, visible=len(titles) > 1, container=False,
        label=ENGLISH("models.menu"), show_label=False, elem_id="model", elem_classes="duet-model", min_width=160,
        filterable=False, scale=0,
    )  # fmt: skip
    line = Sentence(say(badge(facts, titles, ENGLISH)), elem_id="badge")
    verdict = gr.Button(badge_text(facts.preset, ENGLISH), size="sm", elem_id="verdict")
    finding = Sentence(say(foot(facts, ENGLISH)), elem_classes="duet-finding", render=False)
    return ModelMenu(model, line, verdict, finding, gr.State(facts.name), titles)
