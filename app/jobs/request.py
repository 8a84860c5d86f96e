"""What a visitor asks a comparison for, checked, and the limits that the host sets."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.language import VisitorError
from dola_core.comparison import ChatTurn
from dola_core.errors import PromptError, first_mistake
from dola_core.lanes import AnyLane, DecodingConfig, Lane, parse_lane
from dola_core.models.images.image_file import check_image, data_url_content
from dola_core.models.loaded_model import well_formed
from dola_core.trace.step import ALPHA_MIN

MAX_BEAMS = 8
"""The most beams that a visitor can ask for."""
COMPLETE, CHAT = MODES = ("complete", "chat")
"""Whether a prompt is gone on with, or answered as the user's turn of the model's chat template."""
LEAST_LANES, MAX_LANES, MAX_LANE = 2, 4, 500
"""The fewest lanes that the page compares, the most of any comparison, and characters of each as text."""
MOST_LAYERS = 256
"""More layers than any model has, where the model is not known."""
MAX_SYSTEM, MAX_ARGUMENTS = 20_000, 1000
"""Characters of a system prompt, and of the JSON object with a template's arguments."""
MAX_IMAGE = 11_000_000
"""Characters of an image as a data URL."""


class RequestError(VisitorError):
    """A request that cannot be run."""


def prompt_refused(error: PromptError) -> RequestError:
    """A prompt that cannot be completed, as the page says it."""
    return RequestError(f"error.prompt_{error.kind}", **error.values)


def lanes_refused(n_layers: int) -> RequestError:
    """Lanes that a model of `n_layers` cannot run, as the page says it."""
    return RequestError("error.lanes", most=MAX_LANES, last=n_layers - 1, least=ALPHA_MIN)


def lane_refused(n_layers: int) -> RequestError:
    """A lane that a pane of the page cannot hold, for a model of `n_layers`."""
    return RequestError("error.lane", last=n_layers - 1, least=ALPHA_MIN)


def parsed_lanes(texts: object, n_layers: int) -> tuple[Lane, ...]:
    """The lanes that a call names, each as text; raises `RequestError` for what is none, or too many."""
    if texts is None:
        return ()
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_LANES:
        raise lanes_refused(n_layers)
    if not all(isinstance(text, str) and len(text) <= MAX_LANE for text in texts):
        raise lanes_refused(n_layers)
    try:
        lanes = tuple(map(parse_lane, texts))
    except ValueError as error:
        raise lanes_refused(n_layers) from error
    if any(0 < lane.least_share < ALPHA_MIN for lane in lanes):
        raise lanes_refused(n_layers)
    return lanes


def template_arguments(text: object) -> dict[str, Any]:
    """The arguments of a chat template that a visitor wrote as a JSON object; raises `RequestError` for anything else.

    Their values are texts, numbers, true, false or null.
    """
    text = "" if text is None else text
    if isinstance(text, str) and not text.strip():
        return {}
    try:
        arguments = json.loads(text) if isinstance(text, str) and len(text) <= MAX_ARGUMENTS else None
    except (ValueError, RecursionError):
        arguments = None
    try:
        return ChatTurn.model_validate({"template_arguments": arguments}).template_arguments
    except ValidationError as error:
        raise RequestError("error.prompt_template_arguments", **PromptError("template_arguments").values) from error


def rows_of(lanes: int, num_beams: int) -> int | None:
    """How many texts a comparison decodes together; None for a beam search, which runs alone."""
    return lanes if num_beams == 1 else None


def texts_of(lanes: Sequence[Lane], *, image: bool) -> int:
    """How many texts lanes can come to: each is read twice if it is with the prompt's image and without it."""
    return len(lanes) * len({lane.image for lane in lanes} if image else {True})


class ComparisonRequest(BaseModel):
    """One comparison as a visitor asks for it: a prompt, the lanes, and how they decode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    layer: int = Field(1, ge=1, strict=True)
    """j* of DoLa-static, if no lanes are named."""
    alpha: float = Field(0.1, ge=ALPHA_MIN, le=1.0, allow_inf_nan=False, strict=True)
    """Its plausibility threshold."""
    decoding: DecodingConfig
    lanes: tuple[AnyLane, ...] = Field((), max_length=MAX_LANES)
    """None for the baseline beside DoLa-static with (j*, α)."""
    chat: bool = False
    system: str = Field("", max_length=MAX_SYSTEM)
    """The system prompt of a chat; empty for the template's own."""
    template_arguments: dict[str, Any] = Field(default_factory=dict)
    """What the chat template reads beside the turns."""
    image: str = Field("", max_length=MAX_IMAGE, repr=False)
    """An image that stands before the prompt's text, as a data URL; empty for none."""
    thumbnail: bool = True
    """Whether the trace keeps a small picture of the image."""

    @property
    def rows(self) -> int | None:
        """How many texts it decodes together; None for a beam search, which runs alone."""
        texts = texts_of(self.lanes, image=bool(self.image)) if self.lanes else LEAST_LANES
        return rows_of(texts, self.decoding.num_beams)

    @field_validator("prompt", "system")
    @classmethod
    def _well_formed(cls, text: str) -> str:
        return well_formed(text)

    @classmethod
    def of(cls, **values: object) -> "ComparisonRequest":
        """Check the values of the controls or of an API call; raises `RequestError` with one sentence."""
        try:
            request = cls.model_validate(values)
            if request.image:
                check_image(data_url_content(request.image))
            return request
        except PromptError as error:
            raise prompt_refused(error) from error
        except ValidationError as error:
            mistake = first_mistake(error)
            if mistake.kind == "beams_sample":
                raise RequestError("error.beams_sample") from error
            name = mistake.name.removeprefix("decoding, ").replace("_", " ")
            text = f"{name}: {mistake.message}." if name else f"{mistake.message}."
            raise RequestError("error.plain", text=text) from error


@dataclass(frozen=True)
class Limits:
    """What bounds a run besides its own request."""

    new_tokens: int = 4096
    """The most new tokens of a run that goes on from an opened trace, which may have asked for more."""
    prompt_tokens: int | None = None
    """The longest prompt; None is what the model reads."""
    seconds: float = math.inf
