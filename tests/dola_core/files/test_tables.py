"""Tables are read as they were written, or refused at the first row that does not fit the header."""

import csv
import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola_core.errors import DatasetError
from dola_core.files.tables import Table

HEADER = ("a", "b", "c", "d")
CELLS = st.text(st.sampled_from(' ,;|\t\n"a.é'), max_size=6)
ROWS = st.lists(st.lists(CELLS, min_size=3, max_size=6) | st.lists(CELLS, min_size=4, max_size=4), max_size=4)
DELIMITERS = st.sampled_from(",;\t|")


def table_of(rows: list[list[str]], delimiter: str, *, quoted: bool) -> Table:
    """The table that the standard library writes of these rows."""
    saved = io.StringIO()
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(saved, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerows([HEADER, *rows])
    return Table.of("x.csv", saved.getvalue(), HEADER)


@given(rows=ROWS, delimiter=DELIMITERS, quoted=st.booleans())
def test_rows_are_read_up_to_the_first_whose_cells_are_not_the_headers(rows, delimiter, quoted):
    table = table_of(rows, delimiter, quoted=quoted)
    filled = [cells for row in rows if any(cells := [cell.strip() for cell in row])]
    fitting = list(itertools.takewhile(lambda cells: len(cells) == len(HEADER), filled))
    found = table.rows()
    assert [list(next(found).cells.values()) for _ in fitting] == fitting
    if len(fitting) == len(filled):
        assert list(found) == []
        return
    with pytest.raises(DatasetError) as refused:
        next(found)
    assert refused.value.kind == "cells"
    assert refused.value.values["cells"] == str(len(filled[len(fitting)]))
    assert refused.value.values["header"] == str(len(HEADER))


@given(rows=ROWS, delimiter=DELIMITERS, quoted=st.booleans())
def test_a_row_knows_its_number_and_the_line_in_which_it_begins(rows, delimiter, quoted):
    line, places = 2, []
    for number, row in enumerate(rows, start=2):
        if any(cell.strip() for cell in row):
            places.append((line, number))
        line += 1 + sum(cell.count("\n") for cell in row)
    found = []
    try:
        found.extend((row.line, row.number) for row in table_of(rows, delimiter, quoted=quoted).rows())
    except DatasetError as refused:
        found.append((int(refused.values["line"]), int(refused.values["row"])))
    assert found == places[: len(found)]
    assert found or not places
