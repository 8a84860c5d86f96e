"""What a trace keeps of the images in its prompt."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dola_core.models.images.image_file import MAX_PIXELS, PromptImage

MAX_THUMBNAIL = 40_000
"""Characters of a thumbnail, far above what is made."""
JPEG = "^/9j/[A-Za-z0-9+/]*={0,2}$"
"""How a JPEG begins in base64, and what else such a text holds."""


class TraceImage(BaseModel):
    """One image of a trace's prompt: enough to see which it was, and to tell whether another is the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of its size and its pixels; see `PromptImage.sha256`."""
    width: Annotated[int, Field(ge=1, le=MAX_PIXELS)]
    height: Annotated[int, Field(ge=1, le=MAX_PIXELS)]
    thumbnail: str | None = Field(None, max_length=MAX_THUMBNAIL, pattern=JPEG, exclude_if=lambda kept: kept is None)
    """A small JPEG of it in base64, if it was kept."""

    @property
    def title(self) -> str:
        """Its size and the beginning of its hash, such as "40 × 28, 1f0c9a3e"."""
        return f"{self.width} × {self.height}, {self.sha256[:8]}"

    @classmethod
    def of(cls, image: PromptImage, *, thumbnail: bool) -> "TraceImage":
        """What is kept of an image, with or without its thumbnail."""
        width, height = image.pixels.size
        kept = image.thumbnail() if thumbnail else None
        return cls(sha256=image.sha256, width=width, height=height, thumbnail=kept)
