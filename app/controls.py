"""What a visitor sets: prompt, j*, α, decoding. Components in, a checked `Request` out."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.run import Request
from app.settings import Settings
from dola_core.lanes import MAX_SEED
from dola_core.models import LoadedModel
from dola_core.trace import ALPHA_MIN

EXAMPLES = (
    "People in Pakistan know that the capital is",
    "In the periodic table, the symbol of gold is",
    "Question: What is the symbol of gold? Answer:",
    "The capital of Japan is",
    "One might think that the capital of Nigeria is",
    "Australia",
)
"""Prompts on which the shipped model shows what can happen: mended, harmed, agreed, parted late."""
POSITIONS = {"before the contrast": "before", "after it": "after"}


@dataclass(frozen=True)
class Controls:
    """The components of the upper part of the page."""

    prompt: gr.Textbox
    layer: gr.Slider
    alpha: gr.Slider
    compare: gr.Button
    stop: gr.Button
    max_new_tokens: gr.Slider
    temperature: gr.Slider
    top_p: gr.Slider
    top_k: gr.Slider
    repetition_penalty: gr.Slider
    penalty_position: gr.Radio
    early_norm: gr.Checkbox
    num_beams: gr.Slider
    seed: gr.Number
    stop_text: gr.Textbox
    chat: gr.Checkbox

    @property
    def inputs(self) -> set[Component]:
        """Everything a run reads."""
        return {c for c in vars(self).values() if not isinstance(c, gr.Button)}

    def settings(self, values: dict[Component, Any]) -> dict[str, Any]:
        """{control: value}"""
        return {name: values[c] for name, c in vars(self).items() if c in self.inputs}

    def layers(self, n_layers: int) -> gr.Slider:
        """The slider of j* for a model, or an opened trace, of so many layers."""
        return gr.Slider(maximum=n_layers - 1, label=f"contrast layer j* (1 to {n_layers - 1})")

    def request(self, values: dict[Component, Any]) -> Request:
        """What was asked for, checked; raises `RequestError`."""
        asked = self.settings(values)
        prompt, chat, layer, alpha = (asked.pop(name) for name in ("prompt", "chat", "layer", "alpha"))
        stop = asked.pop("stop_text")
        asked["stop"] = (stop.replace("\\n", "\n"),) if stop else ()
        asked["penalty_position"] = POSITIONS.get(asked["penalty_position"])
        return Request.of(prompt=prompt or "", chat=bool(chat), layer=layer, alpha=alpha, decoding=asked)


def controls(loaded: LoadedModel, settings: Settings) -> Controls:
    """Lay out the controls; ranges come from the model and the settings."""
    with gr.Row(elem_classes="duet-columns"):
        with gr.Column(scale=7, elem_classes="duet-card"):
            prompt = gr.Textbox(
                EXAMPLES[0], label="Prompt", lines=1, max_lines=8, placeholder="Text to complete",
                elem_classes="duet-prompt", elem_id="prompt",
            )  # fmt: skip
            examples = gr.Dataset(
                components=[prompt], samples=[[text] for text in EXAMPLES], label="Examples", show_label=False,
                elem_classes="duet-examples",
            )  # fmt: skip
        with gr.Column(scale=4, elem_classes="duet-card"):
            layer = gr.Slider(
                1, loaded.readout.n_layers - 1, value=loaded.preset.layer, step=1, elem_id="layer",
                label=f"contrast layer j* (1 to {loaded.readout.n_layers - 1})",
            )  # fmt: skip
            alpha = gr.Slider(
                ALPHA_MIN,
                1.0,
                value=max(loaded.preset.alpha, ALPHA_MIN),
                step=0.01,
                label="plausibility α",
                elem_id="alpha",
            )
            with gr.Row(elem_classes="duet-buttons"):
                compare = gr.Button("Compare", variant="primary", elem_id="compare")
                stop = gr.Button("Stop", elem_classes="stop", elem_id="stop")
    with gr.Accordion("Decoding", open=False, elem_classes="duet-card duet-decoding"):
        with gr.Row():
            max_new_tokens = gr.Slider(
                1,
                settings.max_new_tokens,
                value=min(48, settings.max_new_tokens),
                step=1,
                label="new tokens, at most",
            )
            temperature = gr.Slider(0.0, 2.0, value=0.0, step=0.05, label="temperature, 0 = greedy")
            top_p = gr.Slider(0.05, 1.0, value=1.0, step=0.05, label="top-p")
            top_k = gr.Slider(0, 200, value=0, step=1, label="top-k, 0 = all")
        with gr.Row():
            repetition_penalty = gr.Slider(1.0, 2.0, value=1.0, step=0.05, label="repetition penalty")
            penalty_position = gr.Radio(list(POSITIONS), value=next(iter(POSITIONS)), label="penalty in the DoLa lane")
            num_beams = gr.Slider(1, 8, value=1, step=1, label="beams")
            seed = gr.Number(0, label="seed", precision=0, minimum=0, maximum=MAX_SEED)
        with gr.Row():
            early_norm = gr.Checkbox(True, label="final norm on layer j* (off: raw, as the DoLa authors' code)")
            stop_text = gr.Textbox(label="stop at this text", max_lines=1, placeholder=r"for example \n")
            chat = gr.Checkbox(False, label="chat template", visible=loaded.has_chat_template)
    examples.click(lambda sample: sample[0], examples, prompt, show_progress="hidden", api_visibility="private")
    return Controls(
        prompt, layer, alpha, compare, stop, max_new_tokens, temperature, top_p, top_k, repetition_penalty,
        penalty_position, early_norm, num_beams, seed, stop_text, chat,
    )  # fmt: skip
