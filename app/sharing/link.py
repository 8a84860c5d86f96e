"""A link that brings somebody else to the same settings: readable, short, and nothing but settings.

Prompt, lanes and the length are always written, the rest where it is not as usual. The baseline beside
DoLa-static is written as `j` and `a`, other lanes as text: `lanes=plain static:22,beta=0.5`. A link may hold anything;
values that the controls take come out of it, and what is not understood is ignored.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.components import Component

from app.jobs.model_pool import ModelFacts
from app.jobs.request import CHAT, COMPLETE, LEAST_LANES, MOST_LAYERS, RequestError, parsed_lanes
from dola_core.lanes import DecodingConfig, DolaStatic, Lane, lane_text, parse_lane
from dola_core.models.loaded_model import well_formed
from dola_core.trace.step import ALPHA_MIN

ALWAYS = {"prompt": "prompt", "new": "max_new_tokens"}
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
USUAL: Mapping[str, Any] = DecodingConfig().model_dump(include={*NAMES.values()}) | {"stop_text": ""}
"""{control: its value where a link does not name it}; of those in `OF_MODEL` it is the model's."""
OF_MODEL = ("repetition_penalty", "early_norm", "mode", "system", "template_arguments")
"""The controls whose range, or whose usual value, depends on the model."""
OF_LANES = ("lanes", "layer", "alpha")
"""What a link says of the lanes, before it is known for which model."""
MAX_TEXT = 4000
"""Characters of a prompt that a link carries; longer ones do not fit every address bar."""
MAX_NAME = 200

Components = Mapping[str, Any]
"""{control: its component}, whose range and choices count."""


@dataclass(frozen=True)
class SharedLink:
    """What a link says, to be compared with the result of running it."""

    settings: dict[str, Any]
    """{control: value}, with the lanes as text under `lanes` once they are fitted to a model."""
    model: str = ""
    digest: str = ""
    """Of the result of whoever shared it; empty if they shared settings only."""
    step: int = 1
    """The step they looked at, from 1."""
    image: bool = False
    """Whether the prompt held an image, which no link carries."""
    is_fitted: bool = False
    """Whether the settings are as they are for the model, and so have been set on the page."""

    def verdict(self, ran: Mapping[str, Any], digest: str) -> str:
        """The language key that says whether a result equals the shared one; "" if other settings were run."""
        if not self.digest or any(ran.get(name) != value for name, value in self.settings.items()):
            return ""
        return "page.same_text" if digest == self.digest else "page.other_text"


def query(settings: Mapping[str, Any], facts: ModelFacts, *, step: int, digest: str, image: bool = False) -> str:
    """The query string for control values, the step looked at, and the digest of their result, if there is one.

    It says whether there was an `image` before the prompt, and does not hold it.

    The settings hold the lanes as text under `lanes`.
    """
    usual = {**USUAL, **_of_model(facts)}
    parameters = _of_lanes(tuple(map(parse_lane, settings["lanes"])))
    for name, control in NAMES.items():
        value = settings[control]
        if value is None or isinstance(value, str):  # an empty field holds None
            value = well_formed(value or "")
        if name in ALWAYS or value != usual[control]:
            parameters[name] = _as_text(value)
    if len(parameters["prompt"]) > MAX_TEXT:
        parameters["prompt"], digest = parameters["prompt"][:MAX_TEXT], ""
    ordered = {"prompt": parameters.pop("prompt")} | parameters
    more = ({"image": 1} if image else {}) | ({"hash": digest} if digest else {})
    return urlencode(ordered | {"step": step, "model": facts.name} | more, safe=",:")


def _of_lanes(lanes: tuple[Lane, ...]) -> dict[str, Any]:
    """What a link says of the lanes."""
    if len(lanes) == 2 and isinstance(static := lanes[1], DolaStatic):
        layer, alpha = static.layer, static.alpha
        if [lane_text(lane) for lane in lanes] == ["plain", lane_text(DolaStatic(layer=layer, alpha=alpha))]:
            return {"j": layer, "a": _as_text(alpha)}
    return {"lanes": " ".join(map(lane_text, lanes))}


def read(components: Components, parameters: Mapping[str, str]) -> SharedLink | None:
    """What a link's parameters say, clamped to what the controls take; None if they say nothing.

    A setting that the link does not mention is as usual. What depends on the model is not settled before `fitted`.
    """
    settings = {}
    for name, control in NAMES.items():
        if name not in parameters:
            continue
        text = str(parameters[name])
        text = FORMER.get(control, {}).get(text, text)
        value = _value(components[control], text)
        if value is not None:
            settings[control] = value
    settings |= _read_lanes(parameters)
    if not settings:
        return None
    usual = {"prompt": components["prompt"].value} | {c: value for c, value in USUAL.items() if c not in OF_MODEL}
    settings = usual | settings
    step = _whole(str(parameters.get("step", "1")))
    model, digest = (well_formed(str(parameters.get(name, "")))[:MAX_NAME] for name in ("model", "hash"))
    image = str(parameters.get("image", "")) == "1"
    return SharedLink(settings, model, digest, max(1, step) if step is not None else 1, image)


def _read_lanes(parameters: Mapping[str, str]) -> dict[str, Any]:
    """What a link's parameters say of the lanes."""
    said: dict[str, Any] = {
        "layer": _number(str(parameters.get("j", "")), 1, MOST_LAYERS - 1, whole=True),
        "alpha": _number(str(parameters.get("a", "")), ALPHA_MIN, 1.0, whole=False),
    }
    texts = str(parameters.get("lanes", ""))[:MAX_TEXT].split()
    try:
        lanes = parsed_lanes(texts, MOST_LAYERS)
        said["lanes"] = tuple(map(lane_text, lanes)) if len(lanes) >= LEAST_LANES else None
    except RequestError:
        pass
    return {name: value for name, value in said.items() if value is not None}


def fitted(shared: SharedLink, facts: ModelFacts) -> SharedLink:
    """A link's settings as they are for a model: those that it leaves open, and those beyond the model's range."""
    penalty, own = facts.repetition_penalty, _of_model(facts)
    settings = own | {name: value for name, value in shared.settings.items() if name not in OF_LANES}
    settings["lanes"] = _fitted_lanes(shared.settings, facts)
    settings["repetition_penalty"] = min(max(settings["repetition_penalty"], min(1.0, penalty)), max(2.0, penalty))
    if not facts.has_chat_template:
        settings |= {name: own[name] for name in ("mode", "system", "template_arguments")}
    return replace(shared, settings=settings, is_fitted=True)


def _of_model(facts: ModelFacts) -> dict[str, Any]:
    """What is usual with a model."""
    return {
        "repetition_penalty": facts.repetition_penalty,
        "early_norm": facts.preset.early_norm,
        "mode": CHAT if facts.has_chat_template else COMPLETE,
        "system": "",
        "template_arguments": "",
    }


def _fitted_lanes(said: Mapping[str, Any], facts: ModelFacts) -> tuple[str, ...]:
    """The lanes of a link for a model: j* within its layers; the usual lanes if others do not fit it."""
    plain, static = facts.usual_lanes
    own = static.model_copy(update={name: said[name] for name in ("layer", "alpha") if name in said})
    usual = [plain, _within(own, facts.n_layers)]
    lanes = [_within(parse_lane(text), facts.n_layers) for text in said.get("lanes", ())] or usual
    try:
        for lane in lanes:
            lane.fitted(facts.n_layers, tied=bool(facts.info.tied))
    except ValueError:
        lanes = usual
    return tuple(map(lane_text, lanes))


def _within(lane: Lane, n_layers: int) -> Lane:
    """A lane with its j*, if it has one, within a model's layers."""
    layer = getattr(lane, "layer", None)
    return lane if layer is None else lane.model_copy(update={"layer": min(max(layer, 1), n_layers - 1)})


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
