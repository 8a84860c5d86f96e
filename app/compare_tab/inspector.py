"""What lies below the controls: strips, sentence and charts of a trace, seen through a `View`."""

from dataclasses import dataclass, fields, replace

import gradio as gr
from gradio.components import Component

from app.language import ENGLISH, Language, language
from app.render.figures import (
    changed_by_layer_card,
    divergence_card,
    heat_card,
    layer_card,
    map_card,
    plausible_head_card,
)
from app.render.inspection import Inspection
from app.render.sentences import difference_sentence, say, step_sentence
from app.render.token_strips import running_strips, token_strips
from app.render.token_text import token
from app.render.view_state import HEAT_QUANTITIES, LAYER_QUANTITIES, OVERLAYS, PLAUSIBLE_HEAD_QUANTITIES, View
from app.ui.components import Chart, Crumbs, Notice, Sentence, StepSlider, TokenStrips
from app.ui.events import Changes
from dola_core.trace.schema import Trace

LANES = ("Baseline", "DoLa-static")
"""What the switch between the texts calls the lanes, whatever a trace calls them."""
MAX_TRAIL, MAX_TRAIL_STEPS = 8, 2000
"""Runs that a visitor can go back to, and steps in all of them, of some 10 kB each; the oldest is forgotten first."""


@dataclass(frozen=True)
class Crumb:
    """A run on the way to the one shown, and how it came about, in a few words."""

    label: str
    trace: Trace


@dataclass(frozen=True)
class Inspector:
    """The components, and what they show."""

    language: gr.Radio
    trace: gr.State
    trail: gr.State
    pinned: gr.State
    notice: Notice
    crumbs: Crumbs
    lanes: TokenStrips
    below: gr.Column
    count: Sentence
    previous: gr.Button
    next: gr.Button
    overlay: gr.Radio
    divergence: Chart
    lane: gr.Radio
    step: gr.Slider
    sentence: Sentence
    run_on: gr.Button
    force: gr.Button
    plausible_head_kind: gr.Radio
    plausible_head: Chart
    layer_kind: gr.Radio
    layers: Chart
    heat_kind: gr.Radio
    heat_base: Chart
    heat_dola: Chart
    map: Chart
    changed_by_layer: Chart

    @property
    def outputs(self) -> set[Component]:
        """Everything a handler may change."""
        return {getattr(self, field.name) for field in fields(self)}

    @property
    def switches(self) -> tuple[Component, ...]:
        """What a visitor moves to look at something else; with the trace, a view is read from them."""
        return self.lane, self.step, self.overlay, self.plausible_head_kind, self.layer_kind, self.heat_kind

    @property
    def inputs(self) -> set[Component]:
        """What `view` reads."""
        return {self.language, self.trace, self.trail, self.pinned, *self.switches}

    def words(self, values: Changes) -> Language:
        """The visitor's language."""
        return language(values[self.language])

    def view(self, values: Changes, layer: int, alpha: float) -> View:
        """How the visitor looks at the trace now."""
        return View(
            lane=values[self.lane],
            index=values[self.step] - 1,
            layer=layer,
            alpha=alpha,
            overlay=values[self.overlay],
            plausible_head=values[self.plausible_head_kind],
            layers=values[self.layer_kind],
            heat=values[self.heat_kind],
            pinned=tuple(values[self.pinned]),
            words=self.words(values),
        )

    def inspection(self, values: Changes, layer: int, alpha: float) -> Inspection | None:
        """The trace that is shown with how the visitor looks at it; None if there is nothing to look at."""
        return Inspection.of(values[self.trace], self.view(values, layer, alpha))

    def streaming(self, trace: Trace, note: str, view: View) -> Changes:
        """A comparison under way: the strips only, nothing selected."""
        return {
            self.trace: trace,
            self.notice: {"text": note, "tone": "busy"},
            self.lanes: running_strips(Inspection(trace, view)),
        }

    def finished(self, trail: list[Crumb], view: View) -> Changes:
        """The last run of a trail at its end; the charts stay as they were if nothing was written."""
        trail = _remembered(trail)
        trace = trail[-1].trace
        inspection = Inspection.of(trace, view)
        return {
            self.trace: trace,
            self.trail: trail,
            self.notice: None,
            self.crumbs: [crumb.label for crumb in trail] if len(trail) > 1 else [],
            self.overlay: view.overlay,
            self.plausible_head_kind: view.plausible_head,
            self.layer_kind: view.layers,
            self.heat_kind: view.heat,
            **(
                self.shown(inspection)
                if inspection
                else {self.lanes: token_strips(Inspection(trace, replace(view, index=0)))}
            ),
        }

    def shown(self, inspection: Inspection) -> Changes:
        """Everything that shows an inspection."""
        view = inspection.view
        return {
            self.lanes: token_strips(inspection),
            self.below: gr.Column(visible=True),
            self.count: say(difference_sentence(inspection)),
            self.divergence: divergence_card(inspection),
            self.lane: LANES[view.lane],
            self.step: StepSlider(value=view.index + 1, maximum=max(2, len(inspection.steps))),
            self.pinned: list(view.pinned),
            self.sentence: step_sentence(inspection),
            self.force: _force_button(inspection),
            self.plausible_head: plausible_head_card(inspection),
            self.layers: layer_card(inspection),
            self.heat_base: heat_card(inspection, 0),
            self.heat_dola: heat_card(inspection, 1),
            self.map: map_card(inspection),
            self.changed_by_layer: changed_by_layer_card(inspection),
        }

    def emptied(self) -> Changes:
        """Nothing to look at, such as before a first run."""
        return {
            self.trace: None,
            self.trail: [],
            self.pinned: [],
            self.notice: None,
            self.crumbs: [],
            self.lanes: None,
            self.below: gr.Column(visible=False),
        }

    def failed(self, sentence: str) -> Changes:
        """One sentence instead of what was asked for; what is on the page stays."""
        return {self.notice: {"text": sentence, "tone": "error"}}

    def noted(self, sentence: str) -> Changes:
        """One sentence about what was done."""
        return {self.notice: {"text": sentence, "tone": ""}}

    def unchanged(self) -> Changes:
        """An answer that changes nothing."""
        return {self.notice: gr.skip()}

    def translated(self, words: Language) -> Changes:
        """The words of its buttons and switches in another language; no value changes."""
        segments = {
            self.overlay: (OVERLAYS, "overlay"),
            self.plausible_head_kind: (PLAUSIBLE_HEAD_QUANTITIES, "plausible_head_kind"),
            self.layer_kind: (LAYER_QUANTITIES, "layer_kind"),
            self.heat_kind: (HEAT_QUANTITIES, "heat_kind"),
        }
        return {
            **{
                switch: gr.Radio(_options(values, words), label=words(f"inspector.{name}"))
                for switch, (values, name) in segments.items()
            },
            self.lane: gr.Radio(label=words("inspector.lane")),
            self.step: StepSlider(label=words("inspector.step")),
            self.previous: gr.Button(words("inspector.previous")),
            self.next: gr.Button(words("inspector.next")),
            self.run_on: gr.Button(words("inspector.run_on")),
        }


def _remembered(trail: list[Crumb]) -> list[Crumb]:
    """The last runs of a trail that a visitor can go back to; at least the last."""
    trail = trail[-MAX_TRAIL:]
    while len(trail) > 1 and sum(len(crumb.trace.steps) for crumb in trail) > MAX_TRAIL_STEPS:
        trail = trail[1:]
    return trail


def _force_button(inspection: Inspection) -> gr.Button:
    """The button names the token that was pinned last, if it is one of this step's."""
    token_id = inspection.forced
    if token_id is None:
        return gr.Button(visible=False)
    name = token(inspection.trace, token_id)
    return gr.Button(inspection.words("inspector.force", token=name), visible=True)


def _options(values: tuple[str, ...], words: Language) -> list[tuple[str, str]]:
    """The options of a switch as they are called, and as a view calls them."""
    keys = {"log-ratio F": "ratio", "p(chosen)": "chosen"}
    return [(words(f"option.{keys.get(value, value)}"), value) for value in values]


def _segments(values: tuple[str, ...], name: str) -> gr.Radio:
    """A small switch in a card's corner."""
    return gr.Radio(
        _options(values, ENGLISH), value=values[0], label=ENGLISH(f"inspector.{name}"), show_label=False,
        elem_id=name.replace("_", "-"), elem_classes="duet-segments", container=False,
    )  # fmt: skip


def lay_out_inspector(switch: gr.Radio) -> Inspector:
    """Lay out strips, sentence and charts, in English; `switch` is the switch of the language."""
    trace, trail, pinned, notice = gr.State(), gr.State([]), gr.State([]), Notice()
    crumbs, lanes = Crumbs(elem_id="crumbs"), TokenStrips()
    with gr.Column(visible=False) as below:
        with gr.Row(elem_classes="duet-row"):
            count = Sentence()
            previous = gr.Button(ENGLISH("inspector.previous"), size="sm", elem_id="previous")
            next_ = gr.Button(ENGLISH("inspector.next"), size="sm", elem_id="next")
            overlay = _segments(OVERLAYS, "overlay")
        divergence = Chart(elem_id="divergence")
        with gr.Row(elem_classes="duet-row duet-columns"):
            lane = gr.Radio(
                list(LANES), value=LANES[1], type="index", label=ENGLISH("inspector.lane"),
                elem_id="lane", elem_classes="duet-quiet",
            )  # fmt: skip
            step = StepSlider(
                1, 2, value=1, step=1, label=ENGLISH("inspector.step"), elem_id="step", elem_classes="duet-quiet"
            )  # fmt: skip
        sentence = Sentence(elem_classes="duet-say")
        with gr.Row(elem_classes="duet-row"):
            run_on = gr.Button(ENGLISH("inspector.run_on"), size="sm", elem_id="run-on")
            force = gr.Button(visible=False, size="sm", elem_id="force")
        with gr.Row(elem_classes="duet-columns"):
            with gr.Column(elem_classes="duet-card"):
                plausible_head_kind = _segments(PLAUSIBLE_HEAD_QUANTITIES, "plausible_head_kind")
                plausible_head = Chart(elem_id="plausible-head")
            with gr.Column(elem_classes="duet-card"):
                layer_kind = _segments(LAYER_QUANTITIES, "layer_kind")
                layers = Chart(elem_id="layers")
        with gr.Column(elem_classes="duet-card"):
            heat_kind = _segments(HEAT_QUANTITIES, "heat_kind")
            with gr.Row(elem_classes="duet-columns"):
                heat_base, heat_dola = Chart(elem_id="heat-base"), Chart(elem_id="heat-dola")
        with gr.Row(elem_classes="duet-columns"):
            with gr.Column(elem_classes="duet-card"):
                map_ = Chart(elem_id="map")
            with gr.Column(elem_classes="duet-card"):
                changed_by_layer = Chart(elem_id="changed-by-layer")
    return Inspector(
        switch, trace, trail, pinned, notice, crumbs, lanes, below, count, previous, next_, overlay, divergence, lane,
        step, sentence, run_on, force, plausible_head_kind, plausible_head, layer_kind, layers, heat_kind, heat_base,
        heat_dola, map_, changed_by_layer,
    )  # fmt: skip
