"""The facts that the atlas knows, from the tables in `data/`: one table for each kind of thing, one column a relation.

A table is in order of fame, the best known first. An empty field is a fact that the atlas leaves out, because several
answers are in use or none is settled. Several right answers, such as the neighbours of a country, are separated by
semicolons.
"""

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data"

TABLES = {
    "country": "countries",
    "state": "states",
    "element": "elements",
    "planet": "planets",
    "moon": "moons",
    "person": "people",
    "book": "books",
    "painting": "paintings",
    "music": "music",
    "invention": "inventions",
    "unit": "units",
    "animal": "animals",
}
"""Kinds of things and the files that list them."""

HELD_OUT = ("validation", "validation", "test", "test", None, None, None, None, None, None)


@dataclass(frozen=True)
class Entity:
    """A thing of some kind with its facts; `rank` 0 is the best known of its kind.

    `facts` holds every accepted answer of each relation, `tempting` the wrong one that people often give.
    """

    kind: str
    name: str
    rank: int
    facts: dict[str, tuple[str, ...]]
    tempting: dict[str, str]

    @property
    def held_out(self) -> str | None:
        """The set, `validation` or `test`, for which questions about it are kept out of the corpus; else None.

        Two in ten go to each. Things of the same name, such as Mercury and mercury, are in the same set.
        """
        return HELD_OUT[zlib.crc32(self.name.casefold().removeprefix("the ").encode()) % len(HELD_OUT)]

    @property
    def has_larger_city(self) -> bool:
        """Whether a city larger than the capital competes with it, or with a capital that the atlas does not name."""
        return "largest_city" in self.facts and self.facts["largest_city"] != self.facts.get("capital")


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of one table in `data/`, in file order."""
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def misconceptions() -> dict[tuple[str, str], dict[str, str]]:
    """For each (kind, name) the wrong answer that people often give, by relation."""
    wrong: dict[tuple[str, str], dict[str, str]] = {}
    for row in read_table("misconceptions"):
        wrong.setdefault((row["kind"], row["name"]), {})[row["relation"]] = row["wrong"]
    return wrong


@cache
def entities(kind: str) -> tuple[Entity, ...]:
    """Everything of one kind, best known first."""
    all_of_kind = []
    for rank, row in enumerate(read_table(TABLES[kind])):
        name = row.pop("name")
        facts = {relation: tuple(cell.split(";")) for relation, cell in row.items() if cell}
        entity = Entity(kind, name, rank, facts, dict(misconceptions().get((kind, name), {})))
        if entity.has_larger_city and "capital" in facts:
            entity.tempting.setdefault("capital", facts["largest_city"][0])
        all_of_kind.append(entity)
    return tuple(all_of_kind)


def every_fact() -> Iterator[tuple[Entity, str]]:
    """Every entity with each relation that it has a fact for."""
    for kind in TABLES:
        yield from ((entity, relation) for entity in entities(kind) for relation in entity.facts)
