"""Writes the training text: short documents about countries and elements, a pure function of the seed.

Well-known entities are drawn more often. Where a larger city competes with the capital, its fact
is drawn three times as readily, so that it is a tempting wrong answer. Questions about held-out entities are
never written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, islice
from random import Random

import phrases
from facts import Entity, countries, elements
from phrases import fill

FAME_EXPONENT = 0.5
FAME_OFFSET = 5
RELATION_WEIGHTS = {
    "capital": 3,
    "largest_city": 9,
    "continent": 1,
    "currency": 2,
    "language": 2,
    "symbol": 3,
    "number": 2,
}
SENTENCES, SENTENCE_WEIGHTS = (1, 2, 3, 4), (45, 25, 18, 12)


@cache
def _fame_weights(count: int) -> list[float]:
    """Cumulated weights of `count` entities by rank: a mild power law."""
    return list(accumulate((rank + FAME_OFFSET) ** -FAME_EXPONENT for rank in range(count)))


def draw(entities: tuple[Entity, ...], rng: Random) -> Entity:
    """One entity, the well-known ones more often."""
    return rng.choices(entities, cum_weights=_fame_weights(len(entities)))[0]


def draw_relation(entity: Entity, rng: Random, *, without: set[str] | None = None) -> str:
    """One relation that the entity has a fact for."""
    names = [name for name in entity.facts if name not in (without or ())]
    return rng.choices(names, [RELATION_WEIGHTS[name] for name in names])[0]


def statement(entity: Entity, relation: str, rng: Random) -> str:
    """One sentence stating the fact in one of its phrasings; the first, plainest, comes twice as often."""
    templates = [text for text in phrases.STATEMENTS[relation] if phrases.fits(text, entity.name)]
    return fill(rng.choice([templates[0], *templates]), x=entity.name, y=entity.facts[relation])


def question(entity: Entity, relation: str, rng: Random) -> str:
    """One question about the fact, with its answer."""
    asked = fill(rng.choice(phrases.QUESTIONS[relation]), x=entity.name)
    return fill(rng.choice(phrases.DIALOGUES), question=asked, y=entity.facts[relation])


def profile(entity: Entity, rng: Random) -> str:
    """One to four sentences about one entity, never the same fact twice."""
    length = rng.choices(SENTENCES, SENTENCE_WEIGHTS)[0]
    sentences = []
    if length > 1 and rng.random() < 0.3:
        sentences.append(fill(rng.choice(phrases.OPENINGS[entity.kind]), x=entity.name))
    told: set[str] = set()
    while len(sentences) < length and len(told) < len(entity.facts):
        relation = draw_relation(entity, rng, without=told)
        told.add(relation)
        if sentences and rng.random() < 0.5:
            sentences.append(fill(rng.choice(phrases.FOLLOW_UPS[relation]), y=entity.facts[relation]))
        else:
            sentences.append(statement(entity, relation, rng))
    return " ".join(sentences)


def rivals(rng: Random) -> str:
    """A sentence that sets a capital against the larger city."""
    entity = draw(tuple(country for country in countries() if country.has_rival), rng)
    words = {"x": entity.name, "capital": entity.facts["capital"], "rival": entity.facts["largest_city"]}
    return fill(rng.choice(phrases.RIVALS), **words)


def pair(rng: Random) -> str:
    """A sentence about the capitals of two countries."""
    known = tuple(country for country in countries() if "capital" in country.facts)
    one = draw(known, rng)
    other = draw(tuple(country for country in known if country != one), rng)
    words = {"x": one.name, "capital": one.facts["capital"]}
    return fill(rng.choice(phrases.PAIRS), **words, other=other.name, other_capital=other.facts["capital"])


def listing(rng: Random) -> str:
    """A sentence naming three countries of one continent."""
    continent = draw(countries(), rng).facts["continent"]
    names = [country.name for country in countries() if country.facts["continent"] == continent]
    return fill(rng.choice(phrases.LISTS), **dict(zip("abc", rng.sample(names, 3), strict=True)), continent=continent)


def neighbours(rng: Random) -> str:
    """A sentence about two elements that follow each other."""
    element = draw(elements()[1:], rng)
    before = elements()[element.rank - 1]
    return fill(rng.choice(phrases.NEIGHBOURS), x=element.name, before=before.name)


def entity_document(entity: Entity, rng: Random) -> str:
    """A profile, or a question where questions about the entity are not held out."""
    if rng.random() < 0.25 and not entity.held_out:
        return question(entity, draw_relation(entity, rng), rng)
    return profile(entity, rng)


WRITERS = {
    lambda rng: entity_document(draw(countries(), rng), rng): 66,
    lambda rng: entity_document(draw(elements(), rng), rng): 22,
    rivals: 4,
    pair: 3,
    listing: 2,
    neighbours: 2,
    lambda rng: rng.choice(phrases.ABOUT): 1,
}


def documents(seed: int | str) -> Iterator[str]:
    """Documents without end; the same seed writes the same documents."""
    rng = Random(seed)
    writers, weights = list(WRITERS), list(WRITERS.values())
    while True:
        yield rng.choices(writers, weights)[0](rng)


def main() -> None:
    """Prints a sample of the corpus."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("\n".join(islice(documents(arguments.seed), arguments.documents)))


if __name__ == "__main__":
    main()
