"""CSV that no spreadsheet runs, and that every reader reads back."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola_core.files.csv_text import as_text, csv_text

SIGNS = "=+-@＝＋－＠"
TEXTS = st.text(alphabet=f"{SIGNS},;|\t\r\n \"'ab\u00a0\u2003", max_size=12)


@pytest.mark.parametrize("delimiter", ",;\t|")
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_no_cell_begins_a_formula_whatever_separates_cells(delimiter, texts):
    written = csv_text(["step", *texts], [[1, *texts]])
    for row in csv.reader(io.StringIO(written, newline=""), delimiter=delimiter):
        for cell in row:
            assert cell.strip(' \t\r\n"\u00a0\u2003')[:1] not in tuple(SIGNS), cell


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_it_reads_back_but_for_the_apostrophes(texts):
    [header, row] = csv.reader(io.StringIO(csv_text(texts, [texts]), newline=""))
    assert header == row == [as_text(text) for text in texts]
    assert [cell.replace("'", "") for cell in row] == [text.replace("'", "") for text in texts]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        (-1.5, "-1.5"),
        (-0.123456789, "-0.123457"),
        (1e-9, "1e-09"),
        (0, "0"),
        (True, "True"),
        (None, ""),
        ("Canberra", "Canberra"),
        (" -", "' -"),
        ("well-known", "well-known"),
        ("=1+1", "'=1+1"),
        ('a;"=1"', '"a;\'""=1"""'),
    ],
)
def test_numbers_stay_numbers_and_only_formulas_change(cell, written):
    assert csv_text(["column", "last"], [[cell, 1]]) == f"column,last\r\n{written},1\r\n"
