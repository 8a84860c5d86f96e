"""The languages of the page: all its words are in `assets/words/<code>.toml`, one file per language."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from app.paths import WORDS

CODES = ("en", "zh")


@dataclass(frozen=True)
class Language:
    """The words of one language by key, such as `"chart.candidates"`. Call it with a key and placeholder values."""

    code: str
    words: Mapping[str, str]

    def __call__(self, key: str, /, **values: object) -> str:
        """The words of `key` with `values` in their placeholders; without values, the words as they are in the file."""
        return self.words[key].format(**values) if values else self.words[key]

    def section(self, name: str) -> dict[str, str]:
        """The words of one section by name, for the browser, which fills in placeholders itself."""
        return {key.partition(".")[2]: text for key, text in self.words.items() if key.startswith(f"{name}.")}

    @property
    def guide(self) -> str:
        """The text of the tab that explains the page, as Markdown."""
        return (WORDS / f"how.{self.code}.md").read_text(encoding="utf-8")

    def __hash__(self) -> int:
        return hash(self.code)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the code: another process has the words itself."""
        return language, (self.code,)


@cache
def language(code: str) -> Language:
    """The language of one of `CODES`."""
    sections = tomllib.loads((WORDS / f"{code}.toml").read_text(encoding="utf-8"))
    return Language(code, {f"{name}.{key}": text for name, keys in sections.items() for key, text in keys.items()})


def preferred(accepted: str, asked: str = "") -> Language:
    """The language `asked` for, else the most preferred known one of an Accept-Language header, else English."""
    if asked in CODES:
        return language(asked)
    ranked = []
    for position, part in enumerate(accepted.split(",")):
        name, _, weight = part.strip().partition(";q=")
        quality = float(weight) if re.fullmatch(r"[01](\.\d+)?", weight) else 1.0
        code = name[:2].lower()
        if code in CODES and quality > 0:
            ranked.append((-quality, position, code))
    return language(min(ranked)[2] if ranked else "en")


ENGLISH = language("en")


class VisitorError(ValueError):
    """A mistake of a visitor. `message(words)` explains it in the visitor's language, `str` in English."""

    def __init__(self, key: str, /, **values: object) -> None:
        super().__init__(ENGLISH(key, **values))
        self.key, self.values = key, values

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the constructor's arguments, so that the error can cross from a run in another process."""
        return partial(type(self), self.key, **self.values), ()

    def message(self, words: Language) -> str:
        """One sentence that tells the visitor what to do."""
        return words(self.key, **self.values)
