"""A visitor arrives, perhaps by a link, and chooses a language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.jobs.model_pool import ModelFacts, ModelPool
from app.language import ENGLISH, Language, language, preferred
from app.sharing import link
from app.sharing.link import SharedLink
from app.tabs.compare.controls import merged, settings_of
from app.tabs.compare.tab import CompareTab
from app.toolbar.components import Toolbar
from app.toolbar.model_menu import ModelMenu
from app.toolbar.open_handlers import OpenHandlers
from app.ui.events import QUICK, Changes

Translations = Mapping[Component, Callable[[Language], Any]]
"""{a part of the page that belongs to no tab's components: what it becomes in another language}"""


@dataclass(frozen=True)
class ArrivalHandlers:
    """What happens when the page is opened and when its language is switched."""

    pool: ModelPool
    menu: ModelMenu
    toolbar: Toolbar
    tab: CompareTab
    opening: OpenHandlers
    shared: gr.State
    """Gets the `SharedLink` that brought the visitor."""
    arrival: gr.State
    """The language and the `SharedLink` of a visitor for whom the page must change; None for all others."""
    translations: Translations

    def greet(self, visitor: gr.Request) -> Changes:
        """Look whether the page must change for a visitor; if so, the browser asks for `arrive`.

        In English and without a link it stays as it is served, and an answer with a place for all that might change
        would keep the browser busy.
        """
        words = preferred(visitor.headers.get("accept-language", ""), visitor.query_params.get("lang", ""))
        shared = link.read(vars(self.tab.controls), visitor.query_params)
        if words is ENGLISH and shared is None:
            return self.toolbar.arrived(ENGLISH)
        return {self.arrival: (words.code, shared), self.toolbar.inbox: self.toolbar.awaited(words)}

    def arrive(self, values: Changes) -> Changes:
        """Put the page into the visitor's language, and set the controls as the link says."""
        code, shared = values[self.arrival]
        words, values = language(code), values | {self.toolbar.language: code}
        changes = self.toolbar.translated(words) if words is ENGLISH else self._in(words, values)
        changes |= {self.toolbar.language: code}
        if shared is None:
            return changes
        if shared.model in self.pool.titles and shared.model != self.pool.first.name:
            # The menu's own event follows, which loads the model and then sets the controls.
            return changes | {self.menu.model: shared.model, self.shared: shared}
        return merged(changes, follow(shared, self.pool.first, values, self.tab, self.opening, self.shared))

    def switch_language(self, values: Changes) -> Changes:
        """Put the page, and what it shows of a trace, into the chosen language."""
        return self._in(self.tab.inspector.words(values), values)

    def _in(self, words: Language, values: Changes) -> Changes:
        facts = self.pool.facts(values[self.menu.model]) or self.pool.first
        inspector, panes = self.tab.inspector, self.tab.controls.panes
        inspection = inspector.inspection(values, panes.seen(values))
        changes = self.translated(facts, words) | {self.tab.controls.decoding: self.tab.controls.summary(values, words)}
        if inspection is None:
            return changes | inspector.without_trace(words)
        ranges = panes.translated(inspection.trace.model.n_layers, words)  # which may be another model's
        return changes | ranges | inspector.shown(inspection)

    def translated(self, facts: ModelFacts, words: Language) -> Changes:
        """Every part of the page but the search tab in another language; no value changes."""
        return (
            self.tab.translated(facts, words)
            | self.toolbar.translated(words)
            | self.menu.translated(facts, words)
            | {part: update(words) for part, update in self.translations.items()}
        )


def follow(
    shared: SharedLink, facts: ModelFacts, values: Changes, tab: CompareTab, opening: OpenHandlers, state: gr.State
) -> Changes:
    """What a link shows: the run that was recorded of it at its step, or its settings and a button that runs them."""
    words, inspector = tab.inspector.words(values), tab.inspector
    shared = link.fitted(shared, facts)
    recorded = facts.known.recorded_as(shared.digest)
    # Other settings may have written the same texts: the run that is shown must be the one that the link asks for.
    if recorded is not None and shared.settings.items() <= settings_of(recorded.read()).items():
        return opening.show(values, recorded.read(), "recorded", step=shared.step)
    text = words("page.from_link" if shared.digest else "page.settings_from_link")
    if shared.model and shared.model != facts.name:
        text += " " + words("page.from_other_model", shared=shared.model, model=facts.name)
    if shared.image:
        text += " " + words("link.without_image" if facts.reads_images else "link.image_unread")
    controls = tab.controls.with_values({}, shared.settings, facts.n_layers, words)
    return controls | inspector.emptied(words, text) | {state: shared, opening.shown_settings: None}


def wire_arrival(page: gr.Blocks, on: ArrivalHandlers) -> None:
    """Connect the page's loading and the language switch."""
    toolbar, tab = on.toolbar, on.tab
    corner = {toolbar.link, toolbar.save, toolbar.inbox, toolbar.language}
    menu = {on.menu.model, on.menu.badge, on.menu.verdict, on.menu.finding}
    translated = tab.controls.everything | tab.inspector.outputs | {tab.lead} | corner | menu | set(on.translations)
    inputs = tab.controls.inputs | tab.inspector.inputs | {on.menu.model}
    page.load(on.greet, None, [on.arrival, toolbar.inbox], **QUICK)
    arrived = translated | {on.shared, on.opening.shown_settings}
    toolbar.inbox.submit(on.arrive, inputs | {on.arrival}, arrived, **QUICK)
    toolbar.language.input(on.switch_language, inputs, translated, **QUICK)
