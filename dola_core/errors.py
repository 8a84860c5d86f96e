"""What can go wrong by what a user asks for. Each message is one sentence that says what to do."""

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:  # the command line answers --help without importing pydantic
    from pydantic import ValidationError


class LoadError(RuntimeError):
    """A model cannot be loaded."""


class UnsupportedModelError(ValueError):
    """The layers of a model cannot be read. The message says what differs from the models that can."""


class PromptError(ValueError):
    """A prompt cannot be completed.

    The message is in English. `kind`, `size` and `most` let a page say the same in another language: `size` tokens or
    characters were given where at most `most` are read, "chat" asks for a chat template that the model does not have.
    """

    def __init__(self, kind: Literal["empty", "chat", "tokens", "characters"], size: int = 0, most: int = 0) -> None:
        super().__init__(_PROMPT_ERRORS[kind].format(size=size, most=most))
        self.kind, self.size, self.most = kind, size, most


_PROMPT_ERRORS = {
    "empty": "The prompt is empty; type something to complete.",
    "chat": "This model has no chat template; leave out chat.",
    "tokens": "The prompt has {size:,} tokens; the model reads at most {most:,} and needs room to write. Shorten it.",
    "characters": "The prompt has {size:,} characters; at most {most:,} are read. Shorten it.",
}


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


DATASET_ERRORS = {
    "encoding": "{file} is not UTF-8 text (byte {byte}).",
    "unreadable": "{file} cannot be read: {reason}.",
    "format": "{file}, line 1: neither JSON Lines nor a CSV with the columns of TruthfulQA ({truthfulqa}) or FACTOR "
    "({factor}).",
    "json": "{file}, line {line}: it is not JSON.",
    "missing": "{file}, line {line}: the field {field} is missing.",
    "unknown": "{file}, line {line}: there is no field {field}.",
    "empty": "{file}, line {line}: {field} is empty.",
    "type": "{file}, line {line}: {field} is not of its type; answers and wrong are lists of texts, all else is text.",
    "quotes": "{file}, line {line}: a field in quotes does not end, or something follows its end, or it is too long.",
    "column": "{file}, line 1: the column “{column}” is missing; it has {has}.",
    "cell": "{file}, line {line}, column “{column}”: it is empty.",
    "none": "{file} holds no questions.",
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
