"""What can go wrong by what a user asks for. Each message is one sentence that says what to do."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # the command line answers --help without importing pydantic
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


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
    "template_drops_images": "The model's chat template leaves the image out; leave out chat.",
    "tokens": "The prompt has {size:,} tokens; the model reads at most {most:,} and needs room to write. Shorten it.",
    "characters": "The prompt has {size:,} characters; at most {most:,} are read. Shorten it.",
    "unreadable": "The model's tokenizer has no token for {texts}; leave that out.",
    "images": "This model reads no images; leave the image out, or choose a model that reads them.",
    "image_count": "The prompt has {size:,} images; at most {most:,} are read. Leave some out.",
    "image_missing": "A lane without the image needs an image before the prompt; add one, or let the lane see it.",
    "image_shape": "The image is more than {most:,} times as long as it is wide; crop it.",
    "image_scans": "The image is a JPEG of very many scans; save it anew.",
    "image_processor": "What prepares images for this model cannot be loaded ({reason}); leave the image out.",
    "image_refused": "What prepares images for this model refuses this one ({reason}); give another.",
    "image_mark": "The prompt holds {texts}, by which this model marks an image; leave that out.",
    "image_passes": "This model does not go on from an image as it reads one ({reason}); leave the image out.",
    "image_file": "The image {texts} cannot be read: {reason}.",
    "image_format": "The image cannot be read; give a whole PNG, JPEG, WebP, GIF or BMP file.",
    "image_url": "The image is no data URL; give one such as data:image/png;base64,… in base64.",
    "image_damaged": "The image is damaged or cut off; save it again.",
    "image_bytes": "The image has {size:,} bytes; at most {most:,} are read. Make it smaller.",
    "image_pixels": "The image has more than {most:,} pixels; make it smaller.",
    "image_frames": "The image moves; give one that stands still.",
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
    "label": "{file}, line {line}: {field} must be yes or no; a question with other answers has prompt, answers and "
    "wrong.",
    "image": "{file}, line {line}: it names an image, which is not read here; measure such questions by the command "
    "python -m dola_core.layer_search.",
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
    """What is wrong, in plain words, without a full stop: "must be at most 10"."""
    name: str
    """The field as people call it, such as "lane 1, alpha": entries of a list are counted from 1."""

    @property
    def text(self) -> str:
        """Name and message, without a full stop."""
        return f"{self.name}: {self.message}" if self.name else self.message


SINGULAR = {
    "alphas": "alpha", "choices": "choice", "ends": "end", "lanes": "lane", "prompt_ids": "prompt id",
    "questions": "question", "steps": "step", "texts": "text",
}  # fmt: skip
"""{field that is a list: what one of its entries is called}"""
BY_NUMBER = frozenset({"pieces", "weights"})
"""Fields with an entry for a number, such as a layer's or a token's, which is no place in a list."""
KEY = "[key]"
"""What pydantic puts behind the name of an entry to say that the name itself is wrong."""
WHOLE, NUMBER, TEXT, LIST = "must be a whole number", "must be a number", "must be a text", "must be a list"
TRUTH, OBJECT = "must be true or false", "must be an object with named fields"
MESSAGES = {
    "missing": "is missing", "extra_forbidden": "is not known here", "literal_error": "must be {expected}",
    "greater_than": "must be above {gt:,}", "greater_than_equal": "must be at least {ge:,}",
    "less_than": "must be below {lt:,}", "less_than_equal": "must be at most {le:,}",
    "finite_number": "must be a finite number", "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have at least {min_length:,} characters",
    "string_too_long": "must have at most {max_length:,} characters",
    "too_short": "must have at least {min_length:,} entries", "too_long": "must have at most {max_length:,} entries",
    "int_type": WHOLE, "int_parsing": WHOLE, "int_from_float": WHOLE, "int_parsing_size": WHOLE,
    "float_type": NUMBER, "float_parsing": NUMBER, "bool_type": TRUTH, "bool_parsing": TRUTH,
    "string_type": TEXT, "string_sub_type": TEXT, "string_unicode": TEXT,
    "tuple_type": LIST, "list_type": LIST, "set_type": LIST,
    "dict_type": OBJECT, "mapping_type": OBJECT, "model_type": OBJECT, "model_attributes_type": OBJECT,
}  # fmt: skip
"""{pydantic's name of an error: what it says here}; its own sentences speak to programmers."""


def first_mistake(error: "ValidationError") -> Mistake:
    """The first mistake of a `ValidationError`, for a message of one sentence."""
    return plain_mistake(error.errors(include_url=False, include_input=False)[0])  # the input may have megabytes


def plain_mistake(details: "ErrorDetails") -> Mistake:
    """One of the mistakes that a `ValidationError` lists, in plain words."""
    kind, path = details["type"], details["loc"]
    own = details["msg"].removeprefix("Value error, ").removesuffix(".")
    bounds = {name: _plain_number(value) for name, value in details.get("ctx", {}).items()}
    message = MESSAGES[kind].format(**bounds) if kind in MESSAGES else own
    if message.startswith("Input should be "):
        message = "must be " + message.removeprefix("Input should be ")
    if message.endswith(" 1 characters"):
        message = message.removesuffix("s")
    if path and path[-1] == KEY:
        path, message = path[:-2], f"a name in it {message}"  # the name is whatever somebody wrote
    elif path:
        message = message.removeprefix(f"{path[-1]} ")  # a check of ours that names its field
    return Mistake(kind, ".".join(map(str, path)), message, _name(path))


def _plain_number(value: Any) -> Any:
    """A whole number without its decimals: 10 rather than 10.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _name(path: Sequence[int | str]) -> str:
    """A path as people call it; an entry of a list is named after the list, and counted from 1."""
    names: list[str] = []
    for part in map(_as_named, path, ("", *path)):
        if isinstance(part, int):
            names[-1:] = [f"{SINGULAR.get(names[-1], names[-1]) if names else 'entry'} {part + 1}"]
        else:
            names.append(part)
    return ", ".join(name.replace("_", " ") if name in SINGULAR.values() else name for name in names)


def _as_named(part: int | str, parent: int | str) -> int | str:
    return str(part) if parent in BY_NUMBER else part
