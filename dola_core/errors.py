"""What can go wrong by what a user asks for. Each message is one sentence that says what to do."""

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # the command line answers --help without importing pydantic
    from pydantic import ValidationError


class LoadError(RuntimeError):
    """A model cannot be loaded."""


class UnsupportedModelError(ValueError):
    """The layers of a model cannot be read. The message says what differs from the models that can."""


class PresetError(ValueError):
    """The settings recorded with a model, `dola_static.json`, cannot be used. The message says why in one sentence."""


class FileWriteError(OSError):
    """A file cannot be written. The message is one sentence that names the file and the reason.

    Made like an `OSError`, of error number, reason and file.
    """

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}."


class FolderInUseError(RuntimeError):
    """Another search writes into the folder. The message is one sentence."""


class PromptError(ValueError):
    """A prompt cannot be completed.

    The message is in English. `kind`, a key of `PROMPT_ERRORS`, and `values`, which fill in its sentence, let a page
    say the same in another language: `size` tokens or characters were given where at most `most` are read, `texts` are
    the parts of the prompt that cannot be read, `reason` is what the model's chat template says.
    """

    def __init__(self, kind: str, size: int = 0, most: int = 0, *, texts: str = "", reason: str = "") -> None:
        self.kind, self.size, self.most = kind, size, most
        self.values: dict[str, Any] = {"size": size, "most": most, "texts": texts, "reason": reason}
        super().__init__(PROMPT_ERRORS[kind].format(**self.values))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the constructor's arguments: the default would call it with the message alone."""
        return partial(type(self), self.kind, **self.values), ()


PROMPT_ERRORS = {
    "empty": "The prompt is empty; type something to complete.",
    "chat": "This model has no chat template; leave out chat.",
    "template": "The model's chat template refuses the prompt ({reason}); leave out chat.",
    "template_drops_system": "The model's chat template leaves the system prompt out; leave it empty.",
    "template_arguments": "The template's arguments cannot be used; give a JSON object of texts, numbers and truth "
    'values, such as {{"enable_thinking": false}}, without names that transformers reads itself.',
    "template_drops": "The model's chat template leaves the prompt out; leave out chat.",
    "tokens": "The prompt has {size:,} tokens; the model reads at most {most:,} and needs room to write. Shorten it.",
    "characters": "The prompt has {size:,} characters; at most {most:,} are read. Shorten it.",
    "unreadable": "The model's tokenizer has no token for {texts}; leave that out.",
    "vocabulary": "The model's tokenizer has a token for {texts}, but the model itself has none; leave that out.",
}


class QuestionPromptError(ValueError):
    """Question `number`, counted from 1, holds a text that cannot be read; `reason` says why."""

    def __init__(self, number: int, reason: PromptError) -> None:
        super().__init__(f"Question {number}: {reason}")
        self.number, self.reason = number, reason

    def __reduce__(self) -> tuple[type["QuestionPromptError"], tuple[int, PromptError]]:
        """Pickle by the constructor's arguments, as `PromptError` does."""
        return type(self), (self.number, self.reason)


class QuestionTooLongError(ValueError):
    """Question `number`, counted from 1, has `size` tokens where the model reads at most `most`."""

    def __init__(self, number: int, size: int, most: int) -> None:
        super().__init__(
            f"Question {number} has {size:,} tokens with its longest answer; the model reads at most {most:,}. "
            "Leave it out or shorten its prompt."
        )
        self.number, self.size, self.most = number, size, most

    def __reduce__(self) -> tuple[type["QuestionTooLongError"], tuple[int, int, int]]:
        """Pickle by the constructor's arguments: the default would call it with the message alone."""
        return type(self), (self.number, self.size, self.most)


class DatasetError(ValueError):
    """A file of questions cannot be read.

    `kind` is a key of `DATASET_ERRORS`, and `values` fill in its sentence; a page can say it in another language.
    """

    def __init__(self, kind: str, file: str, **values: str) -> None:
        self.kind, self.values = kind, {"file": file, **values}
        super().__init__(DATASET_ERRORS[kind].format(**self.values))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the constructor's arguments, as `PromptError` does."""
        return partial(type(self), self.kind, **self.values), ()


DATASET_ERRORS = {
    "encoding": "{file} is not {encoding} text (byte {byte}); save it as UTF-8.",
    "unreadable": "{file} cannot be read: {reason}.",
    "blank": "{file} is empty; choose a file that holds questions.",
    "format": "{file}, line {line}: neither JSON Lines nor a CSV (by comma, semicolon, tab or |) with the columns of "
    "TruthfulQA ({truthfulqa}) or FACTOR ({factor}).",
    "json": "{file}, line {line}: it is not JSON; write each question as one JSON object, on one line.",
    "object": "{file}, line {line}: it is not a JSON object; write each question as one, on one line.",
    "missing": "{file}, line {line}: the field {field} is missing.",
    "unknown": "{file}, line {line}: there is no field {field}.",
    "twice": "{file}, line {line}: the field {field} is there twice; leave one out.",
    "empty": "{file}, line {line}: {field} is empty.",
    "type": "{file}, line {line}: {field} is not of its type; answers and wrong are lists of texts, all else is text.",
    "quotes": "{file}, line {line} (row {row}): a field in quotes does not end, or something follows its end, or it is "
    "too long.",
    "column": "{file}, line {line}: the column “{column}” is missing; it has {has}.",
    "column_twice": "{file}, line {line}: the column “{column}” is there twice; leave one out.",
    "cells": "{file}, line {line} (row {row}): it has {cells} cells where the header has {header}; put a text that "
    "holds “{delimiter}” in quotes.",
    "cell": "{file}, line {line} (row {row}), column “{column}”: it is empty.",
    "none": "{file} holds no questions below its header.",
}


class Mistake(NamedTuple):
    """The first thing that pydantic found wrong with an input."""

    kind: str
    """Pydantic's name of the error, such as "missing"."""
    field: str
    """The path to the wrong field, such as "lanes.0.alpha"; empty if the input as a whole is wrong."""
    message: str
    """What is wrong, without a full stop."""

    @property
    def text(self) -> str:
        """Field and message, without a full stop."""
        return f"{self.field}: {self.message}" if self.field else self.message


def first_mistake(error: "ValidationError") -> Mistake:
    """The first mistake of a `ValidationError`, for a message of one sentence."""
    first = error.errors(include_url=False, include_input=False)[0]  # the input may have megabytes
    message = first["msg"].removeprefix("Value error, ").removesuffix(".")
    return Mistake(first["type"], ".".join(str(part) for part in first["loc"]), message)
