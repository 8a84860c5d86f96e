"""Prompts, and the files they are read from: a line each, a JSON document a line, or a column of a table."""

import json
from os import PathLike
from pathlib import Path

from dola_core.errors import DatasetError
from dola_core.files.encoding import decode_text
from dola_core.files.tables import Table

COLUMN = "prompt"
"""The column of a table, and the field of a JSON object, that holds the prompt."""
TABLES = (".csv", ".tsv")
JSON_LINES = (".jsonl", ".ndjson", ".json")


PROMPT_FILE_ERRORS = {
    "no_prompts": "{file} holds no prompts; write one a line, or a table with a column called {column}.",
    "no_text": "{file}, line {line}: it is neither a text nor an object with a text called {column}.",
}


class PromptFileError(ValueError):
    """A file holds no prompts, or something else.

    `kind` is a key of `PROMPT_FILE_ERRORS`, and `values` fill in its sentence; a page can say it in another language.
    """

    def __init__(self, kind: str, file: str, **values: str) -> None:
        self.kind, self.values = kind, {"file": file, "column": COLUMN, **values}
        super().__init__(PROMPT_FILE_ERRORS[kind].format(**self.values))


def read_prompts(path: str | PathLike[str]) -> list[str]:
    """The prompts of a file, in UTF-8, or in UTF-16 as spreadsheets save it.

    Raises `DatasetError` for one that cannot be read, and `PromptFileError`.

    A name that ends in .csv or .tsv is that of a table with a column "prompt", one that ends in .jsonl that of JSON
    objects with a field "prompt", or of JSON strings, one a line. In any other file every line is a prompt that is not
    empty.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError("unreadable", file.name, reason=error.strerror or type(error).__name__) from error
    try:
        text = decode_text(data)
    except UnicodeDecodeError as error:
        encoding = error.encoding.upper().removesuffix("-LE").removesuffix("-BE")
        raise DatasetError("encoding", file.name, encoding=encoding, byte=f"{error.start:,}") from error
    return parse_prompts(file.name, text)


def parse_prompts(name: str, text: str) -> list[str]:
    """The prompts in the text of a file called `name`, whose lines end in "\\n"; raises as `read_prompts` does."""
    suffix = Path(name).suffix.lower()
    if suffix in TABLES:
        prompts = _of_table(name, text)
    elif suffix in JSON_LINES:
        prompts = [_of_json(name, number, line) for number, line in _lines(text)]
    else:
        prompts = [line for _, line in _lines(text)]
    if not prompts:
        raise PromptFileError("no_prompts", name)
    return prompts


def _lines(text: str) -> list[tuple[int, str]]:
    """The lines that hold anything, with their numbers from 1. A JSON string may hold what else could end a line."""
    return [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _of_table(name: str, text: str) -> list[str]:
    table = Table.of(name, text, {COLUMN, COLUMN.title(), COLUMN.upper()})
    column = next((column for column in table.header if column.lower() == COLUMN), COLUMN)
    table.require([column])
    return [row.cell(column) for row in table.rows()]


def _of_json(name: str, number: int, line: str) -> str:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError("json", name, line=f"{number:,}") from error
    prompt = document.get(COLUMN) if isinstance(document, dict) else document
    if not isinstance(prompt, str):
        raise PromptFileError("no_text", name, line=f"{number:,}")
    if not prompt.strip():
        raise DatasetError("empty", name, line=f"{number:,}", field=COLUMN)
    return prompt
