"""The languages of the page: every word of it stands in one file a language, `assets/words/<code>.toml`."""

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
    """One language; called with a key, such as `"chart.head"`, and what to fill in, it gives the words."""

    code: str
    words: Mapping[str, str]

    def __call__(self, key: str, /, **values: object) -> str:
        """The words of a key with the values filled in; as they stand in the file if there are none."""
        return self.words[key].format(**values) if values else self.words[key]

    def section(self, name: str) -> dict[str, str]:
        """The words of one section by their names, for the browser, which fills them in itself."""
        return {key.partition(".")[2]: text for key, text in self.words.items() if key.startswith(f"{name}.")}

    @property
    def guide(self) -> str:
        """The text of the tab that explains the page, as Markdown."""
        return (WORDS / f"how.{self.code}.md").read_text(encoding="utf-8")

    def __hash__(self) -> int:
        return hash(self.code)


@cache
def language(code: str) -> Language:
    """The language of one of `CODES`."""
    sections = tomllib.loads((WORDS / f"{code}.toml").read_text(encoding="utf-8"))
    return Language(code, {f"{name}.{key}": text for name, keys in sections.items() for key, text in keys.items()})


def preferred(accepted: str, asked: str = "") -> Language:
    """The language asked for, else the first of an Accept-Language header, if it is one of ours; else English."""
    if asked in CODES:
        return language(asked)
    ranked = []
    for place, part in enumerate(accepted.split(",")):
        name, _, weight = part.strip().partition(";q=")
        worth = float(weight) if re.fullmatch(r"[01](\.\d+)?", weight) else 1.0
        code = name[:2].lower()
        if code in CODES and worth > 0:
            ranked.append((-worth, place, code))
    return language(min(ranked)[2] if ranked else "en")


ENGLISH = language("en")


class VisitorError(ValueError):
    """Something a visitor did that cannot be; `said` tells them in their language, `str` in English."""

    def __init__(self, key: str, /, **values: object) -> None:
        super().__init__(ENGLISH(key, **values))
        self.key, self.values = key, values

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by what it was made of, for a run in another process."""
        return partial(type(self), self.key, **self.values), ()

    def said(self, words: Language) -> str:
        """One sentence that says what to do."""
        return words(self.key, **self.values)
