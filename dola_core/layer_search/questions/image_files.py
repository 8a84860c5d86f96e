"""The images of questions: whether each can be decoded, and what a result knows it by."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dola_core.errors import PromptError, QuestionPromptError
from dola_core.layer_search.questions.dataset import Item
from dola_core.models.images.image_file import PromptImage, open_image

REMEMBERED = 100_000
"""Of how many files it is remembered that they could be decoded."""


@dataclass(frozen=True)
class ImageFacts:
    """What is kept of an image whose pixels are not."""

    size: tuple[int, int]
    """Width and height."""
    sha256: str
    """The hash of its pixels, whatever its file is called."""


def question_image(path: str) -> PromptImage:
    """The image of a question.

    Raises `PromptError` as `open_image` does, and for what is no file, such as a pipe, which might never end.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise PromptError("image_file", texts=path, reason="it is no file")
        return open_image(path)
    except PromptError:
        raise
    except (OSError, ValueError) as error:  # a name that no file can have
        raise PromptError("image_file", texts=repr(path), reason="no file has such a name") from error


def image_facts(items: Sequence[Item], numbers: Sequence[int] | None = None) -> dict[str, ImageFacts]:
    """{path: its facts} of all images, each of which is decoded once.

    `numbers` say where the items stand in their file, from 0; without, they are the whole file. Raises
    `QuestionPromptError` for the first question whose image cannot be decoded.
    """
    facts = dict[str, ImageFacts]()
    for number, item in zip(numbers or range(len(items)), items, strict=True):
        if item.image is not None and item.image not in facts:
            try:
                facts[item.image] = _facts(item.image, _stamp(item.image))
            except PromptError as error:
                raise QuestionPromptError(number + 1, error) from error
    return facts


def images_sha256(items: Sequence[Item], facts: Mapping[str, ImageFacts]) -> str | None:
    """The hash of all images, in the order of the questions; None if there are none."""
    hashes = [facts[item.image].sha256 if item.image else "" for item in items]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest() if any(hashes) else None


def _stamp(path: str) -> tuple[int, int] | None:
    """What changes when a file is written anew."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=REMEMBERED)
def _facts(path: str, _stamp: tuple[int, int] | None) -> ImageFacts:
    image = question_image(path)
    return ImageFacts(image.pixels.size, image.sha256)
