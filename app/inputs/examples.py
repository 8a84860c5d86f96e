"""Prompts to start with, and what DoLa-static does to them with a model at its recorded settings."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.language import Language

Change = Literal["mended", "harmed", "right in both", "wrong in both"]


class Example(BaseModel):
    """A prompt, the answer that is right, and which lanes begin with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    answer: str = ""
    outcome: Change | None = None
    """None where it was not tried."""
    chat: bool | None = None
    """Whether it is for the chat template or to be completed; None if for either."""

    def label(self, words: Language) -> str:
        """The prompt with its outcome before it, if that is known."""
        if self.outcome is None:
            return self.prompt
        key = {"right in both": "right", "wrong in both": "wrong"}.get(self.outcome, self.outcome)
        return f"{words(f'outcome.{key}')}: {self.prompt}"


def outcome(baseline: str, dola: str, answer: str) -> Change:
    """What became of the answer, from the two completions; it counts at their beginning and as whole words."""
    plain, contrasted = (re.match(rf"{re.escape(answer)}(?!\w)", text.strip()) is not None for text in (baseline, dola))
    if plain != contrasted:
        return "harmed" if plain else "mended"
    return "right in both" if plain else "wrong in both"


NEUTRAL = (
    Example(prompt="The capital of Australia is"),
    Example(prompt="The largest planet in the solar system is"),
    Example(prompt="Water boils at"),
    Example(prompt="The first person to walk on the moon was"),
)
"""Prompts for a model that nobody has tried them on."""
