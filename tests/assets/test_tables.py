"""The tables of facts: nothing twice, nothing that contradicts itself, and things kept apart by set."""

import re
from collections import Counter

import facts
import probes
import pytest

KINDS = (
    "country", "state", "element", "planet", "moon", "person",
    "book", "painting", "music", "invention", "unit", "animal",
)  # fmt: skip
ONE_EACH = {
    "country": ("capital",),
    "state": ("capital", "largest_city", "abbreviation"),
    "element": ("symbol", "number"),
    "planet": ("position", "largest_moon"),
}
"""Relations in which no two things share an answer."""
NOT_ONE_EACH = {"Portland"}
NOT_AMONG_THE_PEOPLE = {
    "Sigmund Freud", "Alice Walker", "Arundhati Roy", "Chimamanda Ngozi Adichie", "David Hockney", "Haruki Murakami",
    "Isabel Allende", "J. K. Rowling", "Jasper Johns", "Kazuo Ishiguro", "Margaret Atwood", "Philip Glass",
    "Salman Rushdie", "Yann Martel",
}  # fmt: skip
"""Of the first all is contested; the others are alive, and the sentences about people are in the past tense."""


def test_there_are_3000_facts_in_15_relations() -> None:
    known = list(facts.every_fact())
    assert len(known) >= 3000
    assert len({(entity.kind, relation) for entity, relation in known}) >= 15


def test_there_are_193_countries_50_states_118_elements_and_8_planets() -> None:
    entities = facts.entities
    assert [len(entities(kind)) for kind in ("country", "state", "element", "planet")] == [193, 50, 118, 8]
    numbers = sorted(int(element.facts["number"][0]) for element in entities("element"))
    assert numbers == list(range(1, 119))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_listed_twice(kind: str) -> None:
    names = [entity.name.casefold() for entity in facts.entities(kind)]
    assert len(set(names)) == len(names)


def test_a_title_names_one_work() -> None:
    titles = Counter(e.name.casefold() for kind in ("book", "painting", "music") for e in facts.entities(kind))
    assert titles.most_common(1)[0][1] == 1


@pytest.mark.parametrize(("kind", "relation"), [(kind, relation) for kind in ONE_EACH for relation in ONE_EACH[kind]])
def test_an_answer_that_can_belong_to_one_thing_only_does(kind: str, relation: str) -> None:
    answers = Counter(e.facts[relation][0] for e in facts.entities(kind) if relation in e.facts)
    assert {answer for answer, count in answers.items() if count > 1} <= NOT_ONE_EACH


def test_neighbours_are_mutual_countries_of_the_table() -> None:
    borders = {country.name: country.facts.get("neighbour", ()) for country in facts.entities("country")}
    for name, neighbours in borders.items():
        assert len(set(neighbours)) == len(neighbours)
        for other in neighbours:
            assert name != other
            assert name in borders[other], f"{name} and {other}"


def test_no_capital_is_the_larger_city_of_another_country() -> None:
    countries = facts.entities("country")
    capitals = {country.facts["capital"][0] for country in countries if "capital" in country.facts}
    assert not capitals & {country.facts["largest_city"][0] for country in countries if country.has_larger_city}


def test_who_made_a_work_is_in_the_table_of_people() -> None:
    people = {person.name for person in facts.entities("person")} | NOT_AMONG_THE_PEOPLE
    for kind, relation in (("book", "author"), ("painting", "painter"), ("music", "composer")):
        assert {e.facts[relation][0] for e in facts.entities(kind) if relation in e.facts} <= people


def test_there_is_a_fact_about_every_thing() -> None:
    for kind in KINDS:
        assert all(entity.facts for entity in facts.entities(kind))


def test_every_fact_is_clean_text() -> None:
    for entity, relation in facts.every_fact():
        for text in (entity.name, *entity.facts[relation]):
            assert text == " ".join(text.split())
            assert not re.search(r"[{}<>|\"]", text), text


def test_a_misconception_is_about_a_fact_and_wrong() -> None:
    known = {(e.kind, e.name): e for kind in KINDS for e in facts.entities(kind)}
    rows = [tuple(row.values()) for row in facts.read_table("misconceptions")]
    assert len(rows) >= 60
    assert len({row[:3] for row in rows}) == len(rows)
    for kind, name, relation, wrong in rows:
        assert wrong not in known[kind, name].facts[relation]
    for entity in known.values():
        assert all(wrong not in entity.facts[relation] for relation, wrong in entity.tempting.items())


def test_validation_and_test_are_about_different_things() -> None:
    sets = [
        {item.entity.partition(": ")[2].casefold().removeprefix("the ") for item in probes.unseen(name)}
        for name in ("validation", "test")
    ]
    prompts = [{item.prompt for item in probes.unseen(name)} for name in ("validation", "test")]
    assert not sets[0] & sets[1]
    assert not prompts[0] & prompts[1]


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_split_has_600_questions_in_4_domains_and_no_right_answer_among_the_wrong(name: str) -> None:
    items = probes.unseen(name)
    assert len(items) >= 600
    assert len({item.domain for item in items}) >= 4
    assert len({item.prompt for item in items}) == len(items)
    also_right = probes.also_right()
    for item in items:
        kind, thing = item.entity.split(": ", 1)
        assert not {thing, *item.answers} & set(item.wrong)
        assert not any(answer.startswith(wrong) for answer in item.answers for wrong in item.wrong)
        assert not {(kind, thing, item.relation.split(".")[1], wrong) for wrong in item.wrong} & also_right
        assert len(set(item.wrong)) == len(item.wrong) >= 1
