"""A visitor arrives, perhaps by a link, and chooses a language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.compare_tab.controls import Controls
from app.compare_tab.inspector import Inspector
from app.jobs.engine_pool import EnginePool, ModelFacts
from app.language import ENGLISH, Language, preferred
from app.sharing import link
from app.toolbar.components import Toolbar
from app.ui.events import QUICK, Changes

Translations = Mapping[Component, Callable[[Language], Any]]
"""{a part of the page that belongs to no tab's components: what it becomes in another language}"""


@dataclass(frozen=True)
class ArrivalHandlers:
    """What happens when the page is opened and when its language is switched."""

    pool: EnginePool
    model: gr.Dropdown
    toolbar: Toolbar
    controls: Controls
    inspector: Inspector
    shared: gr.State
    """Gets the `SharedLink` that brought the visitor."""
    translations: Translations

    def arrive(self, visitor: gr.Request) -> Changes:
        """Choose the visitor's language, and set the controls as the link says."""
        words = preferred(visitor.headers.get("accept-language", ""), visitor.query_params.get("lang", ""))
        # Without a link the English page is served as it is.
        facts = self.pool.first
        changes = self.toolbar.translated(words) if words is ENGLISH else self.translated(facts, words)
        changes |= {self.toolbar.language: words.code}
        shared = link.read(vars(self.controls), visitor.query_params)
        if shared is None:
            return changes
        if shared.model in self.pool.titles and shared.model != facts.name:
            # The menu's own event follows, which loads the model and then sets the controls.
            return changes | {self.model: shared.model, self.shared: shared}
        text = words("page.from_link")
        if shared.model and shared.model != facts.name:
            text += " " + words("page.from_other_model", shared=shared.model, model=facts.name)
        shared = link.fitted(shared, facts)
        changes |= self.controls.with_values(changes, shared.settings) | {self.shared: shared}
        return changes | self.inspector.noted(text)

    def switch_language(self, values: Changes) -> Changes:
        """Put the page, and what it shows of a trace, into the chosen language."""
        inspection = self.inspector.inspection(values, values[self.controls.layer], values[self.controls.alpha])
        changes = self.translated(self.pool.facts(values[self.model]) or self.pool.first, self.inspector.words(values))
        if inspection is None:
            return changes
        return changes | self.inspector.shown(inspection) | self.controls.at(inspection.trace, inspection.view)

    def translated(self, facts: ModelFacts, words: Language) -> Changes:
        """Every part of the page but the search tab in another language; no value changes."""
        return (
            self.controls.translated(facts, words)
            | self.inspector.translated(words)
            | self.toolbar.translated(words)
            | {part: update(words) for part, update in self.translations.items()}
        )


def wire_arrival(page: gr.Blocks, on: ArrivalHandlers, shown_settings: gr.State) -> None:
    """Connect the page's loading and the language switch."""
    toolbar, controls, inspector = on.toolbar, on.controls, on.inspector
    buttons = {toolbar.link, toolbar.trace, toolbar.report, toolbar.inbox}
    translated = controls.everything | inspector.outputs | buttons | set(on.translations)
    page.load(on.arrive, None, translated | {toolbar.language, on.shared, on.model}, **QUICK)
    inputs = controls.inputs | inspector.inputs | {shown_settings, on.model}
    toolbar.language.input(on.switch_language, inputs, translated, **QUICK)
