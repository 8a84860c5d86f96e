"""What a comparison is asked for, as one value that everything which runs or records it takes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from dola_core.lanes import DecodingConfig, Lane

if TYPE_CHECKING:
    from dola_core.decoding.engine import Engine
    from dola_core.models.images.image_file import PromptImage
    from dola_core.models.images.image_prompts import PromptImages
    from dola_core.trace.schema import Trace


class ChatTurn(BaseModel):
    """How a prompt was put as the user's turn of the model's chat template."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    system: str = Field("", max_length=20_000)
    """The system prompt; empty for the template's own."""
    template_arguments: dict[str, str | bool | int | float | None] = Field(default_factory=dict, max_length=100)
    """What the template read beside the turns."""


@dataclass(frozen=True)
class Prompt:
    """What a comparison completes: a text, perhaps behind images."""

    text: str
    images: "tuple[PromptImage, ...]" = ()
    """Made by `open_image`, `read_image` or `prompt_image`."""
    chat: ChatTurn | None = None
    """None for a text that is gone on with; else it is the user's turn of the model's chat template."""


@dataclass(frozen=True)
class Comparison:
    """One prompt, the lanes that complete it, and how all of them decode."""

    prompt: str
    """The prompt as the user typed it, for the trace. Decoding reads `prompt_ids` alone."""
    prompt_ids: tuple[int, ...]
    """The prompt as tokenised, with BOS or chat template."""
    lanes: tuple[Lane, ...]
    """Their names need not be unique."""
    config: DecodingConfig
    chat: ChatTurn | None = None
    """None for a prompt that is gone on with."""
    begun: str = ""
    """What the assistant had said already, at the end of `prompt_ids`, where a chat goes on in the middle."""
    images: "PromptImages | None" = None
    """The images whose ids are among `prompt_ids`, as the model reads them."""
    thumbnails: bool = True
    """Whether the trace keeps a small picture of each image."""

    def __post_init__(self) -> None:
        if not self.lanes:
            raise ValueError("A comparison needs at least one lane.")

    def run(self, engine: "Engine") -> "Trace":
        """Everything recorded, once every lane has ended; the short form of draining `engine.compare`."""
        return engine.run(self)
