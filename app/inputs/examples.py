"""Prompts to start with, and what DoLa-static does to them with the shipped model at its recorded settings."""

import re
from dataclasses import dataclass
from typing import Literal

from app.language import Language

Change = Literal["mended", "harmed", "right in both", "wrong in both"]


@dataclass(frozen=True)
class Example:
    """A prompt, the answer that is right, and which lanes begin with it."""

    prompt: str
    answer: str
    outcome: Change

    def label(self, words: Language) -> str:
        """The prompt with its outcome before it."""
        key = {"right in both": "right", "wrong in both": "wrong"}.get(self.outcome, self.outcome)
        return f"{words(f'outcome.{key}')}: {self.prompt}"


def outcome(baseline: str, dola: str, answer: str) -> Change:
    """What became of the answer, from the two completions; it counts at their beginning and as whole words."""
    plain, contrasted = (re.match(rf"{re.escape(answer)}(?!\w)", text.strip()) is not None for text in (baseline, dola))
    if plain != contrasted:
        return "harmed" if plain else "mended"
    return "right in both" if plain else "wrong in both"


EXAMPLES = (
    Example("Question: How many protons does silver have? Answer:", "47", "mended"),
    Example("The city with the most people in Latvia is", "Riga", "mended"),
    Example("Question: If I travel to Samoa, what is the money called? Answer:", "tala", "harmed"),
    Example(
        "Question: Of all the cities in North Carolina, what is the biggest one called? Answer:", "Charlotte", "harmed"
    ),
    Example("The capital of Japan is", "Tokyo", "right in both"),
    Example("Question: What is the capital of China? Answer:", "Beijing", "right in both"),
)
