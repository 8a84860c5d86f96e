"""A link that brings somebody else to the same settings: readable, short, and nothing but settings.

Prompt, j*, α and the length are always written, the rest where it differs from how the page starts. A link may hold
anything; values that the controls take come out of it, and what is not understood is ignored.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.components import Component

from app.jobs.engine_pool import ModelFacts
from app.jobs.request import CHAT, COMPLETE
from dola_core.models.loaded_model import well_formed

ALWAYS = {"prompt": "prompt", "j": "layer", "a": "alpha", "new": "max_new_tokens"}
"""{name in a link: the control it sets} for what every link holds."""
NAMES = ALWAYS | {
    "t": "temperature",
    "p": "top_p",
    "k": "top_k",
    "min": "min_p",
    "penalty": "repetition_penalty",
    "at": "penalty_position",
    "norm": "early_norm",
    "beams": "num_beams",
    "seed": "seed",
    "stop": "stop_text",
    "chat": "mode",
    "system": "system",
    "args": "template_arguments",
}
FORMER = {"mode": {"0": COMPLETE, "1": CHAT}}
"""{control: what its values were called in links of earlier versions}"""
OF_MODEL = ("layer", "repetition_penalty", "mode", "system", "template_arguments")
"""The controls whose range, or whose sense, depends on the model."""
MAX_TEXT = 4000
"""Characters of a prompt that a link carries; longer ones do not fit every address bar."""
MAX_NAME = 200
MOST_LAYERS = 255
"""The largest j* of any model's."""

Components = Mapping[str, Any]
"""{control: its component}, whose range, choices and start value count."""


@dataclass(frozen=True)
class SharedLink:
    """What a link says, to be compared with the result of running it."""

    settings: dict[str, Any]
    """{control: value}"""
    model: str = ""
    digest: str = ""
    """Of the result of whoever shared it; empty if they shared settings only."""
    step: int = 1
    """The step they looked at, from 1."""
    is_fitted: bool = False
    """Whether the settings are as they are for the model, and so have been set on the page."""

    def verdict(self, ran: Mapping[str, Any], digest: str) -> str:
        """The language key that says whether a result equals the shared one; "" if other settings were run."""
        if not self.digest or any(ran.get(name) != value for name, value in self.settings.items()):
            return ""
        return "page.same_text" if digest == self.digest else "page.other_text"


def query(components: Components, settings: Mapping[str, Any], *, model: str, step: int, digest: str) -> str:
    """The query string for control values, the step looked at, and the digest of their result, if there is one."""
    parameters = {}
    for name, control in NAMES.items():
        value = settings[control]
        if name == "prompt" or isinstance(value, str):
            value = well_formed(value or "")
        if name in ALWAYS or value != components[control].value:
            parameters[name] = _as_text(value)
    if len(parameters["prompt"]) > MAX_TEXT:
        parameters["prompt"], digest = parameters["prompt"][:MAX_TEXT], ""
    return urlencode(parameters | {"step": step, "model": model} | ({"hash": digest} if digest else {}))


def read(components: Components, parameters: Mapping[str, str]) -> SharedLink | None:
    """What a link's parameters say, clamped to what the controls take; None if they say nothing.

    A setting that the link does not mention is as the page starts with it. What depends on the model is not settled
    before `fitted`.
    """
    settings = {}
    for name, control in NAMES.items():
        if name not in parameters:
            continue
        text = str(parameters[name])
        text = FORMER.get(control, {}).get(text, text)
        value = _number(text, 1, MOST_LAYERS, whole=True) if control == "layer" else _value(components[control], text)
        if value is not None:
            settings[control] = value
    if not settings:
        return None
    settings = {control: components[control].value for control in NAMES.values() if control not in OF_MODEL} | settings
    step = _whole(str(parameters.get("step", "1")))
    model, digest = (well_formed(str(parameters.get(name, "")))[:MAX_NAME] for name in ("model", "hash"))
    return SharedLink(settings, model, digest, max(1, step) if step is not None else 1)


def fitted(shared: SharedLink, facts: ModelFacts) -> SharedLink:
    """A link's settings as they are for a model: those that it leaves open, and those beyond the model's range."""
    penalty = facts.repetition_penalty
    own: dict[str, Any] = {
        "layer": facts.preset.layer,
        "repetition_penalty": penalty,
        "mode": CHAT if facts.has_chat_template else COMPLETE,
        "system": "",
        "template_arguments": "",
    }
    settings = own | shared.settings
    settings["layer"] = min(max(settings["layer"], 1), facts.n_layers - 1)
    settings["repetition_penalty"] = min(max(settings["repetition_penalty"], min(1.0, penalty)), max(2.0, penalty))
    if not facts.has_chat_template:
        settings |= {name: own[name] for name in ("mode", "system", "template_arguments")}
    return replace(shared, settings=settings, is_fitted=True)


def _as_text(value: Any) -> Any:
    """A value as it stands in a link."""
    if isinstance(value, bool):
        return int(value)
    return f"{value:g}" if isinstance(value, float) else value


def _value(component: Component, text: str) -> Any:
    """The text as a value that the component takes, or None."""
    if isinstance(component, gr.Checkbox):
        return {"0": False, "1": True}.get(text)
    if isinstance(component, gr.Radio):
        return text if text in [value for _, value in component.choices] else None
    if isinstance(component, gr.Textbox):
        return well_formed(text)[:MAX_TEXT]
    whole = component.step == 1 or getattr(component, "precision", None) == 0
    return _number(text, component.minimum, component.maximum, whole=whole)


def _number(text: str, least: float, most: float, *, whole: bool) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if math.isnan(number):
        return None
    number = min(max(number, least), most)
    return round(number) if whole else number


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None
