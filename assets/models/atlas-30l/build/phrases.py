"""How the atlas states each fact: the wordings in `data/phrases.toml` and the prose in `data/prose.toml`."""

import tomllib
from dataclasses import dataclass
from typing import Any

from facts import DATA


@dataclass(frozen=True)
class Wording:
    """The wordings of one relation; `{x}` is the entity, `{y}` the fact, and `{X}`, `{Y}` begin with a capital.

    The corpus uses `statements`, `follow_ups` and `asked`, in its last part `everyday`, and never `unasked` and
    `reworded`.
    """

    domain: str
    weight: float
    statements: tuple[str, ...]
    follow_ups: tuple[str, ...]
    asked: tuple[str, ...]
    everyday: tuple[str, ...]
    unasked: tuple[str, ...]
    reworded: tuple[str, ...]

    @property
    def ending(self) -> tuple[str, ...]:
        """The statements that end with the fact; without it they are prompts that ask for it."""
        return tuple(text for text in self.statements if text.endswith(" {y}."))

    @property
    def measured(self) -> str:
        """The first of the `ending` statements, which the corpus uses twice as often as any other."""
        return self.ending[0]

    @property
    def clauses(self) -> tuple[str, ...]:
        """The statements that can follow "that", in lower case and without their full stop."""
        whole = [text for text in self.statements if ":" not in text and ", a {y}," not in text]
        return tuple((text[:2].lower() + text[2:]).rstrip(".") for text in whole)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / name).read_text(encoding="utf-8"))


def _wording(section: dict[str, Any]) -> Wording:
    return Wording(**{key: tuple(value) if isinstance(value, list) else value for key, value in section.items()})


WORDINGS: dict[tuple[str, str], Wording] = {
    (kind, relation): _wording(section)
    for kind, relations in _read("phrases.toml").items()
    for relation, section in relations.items()
}
"""The wordings of every relation, by kind and relation."""

PROSE: dict[str, Any] = _read("prose.toml")


def capitalised(text: str) -> str:
    """`text` with a capital first letter and the rest unchanged."""
    return text[:1].upper() + text[1:]


def fill(template: str, **words: str) -> str:
    """The template with its words filled in; each word also under its capitalised name."""
    return template.format(**words, **{capitalised(key): capitalised(word) for key, word in words.items()})


def fits(template: str, name: str) -> bool:
    """Whether the template can be filled with this name; a name that ends in s takes no possessive."""
    return "'s" not in template or not name.endswith("s")
