"""What a visitor sets: prompt, j*, α, decoding. The components, and what they ask for as a `ComparisonRequest`."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.inputs.examples import EXAMPLES
from app.inputs.recorded_traces import RECORDED
from app.jobs.request import MAX_BEAMS, ComparisonRequest
from app.language import ENGLISH, Language
from app.render.view_state import View
from app.settings import Settings
from app.ui.events import Changes
from dola_core.lanes import MAX_SEED
from dola_core.models.loaded_model import LoadedModel
from dola_core.trace.schema import ALPHA_MIN, Trace

LABELLED = (
    "alpha", "max_new_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "early_norm",
    "num_beams", "seed", "chat",
)  # fmt: skip
"""The controls with nothing but a label to translate."""
RUN_SETTINGS = ("prompt", "layer", "penalty_position", "stop_text", *LABELLED)
"""The controls that a run reads."""


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
    chat: gr.Checkbox
    compare: gr.Button
    stop: gr.Button
    decoding: gr.Accordion
    examples: gr.Dataset
    recorded_words: gr.Markdown
    recorded: tuple[gr.Button, ...]
    """One for each of `app.inputs.recorded_traces.RECORDED`."""

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
        prompt, chat, layer, alpha = (asked.pop(name) for name in ("prompt", "chat", "layer", "alpha"))
        stop = asked.pop("stop_text")
        asked["stop"] = (stop.replace("\\n", "\n"),) if stop else ()
        return ComparisonRequest.of(prompt=prompt or "", chat=bool(chat), layer=layer, alpha=alpha, decoding=asked)

    def translated(self, loaded: LoadedModel, words: Language) -> Changes:
        """Their words in another language; no value changes."""
        changes: Changes = {
            getattr(self, name): type(getattr(self, name))(label=words(f"controls.{name}")) for name in LABELLED
        }
        titles = zip(self.recorded, RECORDED, strict=True)
        changes |= {button: gr.Button(words(f"recorded.{trace.name}")) for button, trace in titles}
        return changes | {
            self.prompt: gr.Textbox(label=words("controls.prompt"), placeholder=words("controls.placeholder")),
            self.layer: self.layers(loaded.readout.n_layers, words),
            self.penalty_position: gr.Radio(_positions(words), label=words("controls.penalty_position")),
            self.stop_text: gr.Textbox(
                label=words("controls.stop_text"), placeholder=words("controls.stop_placeholder")
            ),
            self.compare: gr.Button(words("controls.compare")),
            self.stop: gr.Button(words("controls.stop")),
            self.decoding: gr.Accordion(label=words("controls.decoding")),
            self.examples: gr.Dataset(**_example_words(loaded, words)),
            self.recorded_words: words("controls.recorded"),
        }


def lay_out_controls(loaded: LoadedModel, settings: Settings) -> Controls:
    """Lay out the controls, in English; ranges come from the model and the settings."""

    def label(name: str) -> dict[str, str]:
        return {"label": ENGLISH(f"controls.{name}")}

    n_layers = loaded.readout.n_layers
    with gr.Row(elem_classes="duet-columns"):
        with gr.Column(scale=7, elem_classes="duet-card"):
            prompt = gr.Textbox(
                EXAMPLES[0].prompt, lines=1, max_lines=8, placeholder=ENGLISH("controls.placeholder"),
                elem_classes="duet-prompt", elem_id="prompt", **label("prompt"),
            )  # fmt: skip
            examples = gr.Dataset(
                components=[prompt], samples=[[example.prompt] for example in EXAMPLES], elem_classes="duet-examples",
                **_example_words(loaded, ENGLISH),
            )  # fmt: skip
            with gr.Row(elem_classes="duet-recorded"):
                recorded_words = gr.Markdown(ENGLISH("controls.recorded"))
                recorded = tuple(
                    gr.Button(ENGLISH(f"recorded.{one.name}"), size="sm", elem_id=f"recorded-{one.name}")
                    for one in RECORDED
                )
        with gr.Column(scale=4, elem_classes="duet-card"):
            layer = gr.Slider(
                1, max(2, n_layers - 1), value=loaded.preset.layer, step=1, elem_id="layer",
                label=ENGLISH("controls.layer", last=n_layers - 1),
            )  # fmt: skip
            alpha = gr.Slider(
                ALPHA_MIN, 1.0, value=max(loaded.preset.alpha, ALPHA_MIN), step=0.01, elem_id="alpha",
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
            penalty = loaded.repetition_penalty
            repetition_penalty = gr.Slider(
                min(1.0, penalty), max(2.0, penalty), value=penalty, step=0.05, **label("repetition_penalty")
            )
            penalty_position = gr.Radio(_positions(ENGLISH), value="before", **label("penalty_position"))
            num_beams = gr.Slider(1, MAX_BEAMS, value=1, step=1, **label("num_beams"))
        with gr.Row():
            seed = gr.Number(0, precision=0, minimum=0, maximum=MAX_SEED, **label("seed"))
            stop_text = gr.Textbox(max_lines=1, placeholder=ENGLISH("controls.stop_placeholder"), **label("stop_text"))
            early_norm = gr.Checkbox(loaded.preset.early_norm, **label("early_norm"))
            chat = gr.Checkbox(False, visible=loaded.has_chat_template, **label("chat"))
    examples.click(lambda sample: sample[0], examples, prompt, show_progress="hidden", api_visibility="private")
    return Controls(
        prompt, layer, alpha, max_new_tokens, temperature, top_p, top_k, min_p, repetition_penalty, penalty_position,
        early_norm, num_beams, seed, stop_text, chat, compare, stop, decoding, examples, recorded_words, recorded,
    )  # fmt: skip


def _positions(words: Language) -> list[tuple[str, str]]:
    return [(words(f"controls.{position}"), position) for position in ("before", "after")]


def _example_words(loaded: LoadedModel, words: Language) -> dict[str, Any]:
    """The heading of the examples and, for the model they were tried on, what becomes of each."""
    if not loaded.is_shipped:
        return {"label": words("controls.examples")}
    settings = {"layer": loaded.preset.layer, "alpha": f"{loaded.preset.alpha:g}"}
    return {
        "label": words("controls.examples_at", **settings),
        "sample_labels": [example.label(words) for example in EXAMPLES],
    }
