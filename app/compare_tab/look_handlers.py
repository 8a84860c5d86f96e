"""Looking at a recorded trace: sliders, switches, clicks and keys. The model is never asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.compare_tab import navigation
from app.compare_tab.controls import Controls
from app.compare_tab.inspector import Inspector
from app.ui.events import EVERY_CLICK, QUICK, Changes, event_data


@dataclass(frozen=True)
class LookHandlers:
    """What happens when a visitor moves j*, α or a switch, clicks on a chart, or presses a key."""

    controls: Controls
    inspector: Inspector

    def look(self, values: Changes) -> Changes:
        """Show the trace with the present settings."""
        controls, inspector = self.controls, self.inspector
        inspection = inspector.inspection(values, values[controls.layer], values[controls.alpha])
        return inspector.shown(inspection) if inspection else inspector.unchanged()

    def move(self, values: Changes, move: navigation.Move, data: dict[str, Any]) -> Changes:
        """Show what a move leads to, and put the sliders there."""
        controls, inspector = self.controls, self.inspector
        before = inspector.inspection(values, values[controls.layer], values[controls.alpha])
        if before is None:
            return inspector.unchanged()
        view = move(before, data)
        after = before.at(view)
        if after is None:
            return inspector.unchanged()
        moved = (view.layer, view.alpha) != (before.view.layer, before.view.alpha)
        return inspector.shown(after) | (controls.at(after.trace, view) if moved else {})

    def clicked(self, move: navigation.Move) -> Callable[[Changes, gr.EventData], Changes]:
        """The handler of a click on a chart or a token."""

        def handler(values: Changes, event: gr.EventData) -> Changes:
            return self.move(values, move, event_data(event))

        return handler

    def pressed(self, move: navigation.Move) -> Callable[[Changes], Changes]:
        """The handler of a button."""
        return lambda values: self.move(values, move, {})


def wire_looks(controls: Controls, inspector: Inspector) -> None:
    """Connect sliders, switches, charts and keys."""
    on = LookHandlers(controls, inspector)
    inputs: set[Component] = {controls.layer, controls.alpha} | inspector.inputs
    outputs = {controls.layer, controls.alpha} | inspector.outputs
    # One event for all sliders and switches: while its answer is under way the next one waits, so that no answer to an
    # earlier move of one comes after that to a later move of another.
    sliders = [controls.layer.input, controls.alpha.input, *(switch.input for switch in inspector.switches)]
    gr.on(sliders, on.look, inputs, inspector.outputs, trigger_mode="always_last", **QUICK)
    for trigger, move in (
        (inspector.lanes.select, navigation.to_token),
        (inspector.lanes.key_up, navigation.by_layers),
        (inspector.divergence.select, navigation.to_step),
        (inspector.plausible_head.select, navigation.pin),
        (inspector.layers.select, navigation.to_layer),
        (inspector.heat_base.select, navigation.to_cell(0)),
        (inspector.heat_dola.select, navigation.to_cell(1)),
        (inspector.map.select, navigation.to_setting),
        (inspector.changed_by_layer.select, navigation.to_layer),
    ):
        trigger(on.clicked(move), inputs, outputs, **EVERY_CLICK)
    for button, direction in ((inspector.previous, -1), (inspector.next, 1)):
        button.click(on.pressed(navigation.to_difference(direction)), inputs, outputs, **EVERY_CLICK)
