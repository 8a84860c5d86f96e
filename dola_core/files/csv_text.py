"""Tables as CSV that is safe to open in a spreadsheet.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula, and a token or a prompt may be any text.
An apostrophe before it makes it text. A spreadsheet that separates cells otherwise than by commas finds further
beginnings inside of a text, so these are marked too.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence

Cell = str | int | float | bool | None
FORMULA = re.compile(r"(^|[,;|\t\r\n])(?=[\s\"]*[=+\-@＝＋－＠])")
"""The beginning of what some spreadsheet would run: white space and quotes may stand before the sign."""
DIGITS = 6
"""Significant digits of a number that is not whole."""


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """The table with its header. Lines end as RFC 4180 has them; what is None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(map(as_text, columns))
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def as_text(text: str) -> str:
    """`text` with an apostrophe wherever a spreadsheet would begin a formula."""
    return FORMULA.sub(r"\1'", text)


def _cell(value: Cell) -> str | int | None:
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return str(value) if isinstance(value, bool) else value
