"""Samples and examples: the same everywhere, in proportion to domains, and apart from each other."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.questions.sample import domain_sizes, measured_questions, solved, stratified_sample
from tests.dola_core.layer_search.questions import ITEMS

COUNTS = st.lists(st.integers(1, 60), min_size=1, max_size=12)
SEEDS = st.integers(0, 50)


@st.composite
def counts_and_size(draw):
    counts = draw(COUNTS)
    return counts, draw(st.integers(0, sum(counts)))


def questions(domains: list[int], entities: int = 0) -> list[Item]:
    """Questions of domains of these sizes, in turn; with `entities`, about so many things."""
    left, items = dict(enumerate(domains)), []
    while any(left.values()):
        for domain in [domain for domain, size in left.items() if size]:
            left[domain] -= 1
            number = len(items)
            entity = f"e{number % entities}" if entities else ""
            items.append(Item(prompt=f"Question {number}?", answers=("yes",), domain=str(domain), entity=entity))
    return items


@given(counts_and_size(), SEEDS)
def test_domain_sizes_add_up_and_none_gets_more_than_it_has(given_counts, seed):
    counts, size = given_counts
    sizes = domain_sizes(counts, size, str(seed))
    assert sum(sizes) == size
    assert all(0 <= got <= count for got, count in zip(sizes, counts, strict=True))
    if size >= len(counts):
        assert min(sizes) >= 1


@given(counts_and_size())
def test_domains_of_a_question_or_more_get_their_share_to_within_one(given_counts):
    counts, size = given_counts
    shares = [size * count / sum(counts) for count in counts]
    sizes = domain_sizes(counts, size)
    if min(shares) >= 1 or size < len(counts):
        assert all(abs(got - share) < 1 for got, share in zip(sizes, shares, strict=True))
    elif size:  # what small domains are given beyond their shares, the larger ones lack in proportion
        large = [(got, count) for got, count in zip(sizes, counts, strict=True) if got > 1]
        rate = sum(got for got, _ in large) / max(1, sum(count for _, count in large))
        assert all(abs(got - rate * count) < 2 for got, count in large)


def test_the_largest_remainder_gets_the_question_that_is_left():
    assert domain_sizes([50, 30, 20], 11) == [6, 3, 2]  # 5.5, 3.3, 2.2
    assert domain_sizes([436, 226, 232, 130, 734, 50, 34], 40) == [9, 5, 5, 3, 16, 1, 1]
    assert domain_sizes([91, *[1] * 9], 10) == [1] * 10
    assert domain_sizes([90, 5, 5], 2) == [2, 0, 0]
    with pytest.raises(ValueError, match="4 questions cannot be drawn from 3"):
        domain_sizes([1, 2], 4)


@given(COUNTS, SEEDS, st.data())
def test_a_sample_keeps_the_order_of_the_file_and_knows_its_numbers(counts, seed, data):
    items = questions(counts)
    limit = data.draw(st.integers(1, len(items)))
    drawn = measured_questions(items, limit=limit, seed=seed)
    assert list(drawn.numbers) == sorted(set(drawn.numbers))
    assert [items[number] for number in drawn.numbers] == list(drawn.items) == drawn.prompted
    assert (len(drawn.items), drawn.held) == (limit, len(items))
    assert drawn.sampled == (limit < len(items))
    sizes = Counter(item.domain for item in drawn.items)
    assert sum(sizes.values()) == limit
    if limit >= len(counts):
        assert len(sizes) == len(counts)


def test_the_draw_is_the_same_on_every_machine():
    """These numbers must never change: results that were published name them by seed and size."""
    items = questions([30, 20, 10])
    assert measured_questions(items, limit=6, seed=0).numbers == (4, 8, 24, 42, 43, 57)
    assert measured_questions(items, limit=6, seed=1).numbers == (2, 3, 7, 9, 32, 35)
    assert measured_questions(items, seed=1, few_shot=3).examples == (23, 30, 39)


def test_every_question_is_drawn_about_as_often():
    items = questions([20, 10])
    counts = Counter(number for seed in range(600) for number in measured_questions(items, limit=10, seed=seed).numbers)
    assert all(140 < counts[number] < 260 for number in range(len(items)))  # 200 each


@given(COUNTS.filter(lambda counts: sum(counts) > 4), SEEDS, st.integers(0, 3), st.sampled_from([0, 4, 5]))
def test_examples_are_not_measured_nor_is_what_is_about_the_same(counts, seed, few_shot, entities):
    items = questions(counts, entities)
    drawn = measured_questions(items, seed=seed, few_shot=few_shot)
    shown = [items[number] for number in drawn.examples]
    assert len(shown) == few_shot
    assert not {*drawn.examples} & {*drawn.numbers}
    assert not {item.entity for item in shown} - {""} & {item.entity for item in drawn.items}
    assert len(drawn.items) == len(items) - drawn.left_out
    assert not drawn.sampled  # nothing is left out by chance
    assert drawn.before == "".join(map(solved, shown))
    assert [item.prompt for item in drawn.prompted] == [drawn.before + item.prompt for item in drawn.items]


def test_the_examples_do_not_depend_on_the_sample():
    examples = {measured_questions(ITEMS, limit=limit, seed=4, few_shot=2).examples for limit in (5, 20, None)}
    assert len(examples) == 1
    few, many = (measured_questions(ITEMS, limit=limit, seed=4, few_shot=2) for limit in (5, 20))
    assert {*few.numbers} <= {*many.numbers}


@pytest.mark.parametrize(
    ("prompt", "answer", "text"),
    [
        ("The capital of Peru is", "Lima", "The capital of Peru is Lima\n\n"),
        ("Q: What is gold?\nA:", "A metal.", "Q: What is gold?\nA: A metal.\n\n"),
        ("Q: What is gold?\n", "A metal.", "Q: What is gold?\nA metal.\n\n"),
    ],
)
def test_a_solved_example_reads_like_a_question_with_its_answer(prompt, answer, text):
    assert solved(Item(prompt=prompt, answers=(answer, "something else"))) == text


def test_what_leaves_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="There are no questions"):
        measured_questions([])
    with pytest.raises(ValueError, match="There are 2 questions, too few for 2 solved examples beside them"):
        measured_questions(ITEMS[:2], few_shot=2)
    same = [item.model_copy(update={"entity": "one"}) for item in ITEMS[:3]]
    with pytest.raises(ValueError, match="ask for fewer examples"):
        measured_questions(same, few_shot=1)


def test_a_sample_of_a_pool_is_of_the_pool_alone():
    assert set(stratified_sample(ITEMS, [3, 9, 30], 2, "x")) < {3, 9, 30}
