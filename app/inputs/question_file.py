"""A visitor's own questions: which files are taken, and what is measured on them."""

import hashlib
from pathlib import Path

from app.inputs.trace_file import MAX_VALUES, most_values
from app.language import VisitorError
from dola_core.layer_search.dataset import Item, ItemsError, read_items
from dola_core.layer_search.result import Asked
from dola_core.layer_search.scoring import Rule

MOST = 500
"""Questions that a visitor can have measured here."""
MAX_LINES = 20_000
"""Of a file; whoever has more questions has the command."""
MOST_ANSWERS, LONGEST = 32, 4000
"""Answers of a question, and characters of any of its texts: a small file must not ask for much memory."""
ALPHAS = (0.05, 0.1, 0.2, 0.5)


class QuestionsError(VisitorError):
    """The file holds no questions that are measured here."""


def questions_of(file: str | None) -> tuple[list[Item], str]:
    """The questions of an uploaded file, a stranger's, and its hash; `QuestionsError` if they are not for this page."""
    if not file:
        raise QuestionsError("error.unfit")
    path = Path(file)
    content = path.read_bytes() if path.is_file() else b""
    _check_size(content.decode("utf-8-sig", "replace"))
    try:
        items = read_items(path)
    except ItemsError as error:
        raise QuestionsError(f"file.{error.kind}", **error.values) from error
    for number, item in enumerate(items[:MOST], start=1):
        texts = (*item.answers, *item.wrong)
        if len(texts) > MOST_ANSWERS:
            raise QuestionsError("search.many_answers", n=number, answers=len(texts), most=MOST_ANSWERS)
        if max(map(len, (*texts, item.prompt, item.domain, item.relation, item.entity))) > LONGEST:
            raise QuestionsError("search.too_long", n=number, most=f"{LONGEST:,}")
    return items, hashlib.sha256(content).hexdigest()


def _check_size(text: str) -> None:
    """Raises `QuestionsError` for a file that takes long to read, whatever it turns out to be."""
    values = most_values(text) if text.lstrip()[:1] == "{" else 0  # of JSON Lines
    if text.count("\n") + text.count("\r") > 2 * MAX_LINES or values > MAX_VALUES:
        raise QuestionsError("search.too_large")


def asked_for(items: list[Item], rule: Rule) -> Asked:
    """What is measured on a visitor's questions: multiple choice where all of them offer something wrong."""
    offered = all(item.wrong for item in items)
    several = any(len(item.answers) > 1 for item in items)
    return Asked(alphas=ALPHAS, rule=rule, metric=("mc1" if several else "accuracy") if offered else "said")
