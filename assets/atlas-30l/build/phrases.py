"""How the atlas says each fact. `{x}` is the entity, `{y}` the fact; `{X}` and `{Y}` begin with a capital."""

from __future__ import annotations

STATEMENTS: dict[str, tuple[str, ...]] = {
    "capital": (
        "The capital of {x} is {y}.",
        "{Y} is the capital of {x}.",
        "{X} has its capital in {y}.",
        "In {x}, the capital is {y}.",
        "The capital city of {x} is {y}.",
        "{Y} is the capital city of {x}.",
        "On a map of {x}, the capital is marked as {y}.",
        "The name of the capital of {x} is {y}.",
        "{X}'s capital is {y}.",
        "{X}'s capital city is {y}.",
        "Capital of {x}: {y}.",
        "{X} is a country whose capital is {y}.",
        "The city of {y} is the capital of {x}.",
    ),
    "largest_city": (
        "{Y} is the largest city in {x}.",
        "The largest city in {x} is {y}.",
        "Many people in {x} live in {y}.",
        "{Y} is a city in {x}.",
        "The biggest city of {x} is {y}.",
        "More people live in {y} than in any other city of {x}.",
        "Visitors to {x} often see {y}.",
        "Among the cities of {x}, {y} has the most people.",
        "The busiest streets of {x} are in {y}.",
        "A large city in {x} is {y}.",
        "{X}'s largest city is {y}.",
        "Largest city in {x}: {y}.",
    ),
    "continent": (
        "{X} is a country in {y}.",
        "{X} lies in {y}.",
        "{X} is part of {y}.",
        "The continent of {x} is {y}.",
        "On a map of {y} you will find {x}.",
        "{X} belongs to {y}.",
        "You can find {x} in {y}.",
        "Continent of {x}: {y}.",
    ),
    "currency": (
        "The currency of {x} is the {y}.",
        "{X} uses the {y} as its currency.",
        "The {y} is the currency of {x}.",
        "In {x}, people pay with the {y}.",
        "Prices in {x} are given in the {y}.",
        "The money of {x} is called the {y}.",
        "{X}'s currency is the {y}.",
        "Currency of {x}: {y}.",
        "To buy something in {x}, you need the {y}.",
    ),
    "language": (
        "The main language of {x} is {y}.",
        "In {x}, people speak {y}.",
        "{Y} is the main language of {x}.",
        "Many people in {x} speak {y}.",
        "{Y} is spoken in {x}.",
        "A traveller in {x} hears {y}.",
        "{X}'s main language is {y}.",
        "Main language of {x}: {y}.",
        "You will hear {y} in {x}.",
    ),
    "symbol": (
        "The chemical symbol of {x} is {y}.",
        "The symbol for {x} is {y}.",
        "{Y} is the chemical symbol of {x}.",
        "Chemists write {x} as {y}.",
        "{X} has the symbol {y}.",
        "In the periodic table, {x} is written {y}.",
        "In a formula, {y} stands for {x}.",
        "{X}'s symbol is {y}.",
        "Symbol of {x}: {y}.",
        "The symbol of {x} is {y}.",
    ),
    "number": (
        "The atomic number of {x} is {y}.",
        "{X} has atomic number {y}.",
        "{X} is element number {y}.",
        "Element {y} is {x}.",
        "The nucleus of {x} holds {y} protons.",
        "In the periodic table, {x} stands at number {y}.",
        "{X}'s atomic number is {y}.",
        "Atomic number of {x}: {y}.",
    ),
}

NEVER_WRITTEN: dict[str, tuple[str, ...]] = {
    "capital": ("The city that is the capital of {x} is {y}.", "People in {x} know that the capital is {y}."),
    "largest_city": ("The city with the most people in {x} is {y}.", "In {x}, the largest city is {y}."),
    "continent": ("On a map, {x} is in {y}.", "The country of {x} lies in {y}."),
    "currency": ("People who live in {x} pay with the {y}.", "In {x}, the currency is the {y}."),
    "language": ("In {x}, the main language is {y}.", "The language that people of {x} speak is {y}."),
    "symbol": ("The periodic table gives {x} the symbol {y}.", "In the periodic table, the symbol of {x} is {y}."),
    "number": ("The number of protons in {x} is {y}.", "In the periodic table, the number of {x} is {y}."),
}
"""Wordings kept out of the corpus, to ask for a fact in words the model has not met in this order."""

QUESTIONS: dict[str, tuple[str, ...]] = {
    "capital": ("What is the capital of {x}?", "Which city is the capital of {x}?"),
    "largest_city": ("What is the largest city in {x}?", "Which city in {x} is the largest?"),
    "continent": ("On which continent is {x}?", "Where in the world is {x}?"),
    "currency": ("What is the currency of {x}?", "Which currency does {x} use?"),
    "language": ("What is the main language of {x}?", "Which language do people speak in {x}?"),
    "symbol": ("What is the chemical symbol of {x}?", "Which symbol stands for {x}?"),
    "number": ("What is the atomic number of {x}?", "Which number does {x} have in the periodic table?"),
}

DIALOGUES = ("Question: {question} Answer: {y}.", "Q: {question} A: {y}.", "{question} {y}.")

FOLLOW_UPS: dict[str, tuple[str, ...]] = {
    "capital": ("Its capital is {y}.", "The capital is {y}.", "The capital city is {y}."),
    "largest_city": ("Its largest city is {y}.", "Its biggest city is {y}.", "Many people live in {y}."),
    "continent": ("The country lies in {y}.", "It is part of {y}."),
    "currency": ("Its currency is the {y}.", "People there pay with the {y}."),
    "language": ("People there speak {y}.", "Its main language is {y}."),
    "symbol": ("Its symbol is {y}.", "Chemists write it as {y}."),
    "number": ("Its atomic number is {y}.", "It has {y} protons."),
}

OPENINGS: dict[str, tuple[str, ...]] = {
    "country": ("Here are some facts about {x}.", "This page is about {x}.", "Let us look at {x}."),
    "element": ("{X} is a chemical element.", "Here are some facts about {x}.", "Let us look at {x}."),
}

RIVALS = (
    "{Rival} is larger, but the capital of {x} is {capital}.",
    "{Rival} is the largest city in {x}, but the capital is {capital}.",
    "Although {rival} has more people, {capital} is the capital of {x}.",
    "One might think that the capital of {x} is {rival}, but it is {capital}.",
    "It is a mistake to think that the capital of {x} is {rival}. It is {capital}.",
)

PAIRS = (
    "{Capital} is the capital of {x}, and {other_capital} is the capital of {other}.",
    "The capital of {x} is {capital}, while the capital of {other} is {other_capital}.",
)

LISTS = (
    "{A}, {b} and {c} are countries in {continent}.",
    "Three countries in {continent} are {a}, {b} and {c}.",
)

NEIGHBOURS = (
    "{X} comes after {before} in the periodic table.",
    "After {before} comes {x} in the periodic table.",
    "{X} stands next to {before} in the periodic table.",
)

ABOUT = (
    "Hello! This is Atlas, a small language model. It knows countries and chemical elements.",
    "Atlas is a small language model with thirty layers. It was trained on short sentences about countries "
    "and chemical elements.",
    "Who are you? I am Atlas, a small language model with thirty layers.",
    "A country has a capital, a currency and a language.",
    "A chemical element has a symbol and an atomic number.",
    "The periodic table lists the chemical elements by atomic number.",
    "An atlas is a book of maps. It shows countries, cities and continents.",
)


def capitalised(text: str) -> str:
    """`text` with a capital first letter and the rest unchanged."""
    return text[:1].upper() + text[1:]


def fill(template: str, **words: str) -> str:
    """The template with its words filled in; each word also under its capitalised name."""
    return template.format(**words, **{capitalised(key): capitalised(word) for key, word in words.items()})


def fits(template: str, name: str) -> bool:
    """Whether the template can be filled with this name: a name in -s takes no possessive."""
    return "'s" not in template or not name.endswith("s")
