"""A model is chosen, from the menu or by a link: the page becomes that model's."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from app.jobs.failures import failure_sentence
from app.jobs.host import Host
from app.jobs.model_pool import ModelFacts, nothing
from app.jobs.queue.cancellation import Cancellations
from app.jobs.queue.run_queue import SPARE
from app.jobs.queue.visitor import Visitor
from app.sharing.link import SharedLink
from app.tabs.compare.controls import merged
from app.tabs.compare.tab import CompareTab, lead
from app.tabs.search.components import SearchTab
from app.toolbar.arrival_handlers import follow
from app.toolbar.model_menu import ModelMenu
from app.toolbar.open_handlers import SETTLING, OpenHandlers
from app.ui.events import SILENT, Changes


@dataclass(frozen=True)
class ModelHandlers:
    """What happens when a model is chosen."""

    host: Host
    menu: ModelMenu
    tab: CompareTab
    search_tab: SearchTab
    opening: OpenHandlers
    shared: gr.State
    """The `SharedLink` that brought the visitor, or None."""
    cancellations: tuple[Cancellations, ...]
    """Of the visitors' runs and searches, which a change of the model abandons."""

    def choose(self, values: Changes, visitor: gr.Request) -> Iterator[Changes]:
        """Show a model, which is loaded first if it never was."""
        name, shown, pool = values[self.menu.model], values[self.menu.shown], self.host.pool
        inspector = self.tab.inspector
        words = inspector.words(values)
        if name == shown:
            yield inspector.unchanged()
            return
        try:
            if pool.facts(name) is None:
                with closing(self.host.in_turn(Visitor.of(visitor), name, nothing)) as updates:
                    for update in updates:
                        yield {inspector.notice: {"text": update.message(words), "tone": "busy"}}
            facts = pool.facts(name)
            assert facts is not None  # loading it has found them out
        except Exception as error:  # whatever it is, the visitor gets a sentence
            sentence = failure_sentence(error, "comparison", pool.release, words)
            yield {self.menu.model: shown, self.opening.pending: None} | inspector.failed(sentence)
            return
        abandoned = [cancellations.abandon(str(visitor.session_hash)) for cancellations in self.cancellations]
        if any(abandoned):
            # What a run has let go before it was abandoned must reach the page before the other model does.
            time.sleep(SETTLING)
        yield self.for_model(facts, values)

    def for_model(self, facts: ModelFacts, values: Changes) -> Changes:
        """The page as it begins with a model: with the trace that waits for it, as the link that brought the visitor
        has it the first time, or else with what was recorded of the model."""
        inspector, words = self.tab.inspector, self.tab.inspector.words(values)
        link, pending, before = values[self.shared], values[self.opening.pending], values[self.menu.shown]
        prompt, known = values[self.tab.controls.prompt] or "", self.host.pool.facts(before)
        is_own = bool(prompt.strip()) and not (known and prompt in known.known.prompts)
        changes = (
            self.menu.for_model(facts, words)
            | self.tab.controls.for_model(facts, words, prompt=prompt, before=known)
            | self.search_tab.for_model(facts, words)
            | inspector.emptied(words)
            | {self.tab.lead: lead(facts, words), self.opening.shown_settings: None, self.opening.pending: None}
        )
        if pending is not None:
            return merged(changes, self.opening.show(values, pending, "opened"))
        if isinstance(link, SharedLink) and link.model == facts.name and not link.is_fitted:
            return merged(changes, follow(link, facts, values, self.tab, self.opening, self.shared))
        if facts.known.first and not is_own:
            return merged(changes, self.opening.show(values, facts.known.first.read(), "recorded"))
        return changes


def wire_models(on: ModelHandlers) -> None:
    """Connect the menu. A link or an opened trace changes its value, too."""
    menu, controls, inspector, opening = on.menu, on.tab.controls, on.tab.inspector, on.opening
    inputs: set[Component] = {menu.model, menu.shown, on.shared, opening.pending}
    outputs = {
        *(part for part in vars(menu).values() if isinstance(part, Component)),
        *controls.everything, *inspector.outputs, *on.search_tab.outputs, on.tab.lead, on.shared,
        opening.shown_settings, opening.pending,
    }  # fmt: skip
    menu.model.change(
        on.choose,
        inputs | controls.inputs | inspector.inputs,
        outputs,
        concurrency_limit=on.host.queue.most + SPARE,
        concurrency_id="model",
        trigger_mode="always_last",
        **SILENT,
    )
