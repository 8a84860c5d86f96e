"""Tables in text files as spreadsheets save them: a header, and rows by column, or a `DatasetError` that says where.

A row that does not fit its header is refused: with a comma too many, every text behind it would stand in the wrong
column.
"""

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Self

from dola_core.errors import DatasetError

DELIMITERS = ",;\t|"
"""What may separate cells."""
DELIMITER_LINE = re.compile(r'"?sep=([^\s"]|\t)"?\n', re.IGNORECASE)
"""A line before the header in which Excel notes the delimiter."""
MAX_FIELD = 10_000_000
"""Longest cell, in characters."""
MAX_HEADER = 200
"""Characters of a header that a message repeats."""
BLANK = re.compile(r"[\s.]*")
"""A cell that says nothing."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    file: str
    """The name of the table's file, for messages."""
    line: int
    """The line of the file, counted from 1, in which the row begins; a cell in quotes may hold several lines."""
    number: int
    """Its number among the table's rows as a spreadsheet counts them: the header is 1."""
    cells: Mapping[str, str]
    """{column: cell}, without white space around cells."""

    def cell(self, column: str) -> str:
        """A cell that must not be empty; raises `DatasetError` if it is."""
        text = self.cells[column]
        if BLANK.fullmatch(text):
            raise self.refused("cell", column=column)
        return text

    def refused(self, kind: str, **values: str) -> DatasetError:
        """The error for this row."""
        return DatasetError(kind, self.file, line=f"{self.line:,}", row=f"{self.number:,}", **values)


@dataclass(frozen=True)
class Table:
    """A table whose header is read and whose rows are not yet."""

    file: str
    text: str
    delimiter: str
    skipped: int
    """Lines before the table."""
    line: int
    """The line of the header, counted from 1."""
    header: tuple[str, ...]
    """The names of the columns. Some may be empty: a table may be narrower than its sheet."""

    @classmethod
    def of(cls, file: str, text: str, known: Collection[str]) -> Self:
        """The table in `text`, whose lines end in "\\n". The delimiter is the one that shows most `known` columns."""
        noted = DELIMITER_LINE.match(text)
        text, skipped, delimiters = (text[noted.end() :], 1, noted[1]) if noted else (text, 0, DELIMITERS)

        def score(delimiter: str) -> int:
            try:
                return len(set(known) & set(_header(file, text, delimiter, skipped)[1]))
            except DatasetError:
                return 0

        delimiter = max(delimiters, key=score)
        line, header = _header(file, text, delimiter, skipped)
        if not header:
            raise DatasetError("blank", file)
        return cls(file, text, delimiter, skipped, line, header)

    def require(self, columns: Sequence[str]) -> None:
        """Raises `DatasetError` unless each of these columns is there once."""
        for column in columns:
            if column not in self.header:
                has = " ".join(", ".join(self.header).split())[:MAX_HEADER]
                raise DatasetError("column", self.file, line=f"{self.line:,}", column=column, has=has)
            self.require_at_most_one(column)

    def require_at_most_one(self, column: str) -> None:
        """Raises `DatasetError` if a column is there twice: nobody can tell which one is meant."""
        if self.header.count(column) > 1:
            raise DatasetError("column_twice", self.file, line=f"{self.line:,}", column=column)

    def rows(self) -> Iterator[Row]:
        """The rows below the header that hold anything; raises `DatasetError` for one that does not fit the header."""
        named = _filled(self.header)
        records = _records(self.file, self.text, self.delimiter, self.skipped)
        next(records)  # the header
        for line, number, cells in records:
            row = Row(self.file, line, number, dict(zip(self.header, cells, strict=False)))
            if len(cells) != len(self.header) or _filled(cells) > named:
                held, wanted = len(cells), len(self.header)
                if held == wanted:  # the sheet is as wide, but nothing is above a cell that is filled
                    held, wanted = _filled(cells), named
                delimiter = self.delimiter.replace("\t", "\\t")
                raise row.refused("cells", cells=f"{held:,}", header=f"{wanted:,}", delimiter=delimiter)
            yield row


def _header(file: str, text: str, delimiter: str, skipped: int) -> tuple[int, tuple[str, ...]]:
    """The header and its line; it is the first row that holds anything.

    A stray quote is no error here: in a text that is no table, it would be the wrong thing to complain of.
    """
    line, _, cells = next(_records(file, text, delimiter, skipped, strict=False), (1, 1, []))
    return line, tuple(cells)


def _filled(cells: Sequence[str]) -> int:
    """How many cells there are without empty ones at the end."""
    return max((index for index, cell in enumerate(cells, start=1) if cell), default=0)


def _records(
    file: str, text: str, delimiter: str, skipped: int, *, strict: bool = True
) -> Iterator[tuple[int, int, list[str]]]:
    """Line, row number and cells of every row that holds anything; spreadsheets write empty rows as delimiters.

    `strict` makes a stray quote an error.
    """
    csv.field_size_limit(MAX_FIELD)
    # White space before a quote is skipped: else the quote would be text.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict, skipinitialspace=True)
    for number in count(1):
        line = skipped + reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise DatasetError("quotes", file, line=f"{line:,}", row=f"{number:,}") from error
        if any(cells):
            yield line, number, cells
