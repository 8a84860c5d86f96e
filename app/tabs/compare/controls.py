"""What a visitor sets: prompt, lanes, decoding. The components, and what they ask for as a `ComparisonRequest`.

What begins with a model's own value, or is bounded by it, follows when another model is chosen (`for_model`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.inputs.known_model import KnownModel
from app.jobs.model_pool import ModelFacts
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
from app.render.inspection import Inspection
from app.settings import Settings
from app.tabs.compare.chips import drawn_chips
from app.tabs.compare.panes import Panes
from app.ui.components import NO_IMAGE, Chips, ChosenImage, ImageField, Notice
from app.ui.events import Changes
from dola_core.lanes import MAX_SEED, MIN_TEMPERATURE, DecodingConfig, lane_text, parse_lane
from dola_core.models.images.image_file import MAX_BYTES, MAX_PIXELS
from dola_core.trace.schema import Trace

LABELLED = (
    "max_new_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "early_norm",
    "num_beams", "seed",
)  # fmt: skip
"""The controls with nothing but a label to translate."""
RUN_SETTINGS = (
    "prompt", "penalty_position", "stop_text", "mode", "system", "template_arguments", *LABELLED,
)  # fmt: skip
"""The controls that a run reads beside the panes."""
POSITIONS = ("before", "after")
SUMMED = ("max_new_tokens", "temperature", "num_beams")
"""The controls that the closed section of decoding names."""
OF_CHAT = ("mode", "system", "template_arguments")
NEW_TOKENS = 48
"""How long texts are at first."""


@dataclass(frozen=True)
class Controls:
    """The components of the upper part of the page."""

    prompt: gr.Textbox
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
    chips: Chips
    image: ImageField
    """Its value is large, and goes with nothing but runs."""
    panes: Panes

    @property
    def inputs(self) -> set[Component]:
        """Everything a run reads, but the image."""
        return {getattr(self, name) for name in RUN_SETTINGS} | self.panes.inputs

    @property
    def everything(self) -> set[Component]:
        """All of them."""
        return {part for part in vars(self).values() if not isinstance(part, Panes)} | self.panes.outputs

    def settings(self, values: Changes) -> dict[str, Any]:
        """{control: value}, and under `lanes` the lanes as text; without them if a pane holds a text that is none."""
        lanes = self.panes.seen(values)
        texts = {} if None in lanes else {"lanes": tuple(lane_text(lane) for lane in lanes if lane)}
        own = {name: values[getattr(self, name)] for name in RUN_SETTINGS}
        empty = {name: "" for name in own if isinstance(getattr(self, name), gr.Textbox) and own[name] is None}
        return own | empty | texts

    def at(self, inspection: Inspection, values: Changes, *, alone: bool = False) -> Changes:
        """The panes where a look at a trace has them; those that it has no lane for stay unless it is to be `alone`."""
        trace, more = inspection.trace, () if alone else self.panes.seen(values)[len(inspection.shown) :]
        lanes = [lane for lane in (*inspection.now, *more) if lane]
        return self.panes.at(lanes, values, trace.model.n_layers, inspection.words)

    def request(self, values: Changes, n_layers: int, image: ChosenImage = NO_IMAGE) -> ComparisonRequest:
        """What the controls ask for of a model of so many layers, with an image, checked; raises `RequestError`."""
        asked, lanes = self.settings(values), self.panes.lanes(values, n_layers)
        asked.pop("lanes", None)
        prompt, stop = (asked.pop(name) for name in ("prompt", "stop_text"))
        mode, system, arguments = (asked.pop(name) for name in ("mode", "system", "template_arguments"))
        asked["stop"] = (stop.replace("\\n", "\n"),) if stop else ()
        chat: dict[str, Any] = {}
        if mode == CHAT:
            chat = {"chat": True, "system": system or "", "template_arguments": template_arguments(arguments)}
        return ComparisonRequest.of(
            prompt=prompt or "", lanes=lanes, decoding=asked, image=image.url, thumbnail=image.thumbnail, **chat
        )

    def for_model(self, facts: ModelFacts, words: Language, *, prompt: str, before: ModelFacts | None) -> Changes:
        """The controls as they begin with a model; a `prompt` stays unless it is an example of the one `before`."""
        is_example = prompt in (before.known if before else KnownModel()).prompts
        penalty = facts.repetition_penalty
        own = _chat_values(facts)
        return {
            self.prompt: _first_prompt(facts) if is_example or not prompt.strip() else prompt,
            **self.panes.at(facts.usual_lanes, None, facts.n_layers, words),
            self.early_norm: facts.preset.early_norm,
            self.repetition_penalty: gr.Slider(min(1.0, penalty), max(2.0, penalty), value=penalty),
            self.mode: gr.Radio(**own),
            self.system: gr.Textbox("", visible=own["visible"]),
            self.template_arguments: gr.Textbox("", visible=own["visible"]),
            self.chips: drawn_chips(facts.known, words),
            self.image: image_words(facts, words),
        }

    def of_trace(self, trace: Trace, n_layers: int, words: Language, *, with_chat: bool) -> Changes:
        """The controls as a trace was run, so that the next run is the same; a chat begins from its first turn.

        `with_chat` says whether the page's model has a chat template; without one nothing is set of a chat.
        """
        settings = settings_of(trace)
        if not with_chat:
            settings = {name: value for name, value in settings.items() if name not in OF_CHAT}
        within = {
            name: value if name == "lanes" else _within(getattr(self, name), value) for name, value in settings.items()
        }
        return self.with_values({}, within, n_layers, words)

    def as_usual(self, facts: ModelFacts, words: Language, *, prompt: str, mode: str) -> Changes:
        """The controls for a prompt with the usual lanes and decoding of a model, whatever was set before."""
        usual = _begins(facts) | {"prompt": prompt, "mode": mode}
        within = {name: _within(getattr(self, name), usual[name]) for name in RUN_SETTINGS}
        lanes = tuple(map(lane_text, facts.usual_lanes))
        return self.with_values({}, within | {"lanes": lanes}, facts.n_layers, words)

    def running(self, *, runs: bool) -> Changes:
        """Stop in the place of Compare while something runs."""
        return {self.compare: gr.Button(visible=not runs), self.stop: gr.Button(visible=runs)}

    def summary(self, values: Changes, words: Language) -> gr.Accordion:
        """How is decoded, in a few words, as the title of the section that sets it."""
        return gr.Accordion(label=_summary({name: values[getattr(self, name)] for name in SUMMED}, words))

    def with_values(self, changes: Changes, settings: Mapping[str, Any], n_layers: int, words: Language) -> Changes:
        """The controls at `settings`, together with what `changes` does to them beside their values."""
        lanes = [parse_lane(text) for text in settings["lanes"]]
        of_panes = self.panes.at(lanes, None, n_layers, words)
        return {
            control: _with_value(changes.get(control), value)
            for control, value in ((getattr(self, name), value) for name, value in settings.items() if name != "lanes")
        } | {control: _merged(changes.get(control), update) for control, update in of_panes.items()}

    def translated(self, facts: ModelFacts, words: Language) -> Changes:
        """Their words in another language; no value changes."""
        changes: Changes = {
            getattr(self, name): type(getattr(self, name))(label=words(f"controls.{name}")) for name in LABELLED
        }
        changes |= self.panes.translated(facts.n_layers, words)
        return changes | {
            self.mode: gr.Radio(_options(MODES, words), label=words("controls.mode")),
            self.system: gr.Textbox(label=words("controls.system"), placeholder=words("controls.system_placeholder")),
            self.template_arguments: gr.Textbox(
                label=words("controls.template_arguments"), placeholder=words("controls.arguments_placeholder")
            ),
            self.prompt: gr.Textbox(label=words("controls.prompt"), placeholder=words("controls.placeholder")),
            self.penalty_position: gr.Radio(_options(POSITIONS, words), label=words("controls.penalty_position")),
            self.stop_text: gr.Textbox(
                label=words("controls.stop_text"), placeholder=words("controls.stop_placeholder")
            ),
            self.compare: gr.Button(words("controls.compare")),
            self.stop: gr.Button(words("controls.stop")),
            self.chips: drawn_chips(facts.known, words),
            self.image: image_words(facts, words),
        }


def lay_out_controls(facts: ModelFacts, settings: Settings, notice: Notice, panes: Panes) -> Controls:
    """Lay out the line that asks and the chips under it, in English; ranges come from the model and the settings.

    The `notice` is rendered here, next to the button that asks, as are the buttons that add and remove `panes`.

    The controls stand as the recorded run has them that the page opens with, if there is one.
    """
    first = facts.known.first
    begins = _begins(facts) | (settings_of(first.read()) if first else {})
    begins["max_new_tokens"] = min(begins["max_new_tokens"], settings.max_new_tokens)
    penalty, chat = facts.repetition_penalty, facts.has_chat_template

    def part(name: str) -> dict[str, Any]:
        return {"value": begins[name], "label": ENGLISH(f"controls.{name}")}

    with gr.Row(elem_classes="duet-ask"):
        mode = gr.Radio(
            _options(MODES, ENGLISH), show_label=False, container=False, elem_id="mode", visible=chat,
            elem_classes="duet-segments duet-mode", **part("mode"),
        )  # fmt: skip
        prompt = gr.Textbox(
            lines=1, max_lines=8, placeholder=ENGLISH("controls.placeholder"), elem_classes="duet-prompt",
            elem_id="prompt", show_label=False, container=False, **part("prompt"),
        )  # fmt: skip
        image = ImageField(image_words(facts, ENGLISH), elem_id="image")
        with gr.Accordion(_summary(begins, ENGLISH), open=False, elem_id="decoding") as decoding:
            with gr.Row():
                max_new_tokens = gr.Slider(1, settings.max_new_tokens, step=1, **part("max_new_tokens"))
                temperature = gr.Slider(0.0, 2.0, step=0.05, **part("temperature"))
                top_p = gr.Slider(0.05, 1.0, step=0.05, **part("top_p"))
                top_k = gr.Slider(0, 200, step=1, **part("top_k"))
            with gr.Row():
                min_p = gr.Slider(0.0, 1.0, step=0.01, **part("min_p"))
                repetition_penalty = gr.Slider(
                    min(1.0, penalty), max(2.0, penalty), step=0.05, **part("repetition_penalty")
                )
                penalty_position = gr.Radio(_options(POSITIONS, ENGLISH), **part("penalty_position"))
                num_beams = gr.Slider(1, MAX_BEAMS, step=1, **part("num_beams"))
            with gr.Row():
                seed = gr.Number(precision=0, minimum=0, maximum=MAX_SEED, **part("seed"))
                stop_text = gr.Textbox(
                    max_lines=1, placeholder=ENGLISH("controls.stop_placeholder"), **part("stop_text")
                )
                early_norm = gr.Checkbox(**part("early_norm"))
            with gr.Row():
                system = gr.Textbox(
                    max_lines=8, max_length=MAX_SYSTEM, visible=chat, elem_id="system",
                    placeholder=ENGLISH("controls.system_placeholder"), **part("system"),
                )  # fmt: skip
                arguments = gr.Textbox(
                    max_lines=1, max_length=MAX_ARGUMENTS, visible=chat, elem_id="template-arguments",
                    placeholder=ENGLISH("controls.arguments_placeholder"), **part("template_arguments"),
                )  # fmt: skip
        with gr.Row(elem_classes="duet-buttons"):
            compare = gr.Button(ENGLISH("controls.compare"), variant="primary", elem_id="compare")
            stop = gr.Button(ENGLISH("controls.stop"), variant="stop", elem_id="stop", visible=False)
    notice.render()
    with gr.Row(elem_classes="duet-tries"):
        chips = Chips(drawn_chips(facts.known, ENGLISH), elem_id="chips")
        panes.add.render()
        panes.remove.render()
    return Controls(
        prompt, max_new_tokens, temperature, top_p, top_k, min_p, repetition_penalty, penalty_position,
        early_norm, num_beams, seed, stop_text, mode, system, arguments, compare, stop, decoding, chips, image, panes,
    )  # fmt: skip


def image_words(facts: ModelFacts, words: Language) -> dict[str, Any]:
    """What the field for an image is drawn of: shown where the model reads images."""
    return words.section("image") | {"shown": facts.reads_images, "most": MAX_BYTES, "pixels": MAX_PIXELS}


def settings_of(trace: Trace) -> dict[str, Any]:
    """The values that the controls would have for a trace; a chat that was run on begins from its first turn."""
    config = trace.decoding.model_dump()
    stop, chat = config.pop("stop"), trace.chat
    arguments = json.dumps(chat.template_arguments, ensure_ascii=False) if chat and chat.template_arguments else ""
    return config | {
        "lanes": tuple(map(lane_text, trace.lanes)),
        "prompt": trace.prompt,
        "stop_text": stop[0].replace("\n", "\\n") if stop else "",
        "mode": CHAT if chat else COMPLETE,
        "system": chat.system if chat else "",
        "template_arguments": arguments,
    }


def _begins(facts: ModelFacts) -> dict[str, Any]:
    """The values that the controls begin with for a model of which nothing was recorded."""
    config = DecodingConfig().model_dump() | {"max_new_tokens": NEW_TOKENS, "early_norm": facts.preset.early_norm}
    return config | {
        "repetition_penalty": facts.repetition_penalty,
        "prompt": _first_prompt(facts),
        "stop_text": "",
        "mode": CHAT if facts.has_chat_template else COMPLETE,
        "system": "",
        "template_arguments": "",
    }


def _summary(values: Mapping[str, Any], words: Language) -> str:
    """How is decoded, in a few words."""
    new, temperature, beams = (values[name] for name in SUMMED)
    size = words("strips.one_token") if new == 1 else words("strips.tokens", n=new)
    how = words("strips.greedy")
    if beams and beams > 1:
        how = words("strips.beams", n=beams)
    elif temperature and temperature >= MIN_TEMPERATURE:
        how = words("controls.sampled_at", temperature=f"{temperature:g}")
    return f"{size} · {how}"


def _within(component: Component, value: Any) -> Any:
    """A value within the range that a component takes."""
    least, most = getattr(component, "minimum", None), getattr(component, "maximum", None)
    if least is None or most is None:
        return value
    return min(max(value, least), most)


def _with_value(update: Any, value: Any) -> Any:
    """A control's value together with an update of its other properties, if there is one."""
    if not isinstance(update, Component):
        return value
    return type(update)(**{**update.constructor_args, "value": value})


def merged(changes: Changes, more: Changes) -> Changes:
    """What two sets of changes do to components, the later where they set the same."""
    return changes | {part: _merged(changes.get(part), change) for part, change in more.items()}


def _merged(update: Any, more: Any) -> Any:
    """One update that does what two do to a component."""
    if not isinstance(update, Component | gr.Column) or not isinstance(more, Component | gr.Column):
        return _with_value(update, more)
    return type(more)(**{**update.constructor_args, **more.constructor_args})


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
