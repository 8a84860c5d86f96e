"""A visitor arrives, perhaps by a link, and chooses a language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.compare_tab.controls import Controls
from app.compare_tab.inspector import Inspector
from app.language import ENGLISH, Language, preferred
from app.sharing import link
from app.toolbar.components import Toolbar
from app.ui.events import QUICK, Changes
from dola_core.models.loaded_model import LoadedModel

Translations = Mapping[Component, Callable[[Language], Any]]
"""{a part of the page that belongs to no tab's components: what it becomes in another language}"""


@dataclass(frozen=True)
class ArrivalHandlers:
    """What happens when the page is opened and when its language is switched."""

    loaded: LoadedModel
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
        changes = self.toolbar.translated(words) if words is ENGLISH else self.translated(words)
        changes |= {self.toolbar.language: words.code}
        shared = link.read(vars(self.controls), visitor.query_params)
        if shared is None:
            return changes
        text = words("page.from_link")
        if shared.model and shared.model != self.loaded.info.name:
            text += " " + words("page.from_other_model", shared=shared.model, model=self.loaded.info.name)
        for name, value in shared.settings.items():
            control = getattr(self.controls, name)
            changes[control] = _with_value(changes.get(control), control, value)
        return changes | {self.shared: shared} | self.inspector.noted(text)

    def switch_language(self, values: Changes) -> Changes:
        """Put the page, and what it shows of a trace, into the chosen language."""
        inspection = self.inspector.inspection(values, values[self.controls.layer], values[self.controls.alpha])
        changes = self.translated(self.inspector.words(values))
        if inspection is None:
            return changes
        return changes | self.inspector.shown(inspection) | self.controls.at(inspection.trace, inspection.view)

    def translated(self, words: Language) -> Changes:
        """Every part of the page but the search tab in another language; no value changes."""
        return (
            self.controls.translated(self.loaded, words)
            | self.inspector.translated(words)
            | self.toolbar.translated(words)
            | {part: update(words) for part, update in self.translations.items()}
        )


def _with_value(update: Any, control: Component, value: Any) -> Any:
    """A control's value together with the update that gives it other words, if there is one."""
    if update is None:
        return value
    return type(control)(**{**update.constructor_args, "value": value})


def wire_arrival(page: gr.Blocks, on: ArrivalHandlers, shown_settings: gr.State) -> None:
    """Connect the page's loading and the language switch."""
    toolbar, controls, inspector = on.toolbar, on.controls, on.inspector
    buttons = {toolbar.link, toolbar.trace, toolbar.report, toolbar.inbox}
    translated = controls.everything | inspector.outputs | buttons | set(on.translations)
    page.load(on.arrive, None, translated | {toolbar.language, on.shared}, **QUICK)
    inputs = controls.inputs | inspector.inputs | {shown_settings}
    toolbar.language.input(on.switch_language, inputs, translated, **QUICK)
