"""The panes: above each text a menu of decoders; in the bar under the texts the fields that belong to the chosen one.

The bar shows the fields of one pane at a time, which the browser picks by the side that `StepBar` names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component

from app.jobs.model_pool import ModelFacts
from app.jobs.request import LEAST_LANES, MAX_LANE, MAX_LANES, RequestError
from app.language import ENGLISH, Language
from app.tabs.compare.lane_form import (
    DYNAMIC,
    FIELDS,
    LEAST_PENALTY,
    MAX_BETA,
    MENU,
    MOST_PENALTY,
    PENALTY,
    STATIC,
    LaneForm,
)
from app.ui.events import Changes
from app.ui.palette import SIDES
from dola_core.contrast import default_layer
from dola_core.lanes import BUCKETS, Baseline, DolaStatic, Lane, lane_text
from dola_core.trace.step import ALPHA_MIN

ADDED = (DYNAMIC, PENALTY)
"""What the third and the fourth pane begin with."""


@dataclass(frozen=True)
class Pane:
    """The menu above one text, and its fields in the bar."""

    frame: gr.Column
    kind: gr.Dropdown
    layer: gr.Slider
    alpha: gr.Slider
    beta: gr.Slider
    bucket: gr.Dropdown
    penalty: gr.Slider
    text: gr.Textbox

    @property
    def inputs(self) -> tuple[Component, ...]:
        """Its fields."""
        return tuple(getattr(self, name) for name in LaneForm.names())

    def form(self, values: Changes) -> LaneForm:
        """What its fields hold."""
        return LaneForm(**{name: values[getattr(self, name)] for name in LaneForm.names()})

    def at(self, form: LaneForm, n_layers: int, words: Language) -> Changes:
        """Its fields as a form has them, for a model, or an opened trace, of so many layers."""
        return {
            self.kind: form.kind,
            self.layer: _layers(
                n_layers, words, value=min(form.layer, max(2, n_layers - 1)), visible=_has(form, "layer")
            ),
            self.alpha: gr.Slider(value=max(form.alpha, ALPHA_MIN), visible=_has(form, "alpha")),
            self.beta: gr.Slider(value=form.beta, visible=_has(form, "beta")),
            self.bucket: gr.Dropdown(_buckets(words), value=form.bucket, visible=_has(form, "bucket")),
            self.penalty: gr.Slider(value=form.penalty, visible=_has(form, "penalty")),
            self.text: gr.Textbox(value=form.text, visible=_has(form, "text")),
        }

    def showing(self, kind: str) -> Changes:
        """The fields that belong to an entry of the menu; no value changes."""
        shown = FIELDS.get(kind, ())
        return {
            getattr(self, name): type(getattr(self, name))(visible=name in shown)
            for name in LaneForm.names()
            if name != "kind"
        }

    def translated(self, number: int, n_layers: int, words: Language) -> Changes:
        """Its words in another language; no value changes."""
        return {
            self.kind: gr.Dropdown(_menu(words), label=words("pane.kind", n=number + 1)),
            self.layer: _layers(n_layers, words),
            self.alpha: gr.Slider(label=words("pane.alpha")),
            self.beta: gr.Slider(label=words("pane.beta")),
            self.bucket: gr.Dropdown(_buckets(words), label=words("pane.bucket")),
            self.penalty: gr.Slider(label=words("pane.own_penalty")),
            self.text: gr.Textbox(label=words("pane.text"), placeholder=words("pane.placeholder")),
        }


@dataclass(frozen=True)
class Panes:
    """All panes, of which the first `count` are shown."""

    panes: tuple[Pane, ...]
    count: gr.State
    add: gr.Button
    remove: gr.Button

    def lay_out_menus(self) -> None:
        """Lay out the menus, in the grid of the panes, each above its text."""
        for pane in self.panes:
            pane.frame.render()
            with pane.frame:
                pane.kind.render()

    def render_fields(self) -> None:
        """Lay out the fields of all panes, where this is called."""
        for side, pane in zip(SIDES, self.panes, strict=True):
            with gr.Row(elem_classes=f"duet-fields {side}"):
                for field in pane.inputs:
                    if field is not pane.kind:
                        field.render()

    @property
    def inputs(self) -> set[Component]:
        """All fields, and how many panes there are."""
        return {self.count, *(part for pane in self.panes for part in pane.inputs)}

    @property
    def outputs(self) -> set[Component]:
        """Everything that changes with them."""
        return self.inputs | {self.add, self.remove, *(pane.frame for pane in self.panes)}

    def forms(self, values: Changes) -> list[LaneForm]:
        """What the shown panes hold."""
        return [pane.form(values) for pane in self.panes[: values[self.count]]]

    def lanes(self, values: Changes, n_layers: int) -> tuple[Lane, ...]:
        """The lanes that are set; raises `RequestError` for a text that is none."""
        return tuple(form.lane(n_layers) for form in self.forms(values))

    def seen(self, values: Changes) -> tuple[Lane | None, ...]:
        """The same, with None for a text that is none (yet)."""
        return tuple(map(_lane_or_none, self.forms(values)))

    def at(self, lanes: Sequence[Lane], values: Changes | None, n_layers: int, words: Language) -> Changes:
        """All panes at `lanes`; what does not belong to a lane stays, if `values` has it, or begins anew."""
        before = [pane.form(values) for pane in self.panes] if values else _first_forms(lanes, n_layers)
        changes = self._counted(len(lanes))
        for number, (pane, form) in enumerate(zip(self.panes, before, strict=True)):
            form = form.showing(lanes[number]) if number < len(lanes) else form
            changes |= pane.at(form, n_layers, words)  # also what is hidden, for it must be in the model's range
        return changes

    def reset(self, number: int, field: str, to: LaneForm, n_layers: int, words: Language) -> Changes:
        """One field of a pane back at what a form has."""
        pane = self.panes[number]
        return {part: update for part, update in pane.at(to, n_layers, words).items() if part is getattr(pane, field)}

    def ranges(self, values: Changes, n_layers: int, words: Language) -> Changes:
        """The sliders of j* back in the range of a model, should an opened trace have moved them."""
        return {
            pane.layer: _layers(n_layers, words, value=n_layers - 1)
            for pane in self.panes
            if values[pane.layer] >= n_layers
        }

    def added(self, values: Changes) -> Changes:
        """One pane more."""
        return self._counted(min(values[self.count] + 1, MAX_LANES))

    def without_image(self, values: Changes, n_layers: int, words: Language) -> Changes:
        """One pane more, with the baseline that does not see the prompt's image; it takes the last pane's place if
        there is no room. Nothing changes where a pane has a lane without the image."""
        if any(lane and not lane.image for lane in self.seen(values)):
            return {}
        number = min(values[self.count], MAX_LANES - 1)
        form = self.panes[number].form(values).showing(Baseline(image=False))
        return self._counted(number + 1) | self.panes[number].at(form, n_layers, words)

    def removed(self, values: Changes) -> Changes:
        """Without the last pane."""
        return self._counted(max(values[self.count] - 1, LEAST_LANES))

    def translated(self, n_layers: int, words: Language) -> Changes:
        """Their words in another language; no value changes."""
        changes: Changes = {
            self.add: gr.Button(words("pane.add")),
            self.remove: gr.Button(words("pane.remove")),
        }
        for number, pane in enumerate(self.panes):
            changes |= pane.translated(number, n_layers, words)
        return changes

    def _counted(self, count: int) -> Changes:
        frames: dict[Any, Any] = {}  # a column is no component to Gradio, and yet can be changed as one
        for number, pane in enumerate(self.panes):
            frames[pane.frame] = gr.Column(visible=number < count)
        return frames | {
            self.count: count,
            self.add: gr.Button(visible=count < MAX_LANES),
            self.remove: gr.Button(visible=count > LEAST_LANES),
        }


def _first_forms(lanes: Sequence[Lane], n_layers: int) -> list[LaneForm]:
    """What all panes begin with, of which the first show `lanes`."""
    static = next((lane for lane in lanes if isinstance(lane, DolaStatic)), DolaStatic(layer=default_layer(n_layers)))
    usual = LaneForm(layer=static.layer, alpha=static.alpha, text=lane_text(static))
    shown = [usual.showing(lane) for lane in lanes]
    return [*shown, *(replace(usual, kind=kind) for kind in (STATIC, STATIC, *ADDED)[len(lanes) :])]


def _lane_or_none(form: LaneForm) -> Lane | None:
    try:
        return form.lane()
    except RequestError:
        return None


def _has(form: LaneForm, name: str) -> bool:
    return name in FIELDS[form.kind]


def _layers(n_layers: int, words: Language, **more: Any) -> gr.Slider:
    """The slider of j* for a model of so many layers."""
    return gr.Slider(maximum=max(2, n_layers - 1), label=words("pane.layer"), **more)


def _menu(words: Language) -> list[tuple[str, str]]:
    return [(words(f"pane.{kind}"), kind) for kind in MENU]


def _buckets(words: Language) -> list[tuple[str, str]]:
    return [(words(f"pane.{bucket}"), bucket) for bucket in BUCKETS]


def make_panes(facts: ModelFacts, lanes: Sequence[Lane]) -> Panes:
    """The panes, in English, at `lanes`; they are laid out by `lay_out_menus` and `render_fields`."""
    forms, shown = _first_forms(lanes, facts.n_layers), len(lanes)
    return Panes(
        tuple(_pane(number, form, facts.n_layers, shown=number < shown) for number, form in enumerate(forms)),
        gr.State(shown),
        gr.Button(ENGLISH("pane.add"), size="sm", elem_id="add-lane", visible=shown < MAX_LANES, render=False),
        gr.Button(ENGLISH("pane.remove"), size="sm", elem_id="remove-lane", visible=shown > LEAST_LANES, render=False),
    )


def _pane(number: int, form: LaneForm, n_layers: int, *, shown: bool) -> Pane:
    place = number + 1

    def part(name: str) -> dict[str, Any]:
        own = {"elem_id": f"{name}-{place}", "visible": _has(form, name), "min_width": 120, "render": False}
        return own | {"label": ENGLISH(f"pane.{'own_penalty' if name == 'penalty' else name}")}

    return Pane(
        gr.Column(visible=shown, min_width=0, elem_classes=f"duet-pane {SIDES[number]}", render=False),
        gr.Dropdown(
            _menu(ENGLISH), value=form.kind, label=ENGLISH("pane.kind", n=place), show_label=False, container=False,
            filterable=False, elem_id=f"kind-{place}", elem_classes="duet-kind", min_width=120, render=False,
        ),
        gr.Slider(1, max(2, n_layers - 1), value=form.layer, step=1, **part("layer")),
        gr.Slider(ALPHA_MIN, 1.0, value=form.alpha, step=0.01, **part("alpha")),
        gr.Slider(0.0, MAX_BETA, value=form.beta, step=0.05, **part("beta")),
        gr.Dropdown(_buckets(ENGLISH), value=form.bucket, filterable=False, **part("bucket")),
        gr.Slider(LEAST_PENALTY, MOST_PENALTY, value=form.penalty, step=0.05, **part("penalty")),
        gr.Textbox(
            form.text, max_lines=1, max_length=MAX_LANE, placeholder=ENGLISH("pane.placeholder"), **part("text")
        ),
    )  # fmt: skip
