"""What a visitor can try with one click: recorded runs, which open at once, and prompts, which are run."""

from dataclasses import dataclass
from typing import Any

from app.inputs.examples import Example
from app.inputs.known_model import KnownModel, RecordedTrace
from app.language import Language
from dola_core.display import cut

FEW = 4
"""Chips that are shown at first; "more" is the last on their line."""
BY_PROMPT = ("mended", "harmed")
"""The recorded runs that are named by their prompt and its outcome, not by what they show."""
LONGEST = 30
"""Characters of a prompt on a chip."""


@dataclass(frozen=True)
class Chip:
    """One thing to try."""

    recorded: RecordedTrace | None = None
    example: Example | None = None
    """A prompt, if nothing is recorded of it."""

    def drawn(self, words: Language) -> dict[str, Any]:
        """The chip as data for the browser."""
        if self.example is not None:
            outcome = self.example.outcome
            return {
                "text": _shortened(self.example.prompt),
                "hint": words("chips.run"),
                "outcome": words(f"outcome.{_OUTCOMES.get(outcome, outcome)}") if outcome else "",
                "outcome_kind": outcome or "",
                "recorded": False,
            }
        assert self.recorded is not None  # a chip is one of the two
        title = self.recorded.title
        named = title not in BY_PROMPT
        return {
            "text": words(f"recorded.{title}") if named else _shortened(self.recorded.read().prompt),
            "hint": words("chips.recorded"),
            "outcome": "" if named else words(f"outcome.{title}"),
            "outcome_kind": "" if named else title,
            "recorded": True,
        }


_OUTCOMES = {"right in both": "right", "wrong in both": "wrong"}


def chips_of(known: KnownModel) -> list[Chip]:
    """What can be tried with a model: its recorded runs, then the prompts that none of them is of."""
    recorded = {one.title: one for one in known.recorded}
    first = [title for title in ("mended", "harmed", "sampled", "one-token", "endless") if title in recorded]
    prompts = {one.read().prompt for one in known.recorded}
    return [
        *(Chip(recorded=recorded[title]) for title in first),
        *(Chip(example=example) for example in known.examples if example.prompt not in prompts),
    ]


def drawn_chips(known: KnownModel, words: Language) -> dict[str, Any]:
    """All chips as data for the browser."""
    return {
        "lead": words("chips.lead"),
        "more": words("chips.more"),
        "fewer": words("chips.fewer"),
        "few": FEW,
        "chips": [chip.drawn(words) for chip in chips_of(known)],
    }


def _shortened(prompt: str) -> str:
    """A prompt that fits a chip."""
    return cut(prompt, LONGEST)
