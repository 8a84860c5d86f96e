"""A visitor's own questions: which files are taken, and what is measured on them."""

import hashlib
from pathlib import Path

from app.language import VisitorError
from dola_core.items import Item, ItemsError, read_items
from dola_core.scoring import Rule
from dola_core.search_result import Asked

MOST = 500
"""Questions that a visitor can have measured here."""
MOST_ANSWERS, LONGEST = 32, 4000
"""Answers of a question, and characters of any of its texts: a small file must not ask for much memory."""
ALPHAS = (0.05, 0.1, 0.2, 0.5)


class QuestionsError(VisitorError):
    """The file holds no questions that are measured here."""


def questions_of(file: str) -> tuple[list[Item], str]:
    """The questions of an uploaded file, a stranger's, and its hash; `QuestionsError` if they are not for this page."""
    path = Path(file)
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
    return items, hashlib.sha256(path.read_bytes()).hexdigest()


def asked_for(items: list[Item], rule: Rule) -> Asked:
    """What is measured on a visitor's questions: multiple choice where all of them offer something wrong."""
    offered = all(item.wrong for item in items)
    several = any(len(item.answers) > 1 for item in items)
    return Asked(alphas=ALPHAS, rule=rule, metric=("mc1" if several else "accuracy") if offered else "said")
