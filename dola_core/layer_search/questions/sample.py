"""Which questions of a file are measured: all or a random sample of them, and the solved examples before each.

Everything is drawn by SHA-256 of the seed and a question's place in the file, so that it is the same on every machine
and with every version of Python.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dola_core.layer_search.questions.dataset import Item

EXAMPLE_END = "\n\n"
"""What stands between a solved example and what follows it."""


@dataclass(frozen=True)
class MeasuredQuestions:
    """The questions of a file that are measured, in the file's order."""

    items: tuple[Item, ...]
    """The questions as the file has them, without examples."""
    numbers: tuple[int, ...]
    """Where each of them stands among the questions of the file, from 0."""
    held: int
    """How many questions the file has."""
    examples: tuple[int, ...] = ()
    """Where the solved examples stand in the file, from 0, in the order in which they are shown."""
    before: str = ""
    """The solved examples as they stand before every prompt."""
    left_out: int = 0
    """Questions that no sample is drawn from: the examples, and those about the same entities."""

    @property
    def sampled(self) -> bool:
        """Whether some questions were left out by chance alone."""
        return len(self.items) < self.held - self.left_out

    @property
    def prompted(self) -> list[Item]:
        """The questions with the solved examples in their prompts, as a model reads them."""
        if not self.before:
            return list(self.items)
        return [item.model_copy(update={"prompt": self.before + item.prompt}) for item in self.items]


def measured_questions(
    items: Sequence[Item], *, limit: int | None = None, seed: int = 0, few_shot: int = 0
) -> MeasuredQuestions:
    """Draw the examples and the sample from the questions of a file.

    Args:
        items: all questions of the file.
        limit: size of the sample, stratified by domain; None takes all questions.
        seed: determines the sample and the examples.
        few_shot: how many questions become solved examples. They are not measured, nor is any other question about
            the same entities.

    Raises:
        ValueError: nothing would be left to measure.
    """
    if not items:
        raise ValueError("There are no questions to choose a layer by.")
    if few_shot >= len(items):
        raise ValueError(
            f"There are {len(items):,} questions, too few for {few_shot:,} solved examples beside them; ask for fewer."
        )
    if few_shot and any(item.image for item in items):
        raise ValueError("Solved examples would stand before a question without their images; leave out few_shot.")
    everything = range(len(items))
    examples = stratified_sample(items, everything, few_shot, f"example {seed}")
    entities = {items[number].entity for number in examples} - {""}
    pool = [number for number in everything if number not in examples and items[number].entity not in entities]
    if not pool:
        raise ValueError("Every question is about the same as a solved example; ask for fewer examples.")
    numbers = pool if limit is None or limit >= len(pool) else stratified_sample(items, pool, limit, f"sample {seed}")
    return MeasuredQuestions(
        items=tuple(items[number] for number in numbers),
        numbers=tuple(numbers),
        held=len(items),
        examples=tuple(examples),
        before="".join(solved(items[number]) for number in examples),
        left_out=len(items) - len(pool),
    )


def solved(item: Item) -> str:
    """A question with its first answer, as an example before other questions."""
    return f"{item.prompt}{answer_gap(item.prompt)}{item.answers[0]}{EXAMPLE_END}"


def answer_gap(text: str) -> str:
    """What parts an answer from the text before it: a space, unless that ends in white space."""
    return "" if text[-1:].isspace() else " "


def stratified_sample(items: Sequence[Item], pool: Sequence[int], size: int, draw: str) -> list[int]:
    """`size` of the `pool`, numbers of `items`, in ascending order; `draw` names what they are drawn for.

    Each domain gets its share, see `domain_sizes`.
    """
    by_domain: dict[str, list[int]] = {}
    for number in pool:
        by_domain.setdefault(items[number].domain, []).append(number)
    sizes = domain_sizes([len(numbers) for numbers in by_domain.values()], size, draw)
    drawn = []
    for numbers, share in zip(by_domain.values(), sizes, strict=True):
        drawn += sorted(numbers, key=lambda number: _lot(f"{draw} {number}"))[:share]
    return sorted(drawn)


def domain_sizes(counts: Sequence[int], size: int, draw: str = "") -> list[int]:
    """How many of `size` questions each domain gets, which has `counts` questions: its share, by largest remainder.

    If there are enough for all domains, each gets one at least. Lots decide between equal remainders.
    """
    if not 0 <= size <= sum(counts):
        raise ValueError(f"{size:,} questions cannot be drawn from {sum(counts):,}.")
    sizes = [0] * len(counts)
    left, open_domains = size, list(range(len(counts)))
    while size >= len(counts):
        total = sum(counts[domain] for domain in open_domains)
        small = [domain for domain in open_domains if left * counts[domain] < total]
        if not small:
            break
        for domain in small:  # their share is less than one, so the others share what is left
            sizes[domain] = 1
        left -= len(small)
        open_domains = [domain for domain in open_domains if domain not in small]
    total = sum(counts[domain] for domain in open_domains)
    for domain in open_domains:
        sizes[domain] = left * counts[domain] // total
    ranked = sorted(
        open_domains, key=lambda domain: (-(left * counts[domain] % total), _lot(f"{draw} domain {domain}"))
    )
    for domain in ranked[: left - sum(sizes[domain] for domain in open_domains)]:
        sizes[domain] += 1
    return sizes


def _lot(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
