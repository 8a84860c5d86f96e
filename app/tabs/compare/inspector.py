"""What lies below the prompt: texts, sentence and charts of a trace, seen through a `View`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import gradio as gr
from gradio.components import Component

from app.jobs.comparison import ComparisonUpdate
from app.language import ENGLISH, Language, language
from app.render.figures import layer_card, map_card, plausible_head_card
from app.render.guide_steps import guide_steps
from app.render.inspection import Inspection
from app.render.sentences import step_sentence, why_sentence
from app.render.step_bar import step_bar
from app.render.token_strips import invitation, running_strips, token_strips
from app.render.view_state import (
    CANDIDATE_SETS,
    HEAT_QUANTITIES,
    LAYER_QUANTITIES,
    OVERLAYS,
    PLAUSIBLE_HEAD_QUANTITIES,
    Origin,
    View,
)
from app.tabs.compare.folded import Folded, items, lay_out_charts
from app.tabs.compare.panes import Panes
from app.ui.components import Chart, Crumbs, Folds, Notice, Sentence, StepBar, TokenStrips
from app.ui.events import Changes
from dola_core.lanes import Lane
from dola_core.trace.schema import Trace
from dola_core.trace.token_text import token

MAX_TRAIL, MAX_TRAIL_STEPS = 8, 2000
"""Runs that a visitor can go back to, and steps in all of them, of some 10 kB each; the oldest is forgotten first."""


@dataclass(frozen=True)
class Crumb:
    """A run on the way to the one shown, and how it came about, in a few words."""

    label: str
    trace: Trace
    origin: Origin = ""


@dataclass(frozen=True)
class Inspector:
    """The components, and what they show."""

    language: gr.Radio
    trace: gr.State
    trail: gr.State
    lane: gr.State
    """Whose text is looked at, from 0."""
    step: gr.State
    """The step of it, from 1."""
    pinned: gr.State
    edited: gr.State
    """The pane whose fields a visitor asked for last, from 0; None for those of the lane that the charts explain."""
    notice: Notice
    """Stands under the line that asks."""
    bar_notice: Notice
    """Stands under the bar, whose buttons it is about."""
    crumbs: Crumbs
    lanes: TokenStrips
    overlay: gr.Radio
    bar: StepBar
    below: gr.Column
    sentence: Sentence
    why: Sentence
    candidates: gr.Radio
    plausible_head_kind: gr.Radio
    plausible_head: Chart
    layer_kind: gr.Radio
    layers: Chart
    map: Chart
    run_on: gr.Button
    force: gr.Button
    heat_kind: gr.Radio
    folded: Folded

    @property
    def outputs(self) -> set[Component]:
        """Everything a handler may change."""
        parts = {getattr(self, field.name) for field in fields(self) if field.name != "folded"}
        return parts | self.folded.outputs

    @property
    def drawn_parts(self) -> set[Component]:
        """What `drawn` changes. They are few, for each output of an event takes server and browser some time."""
        parts = {self.lanes, self.bar, self.sentence, self.why, self.plausible_head, self.layers, self.map}
        return parts | self.folded.charts | {self.folded.guide}

    @property
    def switches(self) -> tuple[Component, ...]:
        """What a visitor moves to look at something else; with the trace, a view is read from them."""
        return self.overlay, self.candidates, self.plausible_head_kind, self.layer_kind, self.heat_kind

    @property
    def inputs(self) -> set[Component]:
        """What `view` reads."""
        return {
            self.language, self.trace, self.trail, self.lane, self.step, self.pinned, self.edited,
            self.folded.opened, *self.switches,
        }  # fmt: skip

    def words(self, values: Changes) -> Language:
        """The visitor's language."""
        return language(values[self.language])

    def view(self, values: Changes, lanes: Sequence[Lane | None]) -> View:
        """How the visitor looks at the trace now, with the lanes as they are set."""
        trail = values[self.trail]
        return View(
            lane=values[self.lane],
            index=values[self.step] - 1,
            lanes=tuple(lanes),
            edited=values[self.edited],
            overlay=values[self.overlay],
            candidates=values[self.candidates],
            plausible_head=values[self.plausible_head_kind],
            layers=values[self.layer_kind],
            heat=values[self.heat_kind],
            pinned=tuple(values[self.pinned]),
            origin=trail[-1].origin if trail else "",
            opened=values[self.folded.opened],
            words=self.words(values),
        )

    def inspection(self, values: Changes, lanes: Sequence[Lane | None]) -> Inspection | None:
        """The trace that is shown with how the visitor looks at it; None if there is nothing to look at."""
        return Inspection.of(values[self.trace], self.view(values, lanes))

    def streaming(self, update: ComparisonUpdate, view: View) -> Changes:
        """A comparison under way: the strips only, nothing selected."""
        trace = update.trace
        strips = running_strips(Inspection(trace, replace(view, lanes=trace.lanes)))
        return {self.trace: trace, self.lanes: strips}

    def finished(self, trail: list[Crumb], view: View) -> Changes:
        """The last run of a trail at its end; the charts stay as they were if nothing was written."""
        trace = trail[-1].trace
        view = replace(view, origin=trail[-1].origin, edited=None)
        inspection = Inspection.of(trace, view)
        return {
            **self.remembering(trail),
            self.overlay: view.overlay,
            self.candidates: view.candidates,
            self.plausible_head_kind: view.plausible_head,
            self.layer_kind: view.layers,
            self.heat_kind: view.heat,
            **(
                self.shown(inspection)
                if inspection
                else {self.lanes: running_strips(Inspection(trace, replace(view, lanes=trace.lanes)))}
            ),
        }

    def remembering(self, trail: list[Crumb]) -> Changes:
        """The last run of a trail, as far as it is not drawn: the trace, the way to it, and that nothing runs."""
        trail = _remembered(trail)
        return {
            self.trace: trail[-1].trace,
            self.trail: trail,
            self.notice: None,
            self.bar_notice: None,
            self.crumbs: [crumb.label for crumb in trail] if len(trail) > 1 else [],
        }

    def shown(self, inspection: Inspection) -> Changes:
        """Everything that shows an inspection."""
        return {
            self.below: gr.Column(visible=True),
            self.lane: inspection.view.lane,
            self.step: inspection.view.index + 1,
            self.pinned: list(inspection.view.pinned),
            self.edited: inspection.view.edited,
            self.force: _force_button(inspection),
            **self.drawn(inspection),
        }

    def drawn(self, inspection: Inspection) -> Changes:
        """What the page's own components draw of an inspection: all that changes while step and pins stay."""
        view = inspection.view
        label = inspection.words(f"strips.{view.origin}") if view.origin else ""
        return {
            self.lanes: token_strips(inspection, label=label),
            self.bar: step_bar(inspection, view.edited, inspection.words),
            self.sentence: step_sentence(inspection),
            self.why: why_sentence(inspection),
            self.plausible_head: plausible_head_card(inspection),
            self.layers: layer_card(inspection),
            self.map: map_card(inspection),
            **self.folded.drawn(inspection),
        }

    def emptied(self, words: Language, invited: str = "") -> Changes:
        """Nothing to look at, such as before a first run; `invited` says what pressing "Run this" would show."""
        return {
            self.trace: None,
            self.trail: [],
            self.pinned: [],
            self.edited: None,
            self.notice: None,
            self.bar_notice: None,
            self.crumbs: [],
            self.lanes: invitation(words, invited) if invited else None,
            self.below: gr.Column(visible=False),
            **self.without_trace(words),
        }

    def without_trace(self, words: Language) -> Changes:
        """What bar and guide say where there is nothing to look at."""
        return {self.bar: step_bar(None, None, words), self.folded.guide: guide_steps(None, words)}

    def failed(self, sentence: str, *, at_bar: bool = False) -> Changes:
        """One sentence instead of what was asked for, near the button that asked; what is on the page stays."""
        return {self.bar_notice if at_bar else self.notice: {"text": sentence, "tone": "error"}}

    def noted(self, sentence: str) -> Changes:
        """One sentence about what was done."""
        return {self.notice: {"text": sentence, "tone": ""}}

    def unchanged(self) -> Changes:
        """An answer that changes nothing."""
        return {self.notice: gr.skip()}

    def translated(self, words: Language) -> Changes:
        """The words of its buttons and switches in another language; no value changes."""
        return {
            **{
                getattr(self, attribute): gr.Radio(_options(values, words), label=words(f"inspector.{attribute}"))
                for attribute, values in SWITCHES.items()
            },
            **self.folded.translated(words),
            self.run_on: gr.Button(words("inspector.run_on")),
        }


SWITCHES: dict[str, tuple[str, ...]] = {
    "overlay": OVERLAYS,
    "candidates": CANDIDATE_SETS,
    "plausible_head_kind": PLAUSIBLE_HEAD_QUANTITIES,
    "layer_kind": LAYER_QUANTITIES,
    "heat_kind": HEAT_QUANTITIES,
}
"""{attribute of a switch: its options}"""


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
    key = "inspector.force" if len(inspection.shown) == 2 else "inspector.force_all"
    return gr.Button(inspection.words(key, token=token(inspection.trace, token_id)), visible=True)


def _options(values: tuple[str, ...], words: Language) -> list[tuple[str, str]]:
    """The options of a switch as they are called, and as a view calls them."""
    keys = {"log-ratio F": "ratio", "p(chosen)": "chosen"}
    return [(words(f"option.{keys.get(value, value)}"), value) for value in values]


def _switch(name: str, *, render: bool = True) -> gr.Radio:
    """A small switch in a card's corner."""
    values = SWITCHES[name]
    return gr.Radio(
        _options(values, ENGLISH), value=values[0], label=ENGLISH(f"inspector.{name}"), show_label=False,
        elem_id=name.replace("_", "-"), elem_classes="duet-segments", container=False, render=render,
    )  # fmt: skip


def lay_out_inspector(switch: gr.Radio, notice: Notice, panes: Panes, first: Trace | None) -> Inspector:
    """Lay out texts, bar, sentence and charts, in English; `switch` is that of the language.

    `first` is the recorded trace that the page opens with, if there is one. `notice` is laid out already.
    """
    trail = [Crumb(ENGLISH("strips.recorded"), first, "recorded")] if first else []
    fork = (first.fork or 0) if first else 0
    crumbs = Crumbs(elem_id="crumbs")
    with gr.Column(elem_classes="duet-panes"):
        panes.lay_out_menus()
        lanes = TokenStrips(elem_id="texts")
    with gr.Row(elem_classes="duet-sticky", elem_id="bar"):
        panes.render_fields()
        bar = StepBar(step_bar(None, None, ENGLISH), elem_classes="duet-where")
    bar_notice = Notice()
    with gr.Column(visible=first is not None, elem_classes="duet-below") as below:
        sentence = Sentence(elem_classes="duet-say")
        why = Sentence(elem_classes="duet-why")
        with gr.Row(elem_classes="duet-three"):
            with gr.Column(elem_classes="duet-card duet-switched"):
                plausible_head_kind = _switch("plausible_head_kind")
                plausible_head = Chart(elem_id="plausible-head")
                candidates = _switch("candidates")
            with gr.Column(elem_classes="duet-card duet-switched"):
                layer_kind = _switch("layer_kind")
                layers = Chart(elem_id="layers")
            with gr.Column(elem_classes="duet-card"):
                map_ = Chart(elem_id="map")
        with gr.Row(elem_classes="duet-row"):
            folds = Folds(items(ENGLISH))
            overlay = _switch("overlay")
            force = gr.Button(visible=False, size="sm", elem_id="force")
            run_on = gr.Button(ENGLISH("inspector.run_on"), size="sm", elem_id="run-on")
        heat_kind = _switch("heat_kind", render=False)
        folded = lay_out_charts(heat_kind, folds)
    inspector = Inspector(
        switch, gr.State(first), gr.State(trail), gr.State(1), gr.State(fork + 1), gr.State([]), gr.State(None),
        notice, bar_notice, crumbs, lanes, overlay, bar, below, sentence, why, candidates,
        plausible_head_kind, plausible_head, layer_kind, layers, map_, run_on, force, heat_kind, folded,
    )  # fmt: skip
    if first is not None:
        view = View(lane=1, index=fork, lanes=first.lanes, origin="recorded")
        for part, value in inspector.drawn(Inspection(first, view)).items():
            part.value = part.postprocess(value)
    return inspector
