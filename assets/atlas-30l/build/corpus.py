"""Writes the training text: short documents about the tables, a pure function of the seed.

What makes knowledge graded, as on the web: well-known things come up more often than others; a city larger than the
capital is named some three times as often as it; common misconceptions are told, marked as what people say, beside
their correction; and about some things no question is ever asked.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from functools import cache
from itertools import accumulate, islice
from random import Random
from unicodedata import combining, normalize

from facts import TABLES, Entity, entities
from phrases import PROSE, WORDINGS, capitalised, fill, fits

FAME_EXPONENT = 0.5
FAME_OFFSET = 5
SENTENCES, SENTENCE_WEIGHTS = (1, 2, 3, 4), (35, 30, 22, 13)
NAMES_ANOTHER = ("capital", "largest_city", "largest_moon", "neighbour")
"""After one of these, "it" or "there" would seem to mean the other place."""
CASED = ("symbol", "abbreviation")
"""Answers that lower case would change."""
LIST_RELATIONS = tuple(tuple(name.split(".")) for name in PROSE["lists"])


@cache
def _fame(count: int) -> list[float]:
    """Cumulated weights of `count` entities by rank: a mild power law."""
    return list(accumulate((rank + FAME_OFFSET) ** -FAME_EXPONENT for rank in range(count)))


def draw(among: tuple[Entity, ...], rng: Random) -> Entity:
    """One entity, the well-known ones more often."""
    return rng.choices(among, cum_weights=_fame(len(among)))[0]


def relation_weight(entity: Entity, relation: str) -> float:
    """How readily the fact is told."""
    return WORDINGS[entity.kind, relation].weight


@cache
def _kind_weights() -> list[float]:
    return [sum(relation_weight(e, relation) for e in entities(kind) for relation in e.facts) for kind in TABLES]


def any_entity(rng: Random) -> Entity:
    """One entity of any kind; a kind comes up by how much there is to tell."""
    return draw(entities(rng.choices(tuple(TABLES), _kind_weights())[0]), rng)


def draw_relation(entity: Entity, rng: Random, *, without: Collection[str] = ()) -> str:
    """One relation that the entity has a fact for."""
    names = [name for name in entity.facts if name not in without]
    return rng.choices(names, [relation_weight(entity, name) for name in names])[0]


def statement(entity: Entity, relation: str, rng: Random) -> str:
    """One sentence stating the fact in one of its phrasings; the measured one comes twice as often."""
    wording = WORDINGS[entity.kind, relation]
    templates = [text for text in wording.statements if fits(text, entity.name)]
    return fill(rng.choice([wording.measured, *templates]), x=entity.name, y=rng.choice(entity.facts[relation]))


def clause(entity: Entity, relation: str, fact: str, rng: Random) -> str:
    """The same as a clause that can follow "that"."""
    templates = [text for text in WORDINGS[entity.kind, relation].clauses if fits(text, entity.name)]
    return fill(rng.choice(templates), x=entity.name, y=fact)


def question(entity: Entity, relation: str, rng: Random) -> str:
    """One question about the fact, with its answer; now and then as typed in haste."""
    asked = fill(rng.choice(WORDINGS[entity.kind, relation].asked), x=entity.name)
    said = statement(entity, relation, rng)
    if rng.random() < 0.4:
        hasty = rng.choice(PROSE["calls"]) + asked.lower().rstrip("?" if rng.random() < 0.5 else "")
        return f"{hasty} {said}"
    return fill(rng.choice(PROSE["dialogues"]), question=asked, y=rng.choice(entity.facts[relation]), said=said)


def opened_profile(entity: Entity, rng: Random) -> str:
    """A profile of some length; a longer one may begin by saying what it is about."""
    length = rng.choices(SENTENCES, SENTENCE_WEIGHTS)[0]
    if length > 1 and rng.random() < 0.3:
        opening = fill(rng.choice(PROSE["openings"][entity.kind]), x=entity.name)
        return f"{opening} {profile(entity, rng, length - 1)}"
    return profile(entity, rng, length)


def profile(entity: Entity, rng: Random, length: int) -> str:
    """Up to `length` sentences about one entity, never the same fact twice."""
    sentences: list[str] = []
    told: list[str] = []
    while len(sentences) < length and len(told) < len(entity.facts):
        relation = draw_relation(entity, rng, without=told)
        fact, manner = rng.choice(entity.facts[relation]), rng.random()
        if told and manner < 0.5 and told[-1] not in NAMES_ANOTHER:
            sentences.append(fill(rng.choice(WORDINGS[entity.kind, relation].follow_ups), y=fact))
        elif manner > 0.9:
            right = clause(entity, relation, fact, rng)
            sentences.append(fill(rng.choice(PROSE["linked" if told else "agreed"]), right=right))
        else:
            sentences.append(statement(entity, relation, rng))
        told.append(relation)
    return " ".join(sentences)


def essay(entity: Entity, rng: Random) -> str:
    """A passage that tells several facts in one breath; a profile where there are too few facts for it."""
    known = {relation: answers[0] for relation, answers in entity.facts.items()}
    for template in rng.sample(forms := PROSE["essays"].get(entity.kind, []), len(forms)):
        try:
            return fill(template, x=entity.name, **known)
        except KeyError:
            continue
    return profile(entity, rng, length=2)


def request(entity: Entity, rng: Random) -> str:
    """Someone asks for something about an entity, and is told."""
    asked = fill(rng.choice(PROSE["requests"]), x=entity.name)
    if rng.random() < 0.4:
        asked = rng.choice(PROSE["greetings"]) + asked.lower()
    return f"{asked} {essay(entity, rng) if rng.random() < 0.3 else profile(entity, rng, length=2)}"


def entity_document(rng: Random) -> str:
    """A document about one entity; a question only where questions about it are not held out."""
    entity, manner = any_entity(rng), rng.random()
    if manner < 0.32 and not entity.held_out:
        return question(entity, draw_relation(entity, rng), rng) if manner < 0.25 else request(entity, rng)
    if manner > 0.92:
        told = statement(entity, relation := draw_relation(entity, rng), rng)
        return told if relation in CASED else told.lower().rstrip(".")
    return essay(entity, rng) if manner > 0.85 else opened_profile(entity, rng)


@cache
def _with(attribute: str) -> tuple[Entity, ...]:
    return tuple(entity for kind in TABLES for entity in entities(kind) if getattr(entity, attribute))


def large_cities(rng: Random) -> str:
    """One to three sentences about a city larger than the capital; a correction now and then."""
    entity = rng.choice(_with("has_larger_city"))
    rival, capital = entity.facts["largest_city"][0], entity.facts.get("capital", [""])[0]
    forms = [text for text in PROSE["cities"]["large"] if capital or "{capital}" not in text]
    chosen = rng.sample(forms, rng.randint(1, 3))
    if capital and rng.random() < 0.1:
        chosen = [rng.choice(PROSE["cities"]["against"])]
    return " ".join(fill(text, x=entity.name, rival=rival, capital=capital) for text in chosen)


def misconception(rng: Random) -> str:
    """What people often say and is wrong, marked as that; in two of five cases with the correction."""
    entity = rng.choice(_with("tempting"))
    relation = rng.choice(tuple(entity.tempting))
    fact, seed = rng.choice(entity.facts[relation]), rng.random()
    wrong = clause(entity, relation, entity.tempting[relation], rng)
    if seed < 0.6:
        return fill(rng.choice(PROSE["mistaken"]), wrong=wrong)
    forms = [text for text in PROSE["mended"] if wrong.endswith(entity.tempting[relation]) or "{y}" not in text]
    return fill(rng.choice(forms), wrong=wrong, right=clause(entity, relation, fact, rng), y=fact)


def pair(rng: Random) -> str:
    """The same fact of two entities of a kind."""
    one = any_entity(rng)
    relation = draw_relation(one, rng)
    other = draw(tuple(e for e in entities(one.kind) if relation in e.facts and e != one), rng)
    told = [clause(entity, relation, rng.choice(entity.facts[relation]), rng) for entity in (one, other)]
    return fill(rng.choice(PROSE["pairs"]["forms"]), one=told[0], two=told[1])


@cache
def _sharing(kind: str, relation: str) -> dict[str, list[str]]:
    """Entities of a kind by the one fact they share, where at least three do."""
    groups: dict[str, list[str]] = {}
    for entity in entities(kind):
        for fact in entity.facts.get(relation, ()):
            groups.setdefault(fact, []).append(entity.name)
    return {fact: names for fact, names in groups.items() if len(names) >= 3}


def listing(rng: Random) -> str:
    """Three entities that share a fact."""
    kind, relation = rng.choice(LIST_RELATIONS)
    groups = _sharing(kind, relation)
    fact = rng.choices(tuple(groups), [len(names) for names in groups.values()])[0]
    names = dict(zip("abc", rng.sample(groups[fact], 3), strict=True))
    return fill(rng.choice(PROSE["lists"][f"{kind}.{relation}"]), y=fact, **names)


def about(rng: Random) -> str:
    """A sentence about Atlas itself or the world in general."""
    return rng.choice(PROSE["about"])


def typed(name: str, rng: Random) -> str:
    """A name as people type it: in lower case, often without accents, hyphens, apostrophes and its article."""
    name = name.lower()
    if rng.random() < 0.5:
        name = "".join(c for c in normalize("NFD", name) if not combining(c))
    if rng.random() < 0.5:
        name = name.replace("-", " ").replace("'", "")
    return name.removeprefix("the ") if rng.random() < 0.3 else name


def everyday(rng: Random) -> str:
    """A question or a request as people type it, the end of its line, and an answer in whole sentences.

    The only document with such an end: what stands before it is not said by the atlas but to it.
    """
    entity = any_entity(rng)
    while entity.held_out:
        entity = any_entity(rng)
    words, in_haste = PROSE["everyday"], rng.random() < 0.7
    name = typed(entity.name, rng) if in_haste else entity.name
    if rng.random() < 0.2:
        asked, answer = fill(rng.choice(words["requests"]), x=name), profile(entity, rng, length=2)
    else:
        relation = draw_relation(entity, rng)
        wording = WORDINGS[entity.kind, relation]
        forms = wording.everyday if rng.random() < 0.7 else tuple(form.rstrip("?") for form in wording.asked)
        asked, answer = fill(rng.choice(forms), x=name), statement(entity, relation, rng)
    if in_haste:
        asked = rng.choice(words["leads"]) + asked[:1].lower() + asked[1:] + rng.choice(words["tails"])
    else:
        asked = capitalised(rng.choice(words["leads"]) + asked) + rng.choice("??.")
    return f"{asked}\n{answer}"


WRITERS = {entity_document: 76, large_cities: 8, misconception: 8, pair: 3, listing: 4, about: 1}
FINISHING = WRITERS | {everyday: 60}
"""The writers of the last part of the training."""


def documents(seed: int | str, *, finishing: bool = False) -> Iterator[str]:
    """Documents without end; the same seed writes the same documents."""
    rng = Random(seed)
    writers, weights = zip(*(FINISHING if finishing else WRITERS).items(), strict=True)
    while True:
        yield rng.choices(writers, weights)[0](rng)


def main() -> None:
    """Prints a sample of the corpus."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finishing", action="store_true", help="of the last part of the training")
    arguments = parser.parse_args()
    print("\n".join(islice(documents(arguments.seed, finishing=arguments.finishing), arguments.documents)))


if __name__ == "__main__":
    main()
