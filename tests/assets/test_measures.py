"""Intervals and sentences of the evaluation, on numbers small enough to check by hand."""

from dataclasses import replace
from pathlib import Path

import card
import evaluate
import measures
import numpy as np
import pytest
from outcomes import Outcome

from dola_core.layer_search.questions.dataset import Item


def test_an_interval_holds_its_share_and_narrows_with_more_things() -> None:
    few, many = (measures.interval(np.tile([1.0, 0.0], n), [f"thing {i}" for i in range(2 * n)]) for n in (10, 1000))
    assert few[0] == many[0] == 0.5
    assert few[1] < many[1] < 0.5 < many[2] < few[2]
    # A share of a half over 2,000 independent things has a standard error of 0.0112.
    assert many[2] - many[1] == pytest.approx(2 * 1.96 * 0.0112, rel=0.1)


def test_questions_about_one_thing_count_as_one() -> None:
    values = np.tile([1.0, 0.0], 200)
    alone = measures.interval(values, [str(i) for i in range(400)])
    in_tens = measures.interval(np.sort(values), [str(i // 10) for i in range(400)])
    assert in_tens[2] - in_tens[1] > 2 * (alone[2] - alone[1])


@pytest.mark.parametrize("values", [[20, 22, 22, 25, 30], [20, 21], [30, 1, 30, 1], [7]])
def test_a_median_and_its_bounds_are_values_and_in_order(values: list[int]) -> None:
    things = [f"thing {i}" for i in range(len(values))]
    middle, low, high = measures.median_interval(np.array(values), things)
    assert middle == sorted(values)[(len(values) - 1) // 2]
    assert {middle, low, high} <= set(values)
    assert low <= middle <= high


def test_the_bounds_of_a_median_are_those_of_its_ranks() -> None:
    """The median of 1..400 has a standard error of 10 ranks."""
    middle, low, high = measures.median_interval(np.arange(1, 401), [str(i) for i in range(400)])
    assert middle == 200
    assert low == pytest.approx(200 - 1.96 * 10, abs=4)
    assert high == pytest.approx(200 + 1.96 * 10, abs=4)


@pytest.mark.parametrize(
    ("difference", "word"),
    [([0.1, 0.05, 0.2], "helps"), ([-0.1, -0.2, -0.05], "harms"), ([0.0, -0.1, 0.1], "neither")],
)
def test_the_verdict_follows_the_interval(difference: list[float], word: str) -> None:
    assert card.verdict(difference).startswith(word)


def test_a_share_is_written_with_its_interval() -> None:
    assert card.spread([0.812, 0.79, 0.831]) == "81.2 % (79.0 to 83.1)"
    assert card.spread([-0.05, -0.1, 0.01], signed=True) == "−5.0 % (−10.0 to +1.0)"


ITEMS = [
    Item(
        prompt=f"question {n} Answer:", answers=("right",), wrong=("wrong",), domain=d, relation=d, entity=f"thing {n}"
    )
    for n, d in enumerate(["a", "a", "b", "b"])
]
GREEDY = np.zeros((4, 29, 3), dtype=bool)
GREEDY[:3, 9, 1] = True
GREEDY[:2, 4, 0] = True
OUTCOME = Outcome(
    layers=tuple(range(1, 30)), alphas=(0.05, 0.1, 0.2), dola_mc_correct=GREEDY, dola_greedy_correct=GREEDY,
    baseline_mc_correct=np.array([True, True, True, True]),
    baseline_greedy_correct=np.array([True, False, False, True]),
)  # fmt: skip


def correct_at(*places: tuple[int, int, int]) -> np.ndarray:
    """Which questions are answered at which setting: True at `(item, layer, α)`, by position."""
    correct = np.zeros((4, 29, 3), dtype=bool)
    for place in places:
        correct[place] = True
    return correct


def with_answers(greedy: np.ndarray, mc: np.ndarray | None = None) -> Outcome:
    """`OUTCOME` with other answers of DoLa-static."""
    return replace(OUTCOME, dola_greedy_correct=greedy, dola_mc_correct=greedy if mc is None else mc)


def test_the_setting_with_the_most_answers_is_chosen() -> None:
    assert evaluate.choose(OUTCOME) == (9, 1)


def test_ties_go_to_the_lower_layer_and_then_to_the_lower_alpha() -> None:
    tied = correct_at((0, 20, 0), (1, 3, 2), (2, 3, 1))
    assert evaluate.choose(with_answers(tied)) == (3, 1)
    assert evaluate.choose(with_answers(correct_at())) == (0, 0)


def test_a_relations_own_setting_is_chosen_on_validation_and_measured_on_test() -> None:
    """On test the setting of validation is wrong for both relations, and another would be right."""
    tuned = with_answers(correct_at((0, 5, 0), (1, 5, 0), (2, 11, 2)))
    tested = with_answers(correct_at((0, 7, 1), (1, 7, 1), (2, 7, 1), (3, 7, 1)))
    table = evaluate.own_settings(ITEMS, tuned, ITEMS, tested)
    assert {name: (row["layer"], row["alpha"]) for name, row in table.items()} == {"a": (6, 0.05), "b": (12, 0.2)}
    assert [row["difference"][0] for row in table.values()] == [-0.5, -0.5]


def test_mended_and_harmed_answers_are_counted_by_domain() -> None:
    table = evaluate.compared(ITEMS, OUTCOME, (9, 1), "domain")
    counts = {name: (row["items"], row["said"]["mended"], row["said"]["harmed"]) for name, row in table.items()}
    assert counts == {"all": (4, 2, 1), "a": (2, 1, 0), "b": (2, 1, 1)}
    assert table["all"]["said"]["difference"][0] == 0.25
    assert table["all"]["chose"]["harmed"] == 1
    assert evaluate.examples(ITEMS, OUTCOME, (9, 1)) == {
        "mended": ["question 1 Answer: … right", "question 2 Answer: … right"],
        "harmed": ["question 3 Answer: … right"],
    }


def test_the_figures_go_between_the_markers_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "figures", lambda report, log: f"{card.BEGIN}\n{report}, {log}\n{card.END}")
    (tmp_path / "card.md").write_text(f"before\n{card.BEGIN}\nold\n{card.END}\nafter\n")
    card.write_figures(tmp_path / "card.md", "new", "log")
    assert (tmp_path / "card.md").read_text() == f"before\n{card.BEGIN}\nnew, log\n{card.END}\nafter\n"
    (tmp_path / "card.md").write_text("no markers")
    with pytest.raises(ValueError, match="needs the lines"):
        card.write_figures(tmp_path / "card.md", "new", "log")
