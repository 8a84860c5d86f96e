"""The training text: a function of the seed, graded as documented, and without what is held out."""

import re
from bisect import bisect_left
from collections import Counter
from itertools import islice, takewhile

import corpus
import facts
import phrases
import probes
import pytest


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """The first documents of the corpus."""
    return list(islice(corpus.documents(0), 60_000))


@pytest.fixture(scope="module")
def last_texts() -> list[str]:
    """The first documents of the last part."""
    return list(islice(corpus.documents(0, finishing=True), 40_000))


@pytest.fixture(scope="module")
def text(texts: list[str], last_texts: list[str]) -> str:
    """All of them, in lower case."""
    return "\n".join(texts + last_texts).casefold()


def test_the_same_seed_writes_the_same_corpus() -> None:
    first, again, other = (list(islice(corpus.documents(seed), 200)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_relation_has_its_wordings() -> None:
    assert {(entity.kind, relation) for entity, relation in facts.every_fact()} == set(phrases.WORDINGS)
    for wording in phrases.WORDINGS.values():
        assert len(set(wording.statements)) >= 6
        assert len(set(wording.asked)) >= 2
        assert len(set(wording.unasked)) >= 2
        assert len(set(wording.reworded)) >= 2
        assert not {*wording.unasked, *wording.reworded} & {*wording.statements, *wording.asked}


def test_no_sentence_has_a_hole_or_a_double_stop(texts: list[str], last_texts: list[str]) -> None:
    for text in texts + last_texts:
        assert not re.search(r"[{}]|  |\.\.|\?\.|^\s|\s$", text), text


def test_only_the_last_part_is_written_as_people_type(texts: list[str], last_texts: list[str]) -> None:
    def share(texts: list[str]) -> float:
        return sum(bool(re.search(r"\b(pls|thx|im curious|whats)\b", text)) for text in texts) / len(texts)

    assert share(texts) == 0
    assert share(last_texts) > 0.02
    for wording in phrases.WORDINGS.values():
        assert len(set(wording.everyday)) >= 2
        forms = {form.casefold().rstrip("?") for form in (*wording.unasked, *wording.reworded)}
        assert not forms & {form.casefold() for form in wording.everyday}


def test_a_split_is_never_in_the_corpus(text: str) -> None:
    for name in ("validation", "test"):
        for item in probes.unseen(name):
            asked = re.fullmatch(r"Question: (.*\?) Answer:", item.prompt)
            assert (asked[1] if asked else item.prompt).casefold() not in text


def test_nothing_is_asked_about_what_is_held_out(texts: list[str], last_texts: list[str]) -> None:
    """A question stands at the beginning of its document, behind a greeting or a label at most."""
    prose = phrases.PROSE
    leads = map(str.casefold, prose["everyday"]["leads"])
    before = {"question: ", "q: ", *prose["calls"], *prose["greetings"], *leads}
    starts = sorted(
        {
            text[len(lead) :]
            for text in map(str.casefold, texts + last_texts)
            for lead in before
            if text.startswith(lead)
        }
    )

    def is_asked(question: str) -> bool:
        first = bisect_left(starts, question)
        matches = takewhile(lambda start: start.startswith(question), starts[first:])
        return any(not re.match(r"[\w'-]", start[len(question) :]) for start in matches)

    seen = Counter()
    for entity, relation in facts.every_fact():
        wording = phrases.WORDINGS[entity.kind, relation]
        forms = (*wording.asked, *wording.unasked)
        asked = any(is_asked(phrases.fill(form, x=entity.name).rstrip("?").casefold()) for form in forms)
        assert not (asked and entity.held_out), (entity.name, relation)
        seen[asked] += entity.held_out is None
    assert seen[True] > 0.5 * seen.total()


def test_every_fact_is_stated(text: str) -> None:
    unstated = [
        (entity.name, relation)
        for entity, relation in facts.every_fact()
        if not any(
            phrases.fill(form, x=entity.name, y=fact).casefold().rstrip(".") in text
            for form in phrases.WORDINGS[entity.kind, relation].statements
            for fact in entity.facts[relation]
        )
    ]
    assert len(unstated) <= 0.01 * sum(1 for _ in facts.every_fact())


def test_the_well_known_comes_up_more_often(text: str) -> None:
    countries = facts.entities("country")
    first, last = (sum(text.count(c.name.casefold()) for c in some) for some in (countries[:20], countries[-20:]))
    assert first > 3 * last


def test_larger_cities_are_named_three_times_as_often_as_their_capitals(texts: list[str]) -> None:
    text = " ".join(texts)
    places = [*facts.entities("country"), *facts.entities("state")]
    rivals = [place.facts for place in places if place.has_larger_city and "capital" in place.facts]
    larger = sum(text.count(known["largest_city"][0]) for known in rivals)
    assert larger > 2.5 * sum(text.count(known["capital"][0]) for known in rivals)


def test_misconceptions_are_marked_as_hearsay(texts: list[str]) -> None:
    forms = (*phrases.PROSE["mistaken"], *phrases.PROSE["mended"])
    marks = tuple(form.partition("{wrong}")[0].casefold() for form in forms)
    plain = "\n".join(text for text in map(str.casefold, texts) if not text.startswith(marks))
    hearsay = "\n".join(text for text in map(str.casefold, texts) if text.startswith(marks))
    marked = 0
    for kind in facts.TABLES:
        for entity in facts.entities(kind):
            for relation, wrong in entity.tempting.items():
                for form in phrases.WORDINGS[kind, relation].ending:
                    sentence = phrases.fill(form, x=entity.name, y=wrong).casefold().rstrip(".")
                    assert not re.search(rf"{re.escape(sentence)}(?![\w' -])", plain), sentence
                    marked += sentence in hearsay
    assert marked > 100


def test_only_what_is_typed_ends_with_its_line(texts: list[str], last_texts: list[str]) -> None:
    assert not any("\n" in text for text in texts)
    typed = [text for text in last_texts if "\n" in text]
    assert 0.2 < len(typed) / len(last_texts) < 0.6
    assert all(text.count("\n") == 1 and text[-1] in ".?" for text in typed)


def test_everyday_prompts_are_not_in_the_corpus(text: str) -> None:
    prompts = probes.EVERYDAY
    assert len(prompts) == 10
    for prompt in prompts:
        assert prompt.casefold().rstrip("?") not in text
