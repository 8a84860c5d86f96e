"""What is drawn only while a visitor has it open: the folded charts below the three, and the guide on its own tab.

To draw what nobody sees would make every move of a slider wait for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.language import Language
from app.render.figures import changed_by_layer_card, divergence_card, heat_card
from app.render.guide_steps import guide_steps
from app.render.inspection import Inspection
from app.ui.components import Chart, Folds, GuideSteps
from app.ui.events import Changes
from app.ui.palette import SIDES

FOLDS = ("heat", "changed", "divergence")
"""The folded parts; the browser shows and hides the element with the id `fold-<name>`."""
GUIDE = "guide"
"""The guide counts as one more, which is open while its tab is."""


@dataclass(frozen=True)
class Folded:
    """The parts, and which of them are open."""

    opened: gr.State
    """The names of the open ones; a closed one holds nothing."""
    folds: Folds
    heats: tuple[Chart, ...]
    """One for each lane."""
    changed_by_layer: Chart
    divergence: Chart
    guide: GuideSteps
    """The drawn steps, which stand on a tab of their own."""

    @property
    def charts(self) -> set[Component]:
        """The folded charts."""
        return {*self.heats, self.changed_by_layer, self.divergence}

    @property
    def outputs(self) -> set[Component]:
        """Everything that a handler may change."""
        return {self.opened, self.folds, self.guide} | self.charts

    def parts(self, name: str) -> tuple[Component, ...]:
        """What is drawn in one of the parts."""
        return {
            "heat": self.heats, "changed": (self.changed_by_layer,), "divergence": (self.divergence,),
            GUIDE: (self.guide,),
        }[name]  # fmt: skip

    def drawn(self, inspection: Inspection) -> Changes:
        """What the parts show of an inspection: nothing where they are closed, which costs less than to skip them."""
        changes: Changes = dict.fromkeys((*self.charts, self.guide))
        for name in inspection.view.opened:
            changes |= dict(zip(self.parts(name), _drawn(name, inspection, len(self.heats)), strict=True))
        return changes

    def at(self, names: Sequence[str], inspection: Inspection | None, words: Language) -> Changes:
        """The parts, of which those named are open."""
        drawn = self.drawn(inspection) if inspection else {self.guide: guide_steps(None, words)}
        return drawn | {self.opened: tuple(names)}

    def translated(self, words: Language) -> Changes:
        """The buttons in another language."""
        return {self.folds: items(words)}


def _drawn(name: str, inspection: Inspection, most: int) -> list[dict[str, Any] | None]:
    """The values of a part's components, of which the heatmaps are as many as there can be lanes."""
    if name == "heat":
        shown = len(inspection.shown)
        return [heat_card(inspection, lane) if lane < shown else None for lane in range(most)]
    if name == "changed":
        return [changed_by_layer_card(inspection)]
    return [divergence_card(inspection) if name == "divergence" else guide_steps(inspection)]


def items(words: Language) -> dict[str, object]:
    """The buttons that fold and unfold."""
    return {"items": [[name, words(f"inspector.fold_{name}")] for name in FOLDS]}


def lay_out_charts(heat_kind: gr.Radio, folds: Folds) -> Folded:
    """Lay out the folded charts, with the heatmaps' switch among them; the guide is rendered on its tab."""
    with gr.Column(elem_classes="duet-card duet-switched", elem_id="fold-heat"):
        heat_kind.render()
        with gr.Row(elem_classes="duet-columns duet-heats"):
            heats = tuple(Chart(elem_id=f"heat-{side}") for side in SIDES)
    with gr.Column(elem_classes="duet-card", elem_id="fold-changed"):
        changed_by_layer = Chart(elem_id="changed-by-layer")
    with gr.Column(elem_classes="duet-card", elem_id="fold-divergence"):
        divergence = Chart(elem_id="divergence")
    return Folded(gr.State(()), folds, heats, changed_by_layer, divergence, GuideSteps(render=False))
