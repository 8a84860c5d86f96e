"""What came of many prompts, as a table of the page and as files."""

import csv
import io

import pytest

from app.jobs.many_prompts import PromptResult
from app.language import CODES, ENGLISH, language
from app.tabs.prompts.table import ORDERS, csv_file, in_order, json_lines, table
from dola_core.many_prompts.rows import PromptRow

TEXTS = {"baseline": "one", "dola": "two"}
ROWS = [
    PromptRow(number=1, settings="s", prompt="a", texts=TEXTS, steps=9, differing=2, first_difference=5,
              mean_divergence=0.1),
    PromptRow(number=2, settings="s", prompt="=1+1", error="No."),
    PromptRow(number=3, settings="s", prompt="c", texts=TEXTS, steps=9, mean_divergence=0.3),
    PromptRow(number=4, settings="s", prompt="<b>d</b>", texts=TEXTS, steps=9, differing=7, first_difference=2,
              mean_divergence=0.2),
]  # fmt: skip
RESULTS = [PromptResult(row) for row in ROWS]


@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        ("number", [1, 2, 3, 4]),
        ("first", [4, 1, 3, 2]),
        ("differing", [4, 1, 3, 2]),
        ("divergence", [3, 4, 1, 2]),
        (None, [1, 2, 3, 4]),
        (["first"], [1, 2, 3, 4]),
        ("nothing", [1, 2, 3, 4]),
    ],
)
def test_the_rows_are_in_the_order_that_was_picked_and_a_click_names_the_prompt(order, numbers):
    assert [result.row.number for result in in_order(RESULTS, order)] == numbers
    shown = table(RESULTS, order, ENGLISH)
    assert shown["keys"] == numbers
    assert [int(cells[0].split()[0]) for cells in shown["rows"]] == numbers


@pytest.mark.parametrize("code", CODES)
def test_every_row_has_a_cell_below_every_head(code):
    shown = table(RESULTS, "number", language(code))
    assert {len(cells) for cells in shown["rows"]} == {len(shown["head"])} == {6}
    failed = table(RESULTS[1:2], "number", language(code))
    assert {len(cells) for cells in failed["rows"]} == {len(failed["head"])}
    assert table([], "number", language(code)) is None
    assert all(language(code)(f"prompts.by_{name}") for name in ORDERS)


def test_the_table_says_how_many_differ_and_how_many_failed():
    assert "4 prompts; on 2 " in table(RESULTS, "number", ENGLISH)["sub"]
    assert "1 could not be completed" in table(RESULTS, "number", ENGLISH)["sub"]
    assert "could not" not in table(RESULTS[:1], "number", ENGLISH)["sub"]


def test_json_lines_are_the_rows_that_the_command_writes():
    assert [PromptRow.model_validate_json(line) for line in json_lines(RESULTS).splitlines()] == ROWS


def test_the_table_of_a_spreadsheet_holds_every_row_and_no_formula():
    read = list(csv.DictReader(io.StringIO(csv_file(RESULTS))))
    assert [row["number"] for row in read] == ["1", "2", "3", "4"]
    assert read[1]["prompt"] == "'=1+1"
    assert read[1]["error"] == "No."
    assert (read[0]["dola"], read[0]["first_difference"], read[2]["first_difference"]) == ("two", "5", "")
