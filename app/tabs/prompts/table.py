"""What came of many prompts, as the table of the page and as files."""

from collections.abc import Callable, Sequence
from typing import Any

from app.jobs.many_prompts import PromptResult
from app.language import Language
from dola_core.display import cut, format_number
from dola_core.files.csv_text import Cell, csv_text
from dola_core.lanes import lane_kinds
from dola_core.many_prompts.rows import PromptRow

LONGEST_PROMPT, LONGEST_TEXT = 120, 240
"""Characters of a cell on the page; the files and the comparison have all of them."""
USUAL_NAMES = {lane.model_fields["name"].default: kind for kind, lane in lane_kinds().items()}
"""{usual name of a lane: its kind}"""
ORDERS: dict[str, Callable[[PromptRow], tuple[float, ...]]] = {
    "number": lambda row: (row.number,),
    "first": lambda row: (row.first_difference or float("inf"), row.number),
    "differing": lambda row: (-row.differing, row.number),
    "divergence": lambda row: (-(row.mean_divergence or 0.0), row.number),
}
"""{name: sorting key}: as they were given, the earliest difference first, the most differing choices, the largest
divergence."""


def in_order(results: Sequence[PromptResult], order: object) -> list[PromptResult]:
    """The results in the order of that name, or as they were given; prompts that could not be run come last."""
    key = ORDERS.get(order, ORDERS["number"]) if isinstance(order, str) else ORDERS["number"]
    is_given = key is ORDERS["number"]
    return sorted(results, key=lambda result: (bool(result.row.error) and not is_given, key(result.row)))


def table(results: Sequence[PromptResult], order: object, words: Language) -> dict[str, Any] | None:
    """The value of the table; None if there is nothing to show."""
    if not results:
        return None
    rows = [result.row for result in in_order(results, order)]
    lanes = list(dict.fromkeys(name for row in rows for name in row.texts))
    differ, failed = sum(row.differing > 0 for row in rows), sum(bool(row.error) for row in rows)
    sub = words("prompts.sub", n=len(rows), differ=differ)
    return {
        "title": words("prompts.table"),
        "sub": sub + (" " + words("prompts.sub_failed", n=failed) if failed else ""),
        "head": [
            words("prompts.prompt"),
            words("prompts.first"),
            words("prompts.differing"),
            words("prompts.divergence"),
            *([_lane_name(name, words) for name in lanes] or [words("prompts.error")]),
        ],
        "rows": [_cells(row, lanes) for row in rows],
        "keys": [row.number for row in rows],
        "open": True,
    }


def _lane_name(name: str, words: Language) -> str:
    """What the lane of a row is called on the page: in the visitor's language where it has the usual name."""
    kind = USUAL_NAMES.get(name)
    return cut(name if kind is None else words.words.get(f"lane.{kind}", name), LONGEST_PROMPT)


def _cells(row: PromptRow, lanes: Sequence[str]) -> list[str]:
    prompt = f"{row.number:,} · {cut(' '.join(row.prompt.split()), LONGEST_PROMPT)}"
    if row.error:
        return [prompt, "", "", "", row.error, *([""] * (len(lanes) - 1))]
    first = "–" if row.first_difference is None else f"{row.first_difference:,}"
    divergence = "–" if row.mean_divergence is None else format_number(row.mean_divergence)
    texts = (cut(row.texts.get(name, ""), LONGEST_TEXT) for name in lanes)
    return [prompt, first, f"{row.differing:,}", divergence, *texts]


def json_lines(results: Sequence[PromptResult]) -> str:
    """One row a line, as `dola compare-file` writes them."""
    return "".join(f"{result.row.model_dump_json()}\n" for result in results)


def csv_file(results: Sequence[PromptResult]) -> str:
    """The same as a table: a column for each lane's text and why it ended."""
    rows = [result.row for result in results]
    lanes = list(dict.fromkeys(name for row in rows for name in row.texts))
    numbers = ("number", "prompt", "steps", "first_difference", "differing", "mean_divergence")
    columns = (*numbers, *lanes, *(f"{name}: end" for name in lanes), "error")

    def cells(row: PromptRow) -> list[Cell]:
        own: list[Cell] = [getattr(row, name) for name in numbers]
        texts: list[Cell] = [row.texts.get(name) for name in lanes]
        return [*own, *texts, *(row.ends.get(name) for name in lanes), row.error or None]

    return csv_text(columns, map(cells, rows))
