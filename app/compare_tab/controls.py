"""What a visitor sets: prompt, j*, α, decoding. The components, and what they ask for as a `ComparisonRequest`.

What begins with a model's own value, or is bounded by it, follows when another model is chosen (`for_model`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.inputs.known_model import TITLES
from app.jobs.engine_pool import ModelFacts
from app.jobs.request import (
    CHAT,
    COMPLETE,
    MAX_ARGUMENTS,
    MAX_BEAMS,
    MAX_SYSTEM,
    MODES,
    ComparisonRequest,
    template_arguments,
)  # fmt: skip
from app.language import ENGLISH, Language
from app.render.view_state import View
from app.settings import Settings
from app.ui.events import Changes
from dola_core.lanes import MAX_SEED
from dola_core.trace.schema import Trace
from dola_core.trace.step import ALPHA_MIN

LABELLED = (
    "alpha", "max_new_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "early_norm",
    "num_beams", "seed",
)  # fmt: skip
"""The controls with nothing but a label to translate."""
RUN_SETTINGS = (
    "prompt", "layer", "penalty_position", "stop_text", "mode", "system", "template_arguments", *LABELLED,
)  # fmt: skip
"""The controls that a run reads."""
POSITIONS = ("before", "after")


@dataclass(frozen=True)
class Controls:
    """The components of the upper part of the page."""

    prompt: gr.Textbox
    layer: gr.Slider
    alpha: gr.Slider
    max_new_tokens: gr.Slider
    temperature: gr.Slider
    top_p: gr.Slider
    top_k: gr.Slider
    min_p: gr.Slider
    repetition_penalty: gr.Slider
    penalty_position: gr.Radio
    early_norm: gr.Checkbox
    num_beams: gr.Slider
    seed: gr.Number
    stop_text: gr.Textbox
    mode: gr.Radio
    system: gr.Textbox
    template_arguments: gr.Textbox
    compare: gr.Button
    stop: gr.Button
    decoding: gr.Accordion
    examples: gr.Dataset
    recorded_words: gr.Markdown
    recorded: tuple[gr.Button, ...]
    """One for each of `TITLES`; those that were recorded with the chosen model are shown."""

    @property
    def inputs(self) -> set[Component]:
        """Everything a run reads."""
        return {getattr(self, name) for name in RUN_SETTINGS}

    @property
    def everything(self) -> set[Component]:
        """All of them."""
        return {part for part in vars(self).values() if not isinstance(part, tuple)} | set(self.recorded)

    def settings(self, values: Changes) -> dict[str, Any]:
        """{control: value}"""
        return {name: values[getattr(self, name)] for name in RUN_SETTINGS}

    def layers(self, n_layers: int, words: Language, **more: Any) -> gr.Slider:
        """The slider of j* for a model, or an opened trace, of so many layers."""
        return gr.Slider(maximum=max(2, n_layers - 1), label=words("controls.layer", last=n_layers - 1), **more)

    def own_layers(self, n_layers: int, values: Changes, words: Language) -> Changes:
        """The slider of j* back in the range of the page's own model, should an opened trace have moved it."""
        return {} if values[self.layer] < n_layers else {self.layer: self.layers(n_layers, words, value=n_layers - 1)}

    def at(self, trace: Trace, view: View) -> Changes:
        """The sliders of j* and α where a view of a trace has them."""
        slider = self.layers(trace.model.n_layers, view.words, value=view.layer)
        return {self.layer: slider, self.alpha: max(view.alpha, ALPHA_MIN)}

    def request(self, values: Changes) -> ComparisonRequest:
        """What the controls ask for, checked; raises `RequestError`."""
        asked = self.settings(values)
        prompt, layer, alpha, stop = (asked.pop(name) for name in ("prompt", "layer", "alpha", "stop_text"))
        mode, system, arguments = (asked.pop(name) for name in ("mode", "system", "template_arguments"))
        asked["stop"] = (stop.replace("\\n", "\n"),) if stop else ()
        chat: dict[str, Any] = {}
        if mode == CHAT:
            chat = {"chat": True, "system": system or "", "template_arguments": template_arguments(arguments)}
        return ComparisonRequest.of(prompt=prompt or "", layer=layer, alpha=alpha, decoding=asked, **chat)

    def for_model(self, facts: ModelFacts, words: Language, *, prompt: str, before: ModelFacts | None) -> Changes:
        """The controls as they begin with a model; a `prompt` stays unless it is an example of the one `before`."""
        is_example = before is not None and any(example.prompt == prompt for example in before.known.examples)
        penalty = facts.repetition_penalty
        own = _chat_values(facts)
        return {
            self.prompt: _first_prompt(facts) if is_example or not prompt.strip() else prompt,
            self.layer: self.layers(facts.n_layers, words, value=facts.preset.layer),
            self.alpha: max(facts.preset.alpha, ALPHA_MIN),
            self.early_norm: facts.preset.early_norm,
            self.repetition_penalty: gr.Slider(min(1.0, penalty), max(2.0, penalty), value=penalty),
            self.mode: gr.Radio(**own),
            self.system: gr.Textbox("", visible=own["visible"]),
            self.template_arguments: gr.Textbox("", visible=own["visible"]),
            self.examples: gr.Dataset(**_examples(facts, words)),
            self.recorded_words: gr.Markdown(visible=bool(facts.known.recorded)),
            **{
                button: gr.Button(visible=title in _recorded(facts))
                for button, title in zip(self.recorded, TITLES, strict=True)
            },
        }

    def with_values(self, changes: Changes, settings: Mapping[str, Any]) -> Changes:
        """The controls at `settings`, together with what `changes` does to them beside their values."""
        return {
            control: _with_value(changes.get(control), control, value)
            for control, value in ((getattr(self, name), value) for name, value in settings.items())
        }

    def translated(self, facts: ModelFacts, words: Language) -> Changes:
        """Their words in another language; no value changes."""
        changes: Changes = {
            getattr(self, name): type(getattr(self, name))(label=words(f"controls.{name}")) for name in LABELLED
        }
        titles = zip(self.recorded, TITLES, strict=True)
        changes |= {button: gr.Button(words(f"recorded.{title}")) for button, title in titles}
        return changes | {
            self.mode: gr.Radio(_options(MODES, words), label=words("controls.mode")),
            self.system: gr.Textbox(label=words("controls.system"), placeholder=words("controls.system_placeholder")),
            self.template_arguments: gr.Textbox(
                label=words("controls.template_arguments"), placeholder=words("controls.arguments_placeholder")
            ),
            self.prompt: gr.Textbox(label=words("controls.prompt"), placeholder=words("controls.placeholder")),
            self.layer: self.layers(facts.n_layers, words),
            self.penalty_position: gr.Radio(_options(POSITIONS, words), label=words("controls.penalty_position")),
            self.stop_text: gr.Textbox(
                label=words("controls.stop_text"), placeholder=words("controls.stop_placeholder")
            ),
            self.compare: gr.Button(words("controls.compare")),
            self.stop: gr.Button(words("controls.stop")),
            self.decoding: gr.Accordion(label=words("controls.decoding")),
            self.examples: gr.Dataset(**_examples(facts, words)),
            self.recorded_words: words("controls.recorded"),
        }


def lay_out_controls(facts: ModelFacts, settings: Settings) -> Controls:
    """Lay out the controls, in English; ranges come from the model and the settings."""

    def label(name: str) -> dict[str, str]:
        return {"label": ENGLISH(f"controls.{name}")}

    n_layers = facts.n_layers
    with gr.Row(elem_classes="duet-columns"):
        with gr.Column(scale=7, elem_classes="duet-card"):
            mode = gr.Radio(
                _options(MODES, ENGLISH), show_label=False, container=False, elem_id="mode",
                elem_classes="duet-segments duet-mode", **label("mode"), **_chat_values(facts),
            )  # fmt: skip
            prompt = gr.Textbox(
                _first_prompt(facts), lines=1, max_lines=8, placeholder=ENGLISH("controls.placeholder"),
                elem_classes="duet-prompt", elem_id="prompt", **label("prompt"),
            )  # fmt: skip
            examples = gr.Dataset(components=[prompt, mode], elem_classes="duet-examples", **_examples(facts, ENGLISH))
            with gr.Row(elem_classes="duet-recorded"):
                recorded_words = gr.Markdown(ENGLISH("controls.recorded"), visible=bool(facts.known.recorded))
                recorded = tuple(
                    gr.Button(
                        ENGLISH(f"recorded.{title}"), size="sm", elem_id=f"recorded-{title}",
                        visible=title in _recorded(facts),
                    )
                    for title in TITLES
                )  # fmt: skip
        with gr.Column(scale=4, elem_classes="duet-card"):
            layer = gr.Slider(
                1, max(2, n_layers - 1), value=facts.preset.layer, step=1, elem_id="layer",
                label=ENGLISH("controls.layer", last=n_layers - 1),
            )  # fmt: skip
            alpha = gr.Slider(
                ALPHA_MIN, 1.0, value=max(facts.preset.alpha, ALPHA_MIN), step=0.01, elem_id="alpha",
                **label("alpha"),
            )  # fmt: skip
            with gr.Row(elem_classes="duet-buttons"):
                compare = gr.Button(ENGLISH("controls.compare"), variant="primary", elem_id="compare")
                stop = gr.Button(ENGLISH("controls.stop"), elem_classes="stop", elem_id="stop")
    with gr.Accordion(open=False, elem_classes="duet-card duet-decoding", **label("decoding")) as decoding:
        with gr.Row():
            most = settings.max_new_tokens
            max_new_tokens = gr.Slider(1, most, value=min(48, most), step=1, **label("max_new_tokens"))
            temperature = gr.Slider(0.0, 2.0, value=0.0, step=0.05, **label("temperature"))
            top_p = gr.Slider(0.05, 1.0, value=1.0, step=0.05, **label("top_p"))
            top_k = gr.Slider(0, 200, value=0, step=1, **label("top_k"))
        with gr.Row():
            min_p = gr.Slider(0.0, 1.0, value=0.0, step=0.01, **label("min_p"))
            penalty = facts.repetition_penalty
            repetition_penalty = gr.Slider(
                min(1.0, penalty), max(2.0, penalty), value=penalty, step=0.05, **label("repetition_penalty")
            )
            penalty_position = gr.Radio(_options(POSITIONS, ENGLISH), value="before", **label("penalty_position"))
            num_beams = gr.Slider(1, MAX_BEAMS, value=1, step=1, **label("num_beams"))
        with gr.Row():
            seed = gr.Number(0, precision=0, minimum=0, maximum=MAX_SEED, **label("seed"))
            stop_text = gr.Textbox(max_lines=1, placeholder=ENGLISH("controls.stop_placeholder"), **label("stop_text"))
            early_norm = gr.Checkbox(facts.preset.early_norm, **label("early_norm"))
        with gr.Row():
            chat = facts.has_chat_template
            system = gr.Textbox(
                "", max_lines=8, max_length=MAX_SYSTEM, visible=chat, elem_id="system",
                placeholder=ENGLISH("controls.system_placeholder"), **label("system"),
            )  # fmt: skip
            arguments = gr.Textbox(
                "", max_lines=1, max_length=MAX_ARGUMENTS, visible=chat, elem_id="template-arguments",
                placeholder=ENGLISH("controls.arguments_placeholder"), **label("template_arguments"),
            )  # fmt: skip
    examples.click(lambda sample: sample, examples, [prompt, mode], show_progress="hidden", api_visibility="private")
    return Controls(
        prompt, layer, alpha, max_new_tokens, temperature, top_p, top_k, min_p, repetition_penalty, penalty_position,
        early_norm, num_beams, seed, stop_text, mode, system, arguments, compare, stop, decoding, examples,
        recorded_words, recorded,
    )  # fmt: skip


def _with_value(update: Any, control: Component, value: Any) -> Any:
    """A control's value together with an update of its other properties, if there is one."""
    if not isinstance(update, Component):
        return value
    return type(control)(**{**update.constructor_args, "value": value})


def _options(values: tuple[str, ...], words: Language) -> list[tuple[str, str]]:
    return [(words(f"controls.{value}"), value) for value in values]


def _chat_values(facts: ModelFacts) -> dict[str, Any]:
    """The switch between completing and chat: shown where the model has a chat template, and on chat then."""
    has = facts.has_chat_template
    return {"value": CHAT if has else COMPLETE, "visible": has}


def _first_prompt(facts: ModelFacts) -> str:
    """The first example that suits how the page begins with a model."""
    examples, has = facts.known.examples, facts.has_chat_template
    return next((example for example in examples if example.chat in (None, has)), examples[0]).prompt


def _recorded(facts: ModelFacts) -> set[str]:
    return {recorded.title for recorded in facts.known.recorded}


def _examples(facts: ModelFacts, words: Language) -> dict[str, Any]:
    """The examples, their heading and, for the model that they were tried on, what becomes of each."""
    examples = facts.known.examples
    has = facts.has_chat_template
    samples = [[example.prompt, CHAT if has and example.chat is not False else COMPLETE] for example in examples]
    labels = {"label": words("controls.examples")}
    if any(example.outcome for example in examples):
        labels = {"label": words("controls.examples_at", layer=facts.preset.layer, alpha=f"{facts.preset.alpha:g}")}
    return {"samples": samples, "sample_labels": [example.label(words) for example in examples], **labels}
