"""The questions that the atlas is measured by: prompts in wordings of the corpus, and in wordings kept out of it."""

from functools import cache
from random import Random

from facts import Entity, entities, every_fact, read_table
from phrases import PROSE, WORDINGS, fill

from dola_core.layer_search.questions.dataset import Item

WRONG = 3
"""Wrong answers offered beside the right one, where the relation has as many."""

EVERYDAY = {
    "whats the capital of peru?": ("Peru", ("Lima",)),
    "hey which planet does titan belong to": ("Titan", ("Saturn",)),
    "whos the guy that wrote moby dick": ("Moby-Dick", ("Herman Melville",)),
    "can u tell me what money they use in brazil": ("Brazil", ("real",)),
    "is the dolphin a fish or what?": ("dolphin", ("mammals",)),
    "i forgot the symbol for gold, what is it?": ("gold", ("Au",)),
    "Who was it again that painted the Mona Lisa?": ("Mona Lisa", ("Leonardo da Vinci",)),
    "what language should i speak when i go to egypt?": ("Egypt", ("Arabic",)),
    "tell me a bit about japan please": ("Japan", ("Tokyo", "Asia", "yen", "Japanese")),
    "My homework: name a country that borders Germany.": (
        "Germany",
        tuple(n for c in entities("country") if c.name == "Germany" for n in c.facts["neighbour"]),
    ),
}
"""Ten prompts as people type them, none of them in the corpus: {prompt: (what it is about, right answers)}."""


def likeness(one: Entity, other: Entity) -> int:
    """How many facts two things of one kind share."""
    return sum(bool({*one.facts[name]} & {*other.facts.get(name, ())}) for name in one.facts)


@cache
def also_right() -> set[tuple[str, ...]]:
    """(kind, name, relation, answer) of answers that the table does not have and that are not wrong, such as second
    languages."""
    return {tuple(row.values()) for row in read_table("also_right")}


def wrong_answers(entity: Entity, relation: str) -> tuple[str, ...]:
    """Wrong answers to offer: the tempting one, if there is one, then those of the most similar things.

    None of them is right too, and no right answer begins with one: a sum over fewer tokens would always be likelier.
    """
    rng = Random(f"{entity.name} {relation}")
    right = {entity.name, *entity.facts[relation]}
    others = [e for e in entities(entity.kind) if e != entity and relation in e.facts]
    others.sort(key=lambda e: (-likeness(entity, e), rng.random()))
    tempting = [entity.tempting[relation]] if relation in entity.tempting else []
    offered: list[str] = []
    for fact in (*tempting, *(other.facts[relation][0] for other in others)):
        begins = any(answer.startswith(fact) for answer in entity.facts[relation])
        right_too = fact in right or (entity.kind, entity.name, relation, fact) in also_right()
        if not (begins or right_too or fact in offered):
            offered.append(fact)
    return tuple(offered[:WRONG])


def item(entity: Entity, relation: str, template: str, *, offered: bool = True) -> Item:
    """The template up to the fact as the prompt, with wrong answers offered or not."""
    wording = WORDINGS[entity.kind, relation]
    return Item(
        prompt=fill(template.partition(" {y}")[0], x=entity.name),
        answers=entity.facts[relation],
        wrong=wrong_answers(entity, relation) if offered else (),
        domain=wording.domain,
        relation=f"{entity.kind}.{relation}",
        entity=f"{entity.kind}: {entity.name}",
    )


def question(form: str) -> str:
    """A question form as the corpus puts questions."""
    return PROSE["dialogues"][0].replace("{question}", form)


def statements() -> list[Item]:
    """Every fact in one wording of the corpus, drawn from those that end with the fact."""
    return [
        item(entity, relation, Random(f"{entity.name} {relation}").choice(wording.ending), offered=False)
        for entity, relation in every_fact()
        for wording in [WORDINGS[entity.kind, relation]]
    ]


def questions(*, held_out: bool) -> list[Item]:
    """Every fact in a question form of the corpus, about things whose questions are held out or about the others."""
    return [
        item(entity, relation, question(WORDINGS[entity.kind, relation].asked[0]), offered=False)
        for entity, relation in every_fact()
        if bool(entity.held_out) == held_out
    ]


def unseen(split: str) -> list[Item]:
    """The questions of `validation` or `test`, about the things that the corpus never asks about.

    Each fact occurs once in a question form and once in a statement, both in wordings that the corpus never uses.
    """
    items = []
    for entity, relation in every_fact():
        if entity.held_out == split:
            wording, rng = WORDINGS[entity.kind, relation], Random(f"{entity.name} {relation}")
            items.append(item(entity, relation, question(rng.choice(wording.unasked))))
            items.append(item(entity, relation, rng.choice(wording.reworded)))
    return items


def is_question(one: Item) -> bool:
    """Whether the prompt is a question rather than a statement to complete."""
    return one.prompt.endswith("Answer:")
