"""The tab that compares: what it is for, the line that asks, and what is shown of a run."""

from dataclasses import dataclass

import gradio as gr

from app.jobs.model_pool import ModelFacts
from app.language import ENGLISH, Language
from app.settings import Settings
from app.tabs.compare.controls import Controls, lay_out_controls
from app.tabs.compare.inspector import Inspector, lay_out_inspector
from app.tabs.compare.panes import make_panes
from app.ui.components import Lead, Notice
from app.ui.events import Changes


@dataclass(frozen=True)
class CompareTab:
    """The parts of the tab."""

    lead: Lead
    controls: Controls
    inspector: Inspector

    def translated(self, facts: ModelFacts, words: Language) -> Changes:
        """Its words in another language; no value changes."""
        return (
            {self.lead: lead(facts, words)} | self.controls.translated(facts, words) | self.inspector.translated(words)
        )


def lead(facts: ModelFacts, words: Language) -> dict[str, str]:
    """What the page is, in a line and two sentences."""
    layer = facts.usual_lanes[1].reads[0]
    return {"title": words("page.lead"), "text": words("page.lead_text", layer=layer)}


def lay_out_compare_tab(facts: ModelFacts, settings: Settings, switch: gr.Radio) -> CompareTab:
    """Lay out the tab, in English, with what was recorded of the model; `switch` is that of the language."""
    recorded = facts.known.first
    first = recorded.read() if recorded else None
    panes, notice = make_panes(facts, first.lanes if first else facts.usual_lanes), Notice(render=False)
    opening = Lead(lead(facts, ENGLISH))
    controls = lay_out_controls(facts, settings, notice, panes)
    return CompareTab(opening, controls, lay_out_inspector(switch, notice, panes, first))
