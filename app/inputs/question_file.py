"""A visitor's own questions: which files are accepted, and what is measured on them."""

import hashlib
from pathlib import Path
from typing import Literal

from app.inputs.trace_file import MAX_VALUES, most_values
from app.language import VisitorError
from dola_core.errors import DatasetError
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.layer_search.answers.scoring import ScoringConfig
from dola_core.layer_search.arguments import BETAS, BUCKETS
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.questions.dataset import Item, parse_items, text_of
from dola_core.layer_search.search_config import SearchConfig

UPLOADS = (".jsonl", ".csv", ".tsv", ".txt")
"""How the names of accepted files end. Spreadsheets save tables between tabs as .tsv or .txt."""
MOST, USUAL, TRIAL = 500, 200, 40
"""The most questions that are measured on the page, how many of a file if nothing else is asked for, and how many of
those that come with the page."""
SHIPPED_QUESTIONS = SHIPPED_MODEL / "validation.jsonl"
"""The questions that come with the page."""
SHIPPED_METRIC: Metric = "said"
"""The metric of the results that come with the page, so that a visitor's on the same questions can be compared."""
MAX_LINES = 20_000
"""The most lines of a file; larger sets are for the command `python -m dola_core.layer_search`."""
MOST_ANSWERS, LONGEST = 32, 4000
"""The most answers of a question, and characters of any of its texts, so that a small file cannot take much memory."""
ALPHAS = (0.05, 0.1, 0.2, 0.5)


class QuestionsError(VisitorError):
    """A file holds no questions that can be measured here."""


def questions_of(file: str | None, format: Literal["auto", "jsonl"] = "auto") -> tuple[list[Item], str]:
    """The questions of an uploaded file, and its SHA-256; raises `QuestionsError` if they cannot be measured here."""
    if not file:
        raise QuestionsError("error.unfit")
    path = Path(file)
    if not path.is_file():
        raise QuestionsError("error.unfit")
    content = path.read_bytes()
    try:
        text = text_of(path.name, content)
        _check_size(text, format)
        items = parse_items(path.name, text, format)
    except DatasetError as error:
        raise QuestionsError(f"file.{error.kind}", **error.values) from error
    for number, item in enumerate(items, start=1):
        texts = (*item.answers, *item.wrong)
        if len(texts) > MOST_ANSWERS:
            raise QuestionsError("search.many_answers", n=number, answers=len(texts), most=MOST_ANSWERS)
        if max(map(len, (*texts, item.prompt, item.domain, item.relation, item.entity))) > LONGEST:
            raise QuestionsError("search.too_long", n=number, most=f"{LONGEST:,}")
    return items, hashlib.sha256(content).hexdigest()


def _check_size(text: str, format: Literal["auto", "jsonl"]) -> None:
    """Raises `QuestionsError` for a file that would take long to read, whatever it holds."""
    is_json = format == "jsonl" or text.lstrip()[:1] in ("{", "[")
    values = most_values(text) if is_json else 0
    if text.count("\n") > 2 * MAX_LINES or values > MAX_VALUES:
        raise QuestionsError("search.too_large")


def limit_of(asked: object) -> int:
    """How many questions of a file to measure: what a visitor asked for, within bounds, or the usual number."""
    if not isinstance(asked, int | float) or isinstance(asked, bool) or asked != asked:
        return USUAL
    return int(min(max(asked, 1), MOST))


def search_config(items: list[Item], scoring: ScoringConfig) -> SearchConfig:
    """What is measured on a visitor's questions: multiple choice if each of them offers a wrong answer."""
    offered = all(item.wrong for item in items)
    several = any(len(item.answers) > 1 for item in items)
    metric: Metric = ("mc1" if several else "accuracy") if offered else "said"
    return SearchConfig(alphas=ALPHAS, buckets=BUCKETS, betas=BETAS, rule=scoring, metric=metric)
