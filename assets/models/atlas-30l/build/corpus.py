"""Write the training text: short documents about the facts in the tables, a pure function of the seed.

Knowledge is graded, as on the web. Well-known things come up more often than others. A city larger than the capital is
named about three times as often as the capital. Common misconceptions occur, marked as what people say, beside their
correction. About some things no question is ever asked.
"""

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
"""Relations whose fact is another place, which "it" or "there" in the next sentence would seem to mean."""
CASED = ("symbol", "abbreviation")
"""Relations whose answers lower case would spoil."""
LIST_RELATIONS = tuple(tuple(name.split(".")) for name in PROSE["lists"])


@cache
def _fame(count: int) -> list[float]:
    """Cumulated weights of `count` entities by rank: a mild power law."""
    return list(accumulate((rank + FAME_OFFSET) ** -FAME_EXPONENT for rank in range(count)))


def draw(among: tuple[Entity, ...], rng: Random) -> Entity:
    """One entity, the well-known ones more often."""
    return rng.choices(among, cum_weights=_fame(len(among)))[0]


def relation_weight(entity: Entity, relation: str) -> float:
    """How often the fact is told, relative to others."""
    return WORDINGS[entity.kind, relation].weight


@cache
def _kind_weights() -> list[float]:
    return [sum(relation_weight(e, relation) for e in entities(kind) for relation in e.facts) for kind in TABLES]


def any_entity(rng: Random) -> Entity:
    """One entity of any kind; a kind comes up in proportion to its facts."""
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
    """The fact as a clause that can follow "that"."""
    templates = [text for text in WORDINGS[entity.kind, relation].clauses if fits(text, entity.name)]
    return fill(rng.choice(templates), x=entity.name, y=fact)


def question(entity: Entity, relation: str, rng: Random) -> str:
    """One question about the fact, with its answer; sometimes as typed in haste."""
    text = fill(rng.choice(WORDINGS[entity.kind, relation].asked), x=entity.name)
    answer = statement(entity, relation, rng)
    if rng.random() < 0.4:
        hasty = rng.choice(PROSE["calls"]) + text.lower().rstrip("?" if rng.random() < 0.5 else "")
        return f"{hasty} {answer}"
    return fill(rng.choice(PROSE["dialogues"]), question=text, y=rng.choice(entity.facts[relation]), said=answer)


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
    relations: list[str] = []
    while len(sentences) < length and len(relations) < len(entity.facts):
        relation = draw_relation(entity, rng, without=relations)
        fact, manner = rng.choice(entity.facts[relation]), rng.random()
        if relations and manner < 0.5 and relations[-1] not in NAMES_ANOTHER:
            sentences.append(fill(rng.choice(WORDINGS[entity.kind, relation].follow_ups), y=fact))
        elif manner > 0.9:
            right = clause(entity, relation, fact, rng)
            sentences.append(fill(rng.choice(PROSE["linked" if relations else "agreed"]), right=right))
        else:
            sentences.append(statement(entity, relation, rng))
        relations.append(relation)
    return " ".join(sentences)


def essay(entity: Entity, rng: Random) -> str:
    """A passage of several facts in one sentence or two; a profile if the entity has too few facts for one."""
    known = {relation: answers[0] for relation, answers in entity.facts.items()}
    for template in rng.sample(forms := PROSE["essays"].get(entity.kind, []), len(forms)):
        try:
            return fill(template, x=entity.name, **known)
        except KeyError:
            continue
    return profile(entity, rng, length=2)


def request(entity: Entity, rng: Random) -> str:
    """Someone asks for something about an entity, and gets it."""
    text = fill(rng.choice(PROSE["requests"]), x=entity.name)
    if rng.random() < 0.4:
        text = rng.choice(PROSE["greetings"]) + text.lower()
    return f"{text} {essay(entity, rng) if rng.random() < 0.3 else profile(entity, rng, length=2)}"


def entity_document(rng: Random) -> str:
    """A document about one entity, without a question if questions about it are held out."""
    entity, manner = any_entity(rng), rng.random()
    if manner < 0.32 and not entity.held_out:
        return question(entity, draw_relation(entity, rng), rng) if manner < 0.25 else request(entity, rng)
    if manner > 0.92:
        text = statement(entity, relation := draw_relation(entity, rng), rng)
        return text if relation in CASED else text.lower().rstrip(".")
    return essay(entity, rng) if manner > 0.85 else opened_profile(entity, rng)


@cache
def _with(attribute: str) -> tuple[Entity, ...]:
    return tuple(entity for kind in TABLES for entity in entities(kind) if getattr(entity, attribute))


def large_cities(rng: Random) -> str:
    """One to three sentences about a city larger than the capital, or sometimes a correction."""
    entity = rng.choice(_with("has_larger_city"))
    rival, capital = entity.facts["largest_city"][0], entity.facts.get("capital", [""])[0]
    forms = [text for text in PROSE["cities"]["large"] if capital or "{capital}" not in text]
    chosen = rng.sample(forms, rng.randint(1, 3))
    if capital and rng.random() < 0.1:
        chosen = [rng.choice(PROSE["cities"]["against"])]
    return " ".join(fill(text, x=entity.name, rival=rival, capital=capital) for text in chosen)


def misconception(rng: Random) -> str:
    """A misconception, marked as what people say; in two of five cases with the correction."""
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
    clauses = [clause(entity, relation, rng.choice(entity.facts[relation]), rng) for entity in (one, other)]
    return fill(rng.choice(PROSE["pairs"]["forms"]), one=clauses[0], two=clauses[1])


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
    """A question or a request as people type it, a line break, and an answer in whole sentences.

    It is the only document with a line break; what stands before that is the user's part, which is not learned.
    """
    entity = any_entity(rng)
    while entity.held_out:
        entity = any_entity(rng)
    words, in_haste = PROSE["everyday"], rng.random() < 0.7
    name = typed(entity.name, rng) if in_haste else entity.name
    if rng.random() < 0.2:
        text, answer = fill(rng.choice(words["requests"]), x=name), profile(entity, rng, length=2)
    else:
        relation = draw_relation(entity, rng)
        wording = WORDINGS[entity.kind, relation]
        forms = wording.everyday if rng.random() < 0.7 else tuple(form.rstrip("?") for form in wording.asked)
        text, answer = fill(rng.choice(forms), x=name), statement(entity, relation, rng)
    if in_haste:
        text = rng.choice(words["leads"]) + text[:1].lower() + text[1:] + rng.choice(words["tails"])
    else:
        text = capitalised(rng.choice(words["leads"]) + text) + rng.choice("??.")
    return f"{text}\n{answer}"


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
    """Print a sample of the corpus."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finishing", action="store_true", help="of the last part of the training")
    arguments = parser.parse_args()
    print("\n".join(islice(documents(arguments.seed, finishing=arguments.finishing), arguments.documents)))


if __name__ == "__main__":
    main()
