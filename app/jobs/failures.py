"""What a visitor is told when a run fails: one sentence, and advice only where it is known to help."""

import logging
import re
from collections.abc import Callable
from typing import Literal

from app.jobs.request import prompt_refused
from app.language import Language, VisitorError
from dola_core.errors import LoadError, PromptError, QuestionPromptError, QuestionTooLongError, UnsupportedModelError
from dola_core.models.devices import out_of_memory

LOG = logging.getLogger(__name__)
Task = Literal["comparison", "search", "what-if"]
FAILED: dict[Task, str] = {
    "comparison": "error.failed", "search": "search.failed", "what-if": "error.what_if_failed",
}  # fmt: skip
OUT_OF_MEMORY: dict[Task, str] = {"comparison": "error.out_of_memory", "search": "search.out_of_memory"}
MAX_MESSAGE = 120
"""Characters of an error's own message that a visitor sees."""
HIDDEN = "…"
PATHS = re.compile(
    r"""(?P<url>https?://\S+)"""
    r"""|(?P<quote>['"`])(?:file://|~|[A-Za-z]:)?[\\/][^'"`]*(?P=quote)"""  # in quotes a path may hold white space
    r"""|(?:file://|(?<![\w.<\\/])(?:~|[A-Za-z]:)?)[\\/](?!\s)[^\s'"`,;()]*"""
)
"""Absolute paths, which tell a stranger how the host is set up, and addresses of the web, which do not."""
ADDRESSES = re.compile(r"0x[0-9a-fA-F]{6,}")


def failure_sentence(error: Exception, task: Task, release: Callable[[], None], words: Language) -> str:
    """Why a run ended in `error`, for its visitor.

    What nobody expected is logged with its traceback. If memory ran out, `release` gives back what can be.
    """
    if isinstance(error, VisitorError):
        return error.message(words)
    if isinstance(error, PromptError):
        return prompt_refused(error).message(words)
    if isinstance(error, QuestionPromptError):
        sentence = prompt_refused(error.reason).message(words)
        return words("search.bad_question", n=error.number, sentence=sentence)
    if isinstance(error, QuestionTooLongError):
        return words("search.too_many_tokens", n=error.number, size=error.size, most=error.most)
    if isinstance(error, LoadError):
        LOG.warning("a model could not be loaded: %s", error)
        return words("error.cannot_load", reason=_public(str(error), most=3 * MAX_MESSAGE))
    if isinstance(error, UnsupportedModelError):
        LOG.warning("a %s was refused: %s", task, error)
        return words("error.unsupported", reason=_public(str(error), most=3 * MAX_MESSAGE))
    if out_of_memory(error) and task in OUT_OF_MEMORY:
        LOG.warning("a %s ran out of memory: %s", task, error)
        release()
        return words(OUT_OF_MEMORY[task])
    LOG.error("a %s failed", task, exc_info=error)
    return words(FAILED[task], what=describe(error))


def describe(error: BaseException) -> str:
    """The kind of an error and the first line of its message, as far as a stranger may see it."""
    name = type(error).__name__[:MAX_MESSAGE]
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    message = _public(first, most=MAX_MESSAGE)
    return f"{name}: {message}" if message else name


def _public(text: str, *, most: int) -> str:
    """One line of a text without paths of the host, unprintable characters, and a full stop at its end."""
    text = ADDRESSES.sub(HIDDEN, PATHS.sub(lambda found: found["url"] or HIDDEN, text))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split()).rstrip(".")
    return text if len(text) <= most else f"{text[:most]}{HIDDEN}"
