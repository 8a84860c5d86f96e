"""The menu of models in the page's head: choosing one changes all that depends on it."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from app.compare_tab.controls import Controls
from app.compare_tab.inspector import Inspector
from app.jobs.cancellation import Cancellations
from app.jobs.engine_pool import Loading, ModelFacts
from app.jobs.failures import failure_sentence
from app.jobs.host import Host
from app.jobs.run_queue import SPARE, Waiting
from app.language import ENGLISH
from app.render.sentences import say
from app.search_tab.components import SearchTab
from app.sharing.link import SharedLink, fitted
from app.ui.components import Sentence
from app.ui.events import SILENT, Changes
from dola_core.decoding.engine import Engine

SETTLING = 0.4
"""Seconds in which an update of a run is on its way to the page."""


@dataclass(frozen=True)
class ModelMenu:
    """The components that name the model."""

    model: gr.Dropdown
    """The model that runs are asked of; hidden where there is but one."""
    badge: Sentence
    finding: Sentence
    """What was measured of the model's recorded settings."""
    shown: gr.State
    """The name of the model that the page shows."""
    titles: dict[str, str]
    """{name: what the menu calls it}"""

    def for_model(self, facts: ModelFacts) -> Changes:
        """What they say of a model."""
        return {
            self.model: facts.name,
            self.shown: facts.name,
            self.badge: say(badge(facts, self.titles)),
            self.finding: Sentence(say(facts.preset.finding), visible=bool(facts.preset.finding)),
        }


@dataclass(frozen=True)
class MenuHandlers:
    """What happens when a model is chosen, from the menu or by a link."""

    host: Host
    menu: ModelMenu
    controls: Controls
    inspector: Inspector
    search_tab: SearchTab
    shared: gr.State
    """The `SharedLink` that brought the visitor, or None."""
    shown_settings: gr.State
    cancellations: tuple[Cancellations, ...]
    """Of the visitors' runs and searches, which a change of the model abandons."""

    def choose(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Show a model, which is loaded first if it never was."""
        name, shown, pool = values[self.menu.model], values[self.menu.shown], self.host.pool
        words = self.inspector.words(values)
        if name == shown:
            yield self.inspector.unchanged()
            return
        try:
            if pool.facts(name) is None:
                with closing(self.host.in_turn(str(visitor.session_hash), name, _nothing)) as updates:
                    for update in updates:
                        yield {self.inspector.notice: {"text": update.message(words), "tone": "busy"}}
            facts = pool.facts(name)
            assert facts is not None  # loading it has found them out
        except Exception as error:  # whatever it is, the visitor gets a sentence
            sentence = failure_sentence(error, "comparison", pool.release, words)
            yield {self.menu.model: shown} | self.inspector.failed(sentence)
            return
        abandoned = [cancellations.abandon(str(visitor.session_hash)) for cancellations in self.cancellations]
        if any(abandoned):
            # What a run has let go before it was abandoned must reach the page before the other model does.
            time.sleep(SETTLING)
        yield self.for_model(facts, values)

    def for_model(self, facts: ModelFacts, values: Changes) -> Changes:
        """The page as it begins with a model, or, the first time, as the link that brought the visitor has it."""
        words, link = self.inspector.words(values), values[self.shared]
        before = self.host.pool.facts(values[self.menu.shown])
        prompt = values[self.controls.prompt] or ""
        changes = (
            self.menu.for_model(facts)
            | self.controls.for_model(facts, words, prompt=prompt, before=before)
            | self.search_tab.for_model(facts, words)
            | self.inspector.emptied()
            | {self.shown_settings: None}
        )
        if isinstance(link, SharedLink) and link.model == facts.name and not link.is_fitted:
            shared = fitted(link, facts)
            changes |= self.controls.with_values(changes, shared.settings) | {self.shared: shared}
            changes |= self.inspector.noted(words("page.from_link"))
        return changes


def badge(facts: ModelFacts, titles: dict[str, str]) -> str:
    """The line about a model; where a menu names it, without its name."""
    return facts.label.removeprefix(titles[facts.name]).lstrip(" ·") if len(titles) > 1 else facts.label


def _nothing(_engine: Engine) -> Generator[Waiting | Loading, None, None]:
    """A run that only needs the model to be there."""
    yield from ()


def lay_out_model_menu(facts: ModelFacts, titles: dict[str, str]) -> ModelMenu:
    """Lay out the menu and the badge, in English; the finding is laid out by the page."""
    model = gr.Dropdown(
        [(title, name) for name, title in titles.items()], value=facts.name, visible=len(titles) > 1, container=False,
        label=ENGLISH("models.menu"), show_label=False, elem_id="model", elem_classes="duet-model", min_width=160,
        filterable=False, scale=0,
    )  # fmt: skip
    line = Sentence(say(badge(facts, titles)), elem_id="badge")
    finding = Sentence(
        say(facts.preset.finding), elem_classes="duet-finding", visible=bool(facts.preset.finding), render=False
    )
    return ModelMenu(model, line, finding, gr.State(facts.name), titles)


def wire_model_menu(on: MenuHandlers) -> None:
    """Connect the menu. A link changes its value, too."""
    menu, controls, inspector = on.menu, on.controls, on.inspector
    inputs: set[Component] = {menu.model, menu.shown, controls.prompt, inspector.language, on.shared}
    outputs = {
        *(part for part in vars(menu).values() if isinstance(part, Component)),
        *controls.everything, *inspector.outputs, *on.search_tab.outputs, on.shared, on.shown_settings,
    }  # fmt: skip
    menu.model.change(
        on.choose,
        inputs,
        outputs,
        concurrency_limit=on.host.queue.most + SPARE,
        concurrency_id="model",
        trigger_mode="always_last",
        **SILENT,
    )
