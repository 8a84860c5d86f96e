"""A file of questions, read once, so that its questions and its hash are those of one state of the file."""

import hashlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal, Self

from dola_core.layer_search.questions.dataset import Format, Item, file_bytes, parse_items, text_of


@dataclass(frozen=True)
class QuestionFile:
    """The content of a file of questions, without the images that they name."""

    name: str
    """Its name without folders."""
    data: bytes
    folder: Path | None = None
    """Where it lies, from where paths of images start; None for a text from elsewhere, which must name no images."""

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Self:
        """Read the file; raises `DatasetError`."""
        return cls(Path(path).name, file_bytes(path), Path(path).parent)

    @property
    def sha256(self) -> str:
        """The hash by which a result knows the file."""
        return hashlib.sha256(self.data).hexdigest()

    def items(
        self, format: Format | Literal["auto"] = "auto", *, preamble: bool = False, images: Path | None = None
    ) -> list[Item]:
        """The questions, as `read_items` reads them; raises `DatasetError`."""
        folder = self.folder if images is None else images
        return parse_items(self.name, text_of(self.name, self.data), format, preamble=preamble, images=folder)
