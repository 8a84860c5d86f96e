"""Looking at a recorded trace: panes, switches, clicks and keys. The model is never asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.jobs.model_pool import ModelPool
from app.jobs.request import RequestError
from app.render.step_bar import step_bar
from app.tabs.compare import navigation
from app.tabs.compare.controls import SUMMED, Controls
from app.tabs.compare.folded import FOLDS, GUIDE
from app.tabs.compare.inspector import Inspector
from app.tabs.compare.lane_form import LaneForm
from app.ui.events import EVERY_CLICK, QUICK, Changes, event_data


@dataclass(frozen=True)
class LookHandlers:
    """What happens when a visitor changes a lane or a switch, clicks on a chart, or presses a key."""

    pool: ModelPool
    model: gr.Dropdown
    controls: Controls
    inspector: Inspector

    def look(self, values: Changes) -> Changes:
        """Show the trace with the present settings, at the step that is shown already."""
        inspector = self.inspector
        inspection = inspector.inspection(values, self.controls.panes.seen(values))
        return inspector.drawn(inspection) if inspection else {inspector.sentence: gr.skip()}

    def fold(self, values: Changes, event: gr.EventData) -> Changes:
        """Draw the folded parts that are open now, which the browser names, and empty the others."""
        named, before = event_data(event)["custom"], values[self.inspector.folded.opened]
        names = [name for name in FOLDS if isinstance(named, list) and name in named]
        return self._open(values, [*names, *(name for name in before if name == GUIDE)])

    def turn_to(self, guide: int) -> Callable[[Changes, gr.EventData], Changes]:
        """The handler of the tabs: the guide is drawn while its tab, of this number, is open."""

        def handler(values: Changes, event: gr.EventData) -> Changes:
            before = values[self.inspector.folded.opened]
            charts = [name for name in before if name != GUIDE]
            is_guide = event_data(event)["index"] == guide
            if not is_guide:
                return {self.inspector.folded.opened: tuple(charts)}
            return self._open(values, [*charts, GUIDE])

        return handler

    def _open(self, values: Changes, names: list[str]) -> Changes:
        inspector, panes = self.inspector, self.controls.panes
        opened = values | {inspector.folded.opened: tuple(names)}
        return inspector.folded.at(names, inspector.inspection(opened, panes.seen(values)), inspector.words(values))

    def choose_kind(self, number: int) -> Callable[[Changes], Changes]:
        """The handler of the menu of a pane: it shows the fields of the decoder, and what it would choose."""

        def handler(values: Changes) -> Changes:
            pane = self.controls.panes.panes[number]
            return self.edit(number)(values) | pane.showing(str(values[pane.kind]))

        return handler

    def edit(self, number: int) -> Callable[[Changes], Changes]:
        """The handler of the menu of a pane that is pointed at: the bar shows the fields of that pane."""

        def handler(values: Changes) -> Changes:
            inspector = self.inspector
            edited: Changes = {inspector.edited: number}
            inspection = inspector.inspection(values | edited, self.controls.panes.seen(values))
            bar: Changes = {inspector.bar: step_bar(None, number, inspector.words(values))}
            return (inspector.shown(inspection) if inspection else bar) | edited

        return handler

    def set_text(self, values: Changes) -> Changes:
        """Show what a lane that is written as text would choose, or say what is wrong with it."""
        words, trace = self.inspector.words(values), values[self.inspector.trace]
        facts = self.pool.facts(values[self.model]) or self.pool.first
        try:
            self.controls.panes.lanes(values, trace.model.n_layers if trace else facts.n_layers)
        except RequestError as error:
            return self.inspector.failed(error.message(words), at_bar=True)
        inspection = self.inspector.inspection(values, self.controls.panes.seen(values))
        return (self.inspector.drawn(inspection) if inspection else {}) | {self.inspector.bar_notice: None}

    def add_lane(self, values: Changes) -> Changes:
        """One pane more; its lane has no text before the next run, unless it had one already."""
        changes = self.controls.panes.added(values)
        count = changes[self.controls.panes.count]
        return changes | self.edit(count - 1)(values | {self.controls.panes.count: count})

    def add_without_image(self, values: Changes) -> Changes:
        """A pane with the baseline that does not see the image, which has a text after the next run."""
        panes, trace = self.controls.panes, values[self.inspector.trace]
        facts = self.pool.facts(values[self.model]) or self.pool.first
        n_layers = trace.model.n_layers if trace else facts.n_layers
        changes = panes.without_image(values, n_layers, self.inspector.words(values))
        if not changes:
            return self.inspector.unchanged()
        return changes | self.edit(changes[panes.count] - 1)(values | {panes.count: changes[panes.count]})

    def remove_lane(self, values: Changes) -> Changes:
        """Without the last pane, and without what it shows."""
        panes, edited = self.controls.panes, {self.inspector.edited: None}
        changes = panes.removed(values) | edited
        seen = panes.seen(values | {panes.count: changes[panes.count]})
        inspection = self.inspector.inspection(values | edited, seen)
        return changes | (self.inspector.shown(inspection) if inspection else {})

    def move(self, values: Changes, move: navigation.Move, data: dict[str, Any]) -> Changes:
        """Show what a move leads to, and put the sliders there."""
        controls, inspector = self.controls, self.inspector
        before = inspector.inspection(values, controls.panes.seen(values))
        if before is None:
            return inspector.unchanged()
        view = move(before, data)
        after = before.at(view)
        if after is None:
            return inspector.unchanged()
        moved = view.lanes != before.view.lanes
        return inspector.shown(after) | (controls.at(after, values) if moved else {})

    def clicked(self, move: navigation.Move) -> Callable[[Changes, gr.EventData], Changes]:
        """The handler of a click on a chart or a token."""

        def handler(values: Changes, event: gr.EventData) -> Changes:
            return self.move(values, move, event_data(event))

        return handler

    def sum_up(self, values: Changes) -> Changes:
        """Say on the closed section of decoding how is decoded."""
        return {self.controls.decoding: self.controls.summary(values, self.inspector.words(values))}

    def at_bar(self, values: Changes, event: gr.EventData) -> Changes:
        """The handler of the bar's buttons; where no run has the pane, a field goes back to what is usual."""
        data = event_data(event)
        return self.move(values, navigation.at_bar, data) | self._reset_to_usual(values, data)

    def _reset_to_usual(self, values: Changes, data: dict[str, Any]) -> Changes:
        custom, panes, inspector = data["custom"], self.controls.panes, self.inspector
        seen = panes.seen(values)
        inspection = inspector.inspection(values, seen)
        if data["text"] != "reset" or not (isinstance(custom, list) and len(custom) == 2):
            return {}
        pane, field = custom
        if not isinstance(field, str) or isinstance(pane, bool):
            return {}
        ran = inspection.shown if inspection else range(0)
        if pane in ran or pane not in range(len(seen)) or field not in navigation.FIELD_NAMES:
            return {}
        facts = self.pool.facts(values[self.model]) or self.pool.first
        usual = LaneForm(kind=values[panes.panes[pane].kind]).at_usual(facts.usual_lanes[1])
        return panes.reset(pane, field, usual, facts.n_layers, inspector.words(values))


def wire_looks(pool: ModelPool, model: gr.Dropdown, controls: Controls, inspector: Inspector) -> LookHandlers:
    """Connect sliders, switches, charts and keys."""
    on = LookHandlers(pool, model, controls, inspector)
    panes, folded = controls.panes, inspector.folded
    inputs: set[Component] = panes.inputs | inspector.inputs | {model}
    outputs = panes.outputs | inspector.outputs
    # One event for all sliders and switches: while its answer is under way the next one waits, so that no answer to an
    # earlier move of one comes after that to a later move of another.
    fields = [part for pane in panes.panes for part in (pane.layer, pane.alpha, pane.beta, pane.bucket, pane.penalty)]
    sliders = [part.input for part in (*fields, *inspector.switches)]
    gr.on(sliders, on.look, inputs, inspector.drawn_parts, trigger_mode="always_last", **QUICK)
    for number, pane in enumerate(panes.panes):
        pane.kind.input(on.choose_kind(number), inputs, outputs, **EVERY_CLICK)
        pane.kind.focus(on.edit(number), inputs, inspector.outputs, **EVERY_CLICK)
    gr.on([pane.text.blur for pane in panes.panes], on.set_text, inputs, inspector.outputs, **EVERY_CLICK)
    gr.on([pane.text.submit for pane in panes.panes], on.set_text, inputs, inspector.outputs, **EVERY_CLICK)
    panes.add.click(on.add_lane, inputs, outputs, **EVERY_CLICK)
    controls.image.select(on.add_without_image, inputs, outputs, **EVERY_CLICK)
    panes.remove.click(on.remove_lane, inputs, outputs, **EVERY_CLICK)
    for trigger, move in (
        (inspector.lanes.select, navigation.to_token),
        (inspector.lanes.key_up, navigation.by_layers),
        (folded.divergence.select, navigation.to_step),
        (inspector.plausible_head.select, navigation.pin),
        (inspector.layers.select, navigation.to_layer),
        *((heat.select, navigation.to_cell(lane)) for lane, heat in enumerate(folded.heats)),
        (inspector.map.select, navigation.to_setting),
        (folded.changed_by_layer.select, navigation.to_layer),
    ):
        trigger(on.clicked(move), inputs, outputs, **EVERY_CLICK)
    folded.folds.select(on.fold, inputs, folded.outputs, **EVERY_CLICK)
    inspector.bar.select(on.at_bar, inputs, outputs, **EVERY_CLICK)
    summed = [getattr(controls, name) for name in SUMMED]
    gr.on([part.change for part in summed], on.sum_up, {*summed, inspector.language}, [controls.decoding], **QUICK)
    return on


def wire_guide(on: LookHandlers, tabs: gr.Tabs, number: int) -> None:
    """Draw the guide while its tab, of this number, is open; its "show me" leads to the comparison's tab."""
    inspector, panes = on.inspector, on.controls.panes
    folded, inputs, outputs = inspector.folded, panes.inputs | inspector.inputs, panes.outputs | inspector.outputs
    shown = folded.guide.select(on.clicked(navigation.to_token), inputs, outputs, **EVERY_CLICK)
    shown.then(lambda: gr.Tabs(selected="compare"), None, [tabs], **QUICK)
    tabs.select(on.turn_to(number), inputs, folded.outputs, **EVERY_CLICK)
