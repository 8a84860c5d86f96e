"""A link that brings somebody else to the same settings: readable, short, and nothing but settings.

Prompt, j*, α and the length are always written, the rest where it differs from how the page starts. Whatever stands in
a link that somebody opens, values that the controls take come out of it; what is not understood is passed over.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.components import Component

from app.compare_tab.controls import Controls
from dola_core.models.loading import well_formed

ALWAYS = {"prompt": "prompt", "j": "layer", "a": "alpha", "new": "max_new_tokens"}
"""Names in a link and the controls they set."""
NAMES = ALWAYS | {
    "t": "temperature",
    "p": "top_p",
    "k": "top_k",
    "penalty": "repetition_penalty",
    "at": "penalty_position",
    "norm": "early_norm",
    "beams": "num_beams",
    "seed": "seed",
    "stop": "stop_text",
    "chat": "chat",
}
MAX_TEXT = 4000
"""Characters of a prompt that a link carries; longer ones do not fit every address bar."""
MAX_NAME = 200


@dataclass(frozen=True)
class Shared:
    """What a link said, to be compared with what comes of it."""

    settings: dict[str, Any]
    """{control: value}"""
    model: str = ""
    digest: str = ""
    """Of the result of whoever shared it; empty if they shared settings only."""
    step: int = 1
    """The step they looked at, from 1."""

    def verdict(self, ran: Mapping[str, Any], digest: str) -> str:
        """The key of the words that say whether a result is the one that was shared; "" if another was asked for."""
        if not self.digest or any(ran.get(name) != value for name, value in self.settings.items()):
            return ""
        return "page.same_text" if digest == self.digest else "page.other_text"


def query(controls: Controls, settings: Mapping[str, Any], *, model: str, step: int, digest: str) -> str:
    """The query string for control values, the step looked at, and the digest of their result, if there is one."""
    said = {}
    for name, control in NAMES.items():
        value = settings[control]
        if name == "prompt" or isinstance(value, str):
            value = well_formed(value or "")
        if name in ALWAYS or value != getattr(controls, control).value:
            said[name] = int(value) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
    if len(said["prompt"]) > MAX_TEXT:
        said["prompt"], digest = said["prompt"][:MAX_TEXT], ""
    return urlencode(said | {"step": step, "model": model} | ({"hash": digest} if digest else {}))


def read(controls: Controls, parameters: Mapping[str, str]) -> Shared | None:
    """What a link's parameters say, clamped to what the controls take; None if they say nothing.

    A setting that it does not mention is as the page starts with it.
    """
    settings = {}
    for name, control in NAMES.items():
        component = getattr(controls, control)
        value = _value(component, str(parameters[name])) if name in parameters and component.visible else None
        if value is not None:
            settings[control] = value
    if not settings:
        return None
    settings = {control: getattr(controls, control).value for control in NAMES.values()} | settings
    step = _whole(str(parameters.get("step", "1")))
    model, digest = (well_formed(str(parameters.get(name, "")))[:MAX_NAME] for name in ("model", "hash"))
    return Shared(settings, model, digest, max(1, step) if step is not None else 1)


def _value(component: Component, text: str) -> Any:
    """The text as a value that the component takes, or None."""
    if isinstance(component, gr.Checkbox):
        return {"0": False, "1": True}.get(text)
    if isinstance(component, gr.Radio):
        return text if text in [value for _, value in component.choices] else None
    if isinstance(component, gr.Textbox):
        return well_formed(text)[:MAX_TEXT]
    try:
        number = float(text)
    except ValueError:
        return None
    if math.isnan(number):
        return None
    number = min(max(number, component.minimum), component.maximum)
    whole = component.step == 1 or getattr(component, "precision", None) == 0
    return round(number) if whole else number


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None
