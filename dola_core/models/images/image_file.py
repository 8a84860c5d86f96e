"""Decode an image that somebody brings, within bounds: of what it was, nothing but its pixels is kept."""

import base64
import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from dola_core.errors import PromptError

MAX_IMAGES = 16
"""Of one prompt."""
MAX_BYTES, MAX_PIXELS = 8_000_000, 16_000_000
"""Of a file, and of the image in it."""
MAX_RATIO, MAX_SCANS = 50, 100
"""Of an image's sides, since what prepares it for a model may scale by the shorter one; and of a JPEG, each of which is
decoded over the whole image."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""What is decoded, by Pillow's names. A JPEG may hold several, as some cameras write it, of which the first counts."""
MOVING = ("GIF", "WEBP", "PNG")
"""Those of them of which a file with a second frame is an animation."""
THUMBNAIL = 128
"""Pixels of a thumbnail's longer side."""
PAPER, GREY = (255, 255, 255), (128, 128, 128)
"""What shows through transparent parts, and the colour of a blank image."""
DATA_URL = "data:image/"


@dataclass(frozen=True, eq=False)
class PromptImage:
    """One image of a prompt: upright, in red, green and blue, without metadata."""

    pixels: Image.Image

    @cached_property
    def sha256(self) -> str:
        """Hash of its size and its pixels, in which the same image saved in two lossless formats is the same."""
        digest = hashlib.sha256("{} {}\n".format(*self.pixels.size).encode())
        digest.update(self.pixels.tobytes())
        return digest.hexdigest()

    def blank(self) -> "PromptImage":
        """A grey image of the same size."""
        return PromptImage(Image.new("RGB", self.pixels.size, GREY))

    def thumbnail(self) -> str:
        """A small JPEG of it, in base64."""
        small = self.pixels.copy()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        file = BytesIO()
        small.save(file, "JPEG", quality=75)
        return base64.b64encode(file.getvalue()).decode("ascii")


def prompt_image(image: Image.Image) -> PromptImage:
    """An image of Pillow's as one of a prompt. Raises `PromptError` if its pixels cannot be read."""
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):  # converted by itself, all but the darkest would be white
            image = image.convert("I").point(lambda value: value / 256).convert("L")
        if "A" in image.getbands() or "transparency" in image.info:
            image = Image.alpha_composite(Image.new("RGBA", image.size, PAPER), image.convert("RGBA"))
        rgb = image.convert("RGB")
    except Exception as error:  # a decoder reads what anybody can have written
        raise PromptError("image_damaged") from error
    rgb.info = {}
    return PromptImage(rgb)


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """The image in a file's content, not decoded yet; raises `PromptError`."""
    if len(content) > MAX_BYTES:
        raise PromptError("image_bytes", len(content), MAX_BYTES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own about large images: the bound here is lower
        try:
            image = Image.open(BytesIO(content), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise PromptError("image_pixels", most=MAX_PIXELS) from error
        except Exception as error:  # as above
            raise PromptError("image_format") from error
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise PromptError("image_pixels", most=MAX_PIXELS)
            if max(image.size) > MAX_RATIO * min(image.size):
                raise PromptError("image_shape", most=MAX_RATIO)
            # Data has no such bytes: a scan's 0xFF is followed by 0.
            if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > MAX_SCANS:
                raise PromptError("image_scans")
            yield image


def check_image(content: bytes) -> None:
    """Raise `PromptError` for a file's content that is no image, or too large, without decoding it."""
    with _opened(content):
        pass


def read_image(content: bytes) -> PromptImage:
    """The image in a file's content.

    Raises `PromptError` for what is no image, too large, damaged, or moves.
    """
    with _opened(content) as image:
        try:
            moves = image.format in MOVING and getattr(image, "is_animated", False)
            image.seek(0)
            image.load()
        except Exception as error:  # as above
            raise PromptError("image_damaged") from error
        if moves:
            raise PromptError("image_frames")
        return prompt_image(image)


def open_image(path: str | Path) -> PromptImage:
    """The image in a file. Raises `PromptError` as `read_image` does, and if the file cannot be read."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PromptError("image_file", texts=str(path), reason=error.strerror or type(error).__name__) from error
    return read_image(content)


def data_url_content(url: str) -> bytes:
    """The content of a data URL, such as `data:image/png;base64,…`. Raises `PromptError` for what is none."""
    head, comma, content = url[: 4 * MAX_BYTES].partition(",")
    if not (comma and head.startswith(DATA_URL) and head.endswith(";base64")):
        raise PromptError("image_url")
    if len(content) > 4 * (MAX_BYTES // 3 + 1):
        raise PromptError("image_bytes", len(content) // 4 * 3, MAX_BYTES)
    try:
        return base64.b64decode(content, validate=True)
    except ValueError as error:
        raise PromptError("image_url") from error
