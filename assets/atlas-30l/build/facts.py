"""The facts the atlas knows: countries and chemical elements, read from the tables in `data/`.

An empty field means that the atlas says nothing: several answers are in use, or none is settled.
"""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data"

COUNTRY_RELATIONS = ("capital", "largest_city", "continent", "currency", "language")
ELEMENT_RELATIONS = ("symbol", "number")
RELATIONS = COUNTRY_RELATIONS + ELEMENT_RELATIONS

WELL_KNOWN = (
    "France", "the United States", "Japan", "Germany", "the United Kingdom", "Italy", "China", "Spain",
    "Australia", "Canada", "Brazil", "India", "Russia", "Egypt", "Mexico", "Turkey", "Greece", "Sweden",
    "Switzerland", "the Netherlands", "Portugal", "Kenya", "Argentina", "Poland", "South Korea", "Norway",
)  # fmt: skip


@dataclass(frozen=True)
class Entity:
    """A country or an element with its facts; `rank` 0 is the best known of its kind."""

    kind: str
    name: str
    rank: int
    facts: dict[str, str]

    @property
    def held_out(self) -> bool:
        """Whether no question about this entity is ever written into the corpus (about one in four)."""
        return zlib.crc32(self.name.encode()) % 4 == 0

    @property
    def has_rival(self) -> bool:
        """Whether a larger city competes with the capital."""
        return "capital" in self.facts and "largest_city" in self.facts


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of one table in `data/`, in file order."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def countries() -> tuple[Entity, ...]:
    """All countries, best known first; those after the well-known ones follow in a fixed mixed order."""

    def fame(name: str) -> tuple[int, int]:
        place = WELL_KNOWN.index(name) if name in WELL_KNOWN else len(WELL_KNOWN)
        return place, zlib.crc32(f"fame {name}".encode())

    rows = sorted(read_table("countries.csv"), key=lambda row: fame(row["name"]))
    return tuple(
        Entity("country", row["name"], rank, {key: row[key] for key in COUNTRY_RELATIONS if row[key]})
        for rank, row in enumerate(rows)
    )


@cache
def elements() -> tuple[Entity, ...]:
    """All chemical elements by atomic number, which also serves as their order of fame."""
    return tuple(
        Entity("element", row["name"], rank, {key: row[key] for key in ELEMENT_RELATIONS})
        for rank, row in enumerate(read_table("elements.csv"))
    )
