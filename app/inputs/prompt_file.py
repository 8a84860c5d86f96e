"""Many prompts that a visitor brings, written into a box or in a file: which are taken, and how many."""

import hashlib
from pathlib import Path

from app.inputs.trace_file import MAX_VALUES, most_values
from app.language import VisitorError
from dola_core.errors import DatasetError
from dola_core.layer_search.questions.dataset import text_of
from dola_core.many_prompts.prompts import JSON_LINES, PromptFileError, parse_prompts
from dola_core.models.loaded_model import well_formed

MOST, LONGEST = 100, 20_000
"""The most prompts that are completed on the page, and characters of each; more are for the command."""
MAX_CHARACTERS = MOST * LONGEST


class PromptsError(VisitorError):
    """There are no prompts that can be completed here."""


def prompts_of_text(text: object) -> list[str]:
    """The prompts in the box, one a line; raises `PromptsError`."""
    if not isinstance(text, str) or not text.strip():
        raise PromptsError("prompts.none")
    if len(text) > MAX_CHARACTERS:
        raise PromptsError("prompts.too_large")
    return _checked(parse_prompts("", text.replace("\r\n", "\n").replace("\r", "\n")))


def prompts_of_file(file: object) -> list[str]:
    """The prompts of an uploaded file; raises `PromptsError` if they cannot be completed here."""
    path = Path(file) if isinstance(file, str) and file else None
    if path is None or not path.is_file():
        raise PromptsError("error.unfit")
    try:
        text = text_of(path.name, path.read_bytes())
        is_json = path.suffix.lower() in JSON_LINES
        if len(text) > MAX_CHARACTERS or (is_json and most_values(text) > MAX_VALUES):
            raise PromptsError("prompts.too_large")
        return _checked(parse_prompts(path.name, text))
    except DatasetError as error:
        raise PromptsError(f"file.{error.kind}", **error.values) from error
    except PromptFileError as error:
        raise PromptsError(f"file.{error.kind}", **error.values) from error


def _checked(prompts: list[str]) -> list[str]:
    if len(prompts) > MOST:
        raise PromptsError("prompts.too_many", n=f"{len(prompts):,}", most=MOST)
    for number, prompt in enumerate(prompts, start=1):
        if len(prompt) > LONGEST:
            raise PromptsError("prompts.too_long", n=number, most=f"{LONGEST:,}")
    return [well_formed(prompt) for prompt in prompts]


def digest(prompts: list[str]) -> str:
    """Eight hex digits by which the prompts of a download are told from others."""
    return hashlib.sha256("\0".join(prompts).encode()).hexdigest()[:8]
