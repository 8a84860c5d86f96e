"""A whole search: its strategies, its two tasks, and its result."""

import numpy as np
import pytest
from pydantic import ValidationError

from dola_core.generation import generate_with_dola_static
from dola_core.lanes import DecodingConfig
from dola_core.layer_search.answers.scoring import ScoringConfig
from dola_core.layer_search.evaluate import contains, is_exact
from dola_core.layer_search.result import Chosen, Interval, SearchResult
from dola_core.layer_search.search import buckets, first_layers, search_layers
from dola_core.layer_search.search_config import SearchConfig
from dola_core.layer_search.selection import verdict_on_one
from tests.dola_core.layer_search.questions import CONFIG, ITEMS


@pytest.fixture(scope="module")
def result(atlas):
    return search_layers(atlas, ITEMS, CONFIG)


def test_strategies_measure_the_layers_of_the_paper_scaled_to_the_model():
    assert first_layers("all", 30) == tuple(range(1, 30))
    assert first_layers("grid", 30) == tuple(range(8, 30, 2))
    assert first_layers("buckets", 30) == (8, 9, 10, 18, 19, 20, 27, 28, 29)
    assert [(part[0], part[-1]) for part in buckets(30)] == [(1, 10), (11, 20), (21, 29)]
    for n_layers in range(2, 100):
        whole = [layer for part in buckets(n_layers) for layer in part]
        assert whole == list(range(1, n_layers))
        for strategy in ("all", "grid", "buckets"):
            layers = first_layers(strategy, n_layers)
            assert layers
            assert list(layers) == sorted(set(layers))
            assert {*layers} <= {*whole}


def test_a_setting_that_was_chosen_before_is_tested_alone(atlas, result):
    asked = CONFIG.model_copy(update={"layers": (17,), "alphas": (0.1,)})
    alone = search_layers(atlas, ITEMS, asked)
    assert alone.asked.one_setting
    assert not result.asked.one_setting
    assert (alone.layers, alone.chosen.layer, alone.chosen.alpha) == ((17,), 17, 0.1)
    for metric, curve in alone.curves.items():
        whole = result.curves[metric]
        ((there,),) = curve.settings
        np.testing.assert_allclose(there, whole.settings[16][CONFIG.alphas.index(0.1)], atol=1e-4)
        np.testing.assert_allclose(curve.baseline, whole.baseline, atol=1e-4)
    gain = curve_difference(alone)
    assert alone.chosen.difference.mean == pytest.approx(gain, abs=1e-4)
    assert alone.verdict.startswith("j* = 17, α = 0.1, chosen before, is ")
    assert f"{100 * gain:+.1f}".replace("-", "−") in alone.verdict
    assert "one half" not in alone.verdict


def curve_difference(result):
    """Of the one setting to the baseline, by the metric that was asked for."""
    curve = result.curves[result.asked.metric]
    return curve.settings[0][0].mean - curve.baseline.mean


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.03, "better than"), (-0.03, -0.01, "worse than"), (-0.01, 0.01, "no better and no worse than")],
)
def test_what_is_said_of_one_setting_follows_its_interval(low, high, said):
    assert f"is {said} the baseline" in verdict_on_one((21, 0.2), Interval((low + high) / 2, low, high))


def test_layers_that_the_model_has_not_are_refused(atlas):
    with pytest.raises(ValueError, match="from 1 to 29"):
        search_layers(atlas, ITEMS, CONFIG.model_copy(update={"layers": (5, 30)}))


def test_layers_can_be_named_instead_of_a_strategy(atlas, result):
    for strategy in ("all", "buckets"):
        some = search_layers(atlas, ITEMS, CONFIG.model_copy(update={"layers": (4, 22), "strategy": strategy}))
        assert some.layers == (4, 22)
        np.testing.assert_allclose(
            np.array(some.curves["mc2"].settings), np.array(result.curves["mc2"].settings)[[3, 21]], atol=1e-4
        )


def test_the_result_survives_a_round_trip_through_json_and_contains_what_was_measured(result, atlas):
    again = SearchResult.model_validate_json(result.to_json())
    assert again == result
    assert result.layers == tuple(range(1, 30))
    assert result.model == atlas.info
    assert result.complete
    assert set(result.curves) == {"mc1", "mc2", "mc3", "accuracy", "margin", "chose", "said", "first"}
    for curve in result.curves.values():
        assert np.array(curve.settings).shape == (29, 2, 3)


def test_the_choice_is_the_best_of_the_curve_and_among_those_not_worse(result):
    means = np.array(result.curves["mc1"].settings)[:, :, 0]
    place = result.layers.index(result.chosen.layer), CONFIG.alphas.index(result.chosen.alpha)
    assert means[place] == means.max() == result.chosen.value[0]
    assert result.chosen.difference[0] == pytest.approx(means.max() - result.curves["mc1"].baseline[0], abs=1e-4)
    assert result.chosen.alpha in result.chosen.not_worse[result.chosen.layer]
    assert sum(result.stability.layers.values()) == pytest.approx(1)
    assert [domain.name for domain in result.domains] == ["plain", "odd"]


def test_error_cases_are_questions_that_one_decoder_has_right_and_the_other_wrong(result):
    right = {case.item: case.right for case in result.errors}
    chosen = result.chosen
    baseline, dola = result.curves["mc1"].baseline[0], chosen.value[0]
    more = sum(decoder == "dola" for decoder in right.values())
    more -= sum(decoder == "baseline" for decoder in right.values())
    assert more / len(ITEMS) == pytest.approx(dola - baseline, abs=1e-4)
    for case in result.errors:
        item = ITEMS[case.item]
        assert (case.prompt, case.answers) == (item.prompt, item.answers)
        assert case.wrong in item.wrong
        assert len(case.q_N) == len(case.q_J) == 10
        assert case.q_N[0].p >= case.q_N[-1].p > 0


def test_the_other_strategies_measure_the_same_at_their_layers(atlas, result):
    whole = np.array(result.curves["mc2"].settings)
    for strategy in ("grid", "buckets"):
        part = search_layers(atlas, ITEMS, CONFIG.model_copy(update={"strategy": strategy}))
        for place, layer in enumerate(part.layers):
            np.testing.assert_allclose(np.array(part.curves["mc2"].settings)[place], whole[layer - 1], atol=1e-4)
        if strategy == "buckets":
            best = next(bucket for bucket in buckets(30) if part.chosen.layer in bucket)
            assert {*best} <= {*part.layers}
            assert len(part.layers) == 9 + len(best) - 3


def test_generation_measures_the_texts_that_each_setting_generates_by_itself(atlas):
    decoding = DecodingConfig(max_new_tokens=6, repetition_penalty=1.2)
    config = SearchConfig(task="generate", strategy="grid", metric="contains", alphas=(0.05, 0.5), decoding=decoding)
    items = ITEMS[::7]
    result = search_layers(atlas, items, config)
    assert set(result.curves) == {"exact", "contains", "first"}
    texts = {}
    for layer, alpha in ((None, 0.1), (8, 0.05), (28, 0.5)):
        texts[layer] = []
        for item in items:
            inputs = atlas.tokenizer(item.prompt, return_tensors="pt")
            ids = generate_with_dola_static(
                atlas.model, **inputs, layer=layer or 1, alpha=alpha, use_dola_lm_static=layer is not None,
                max_new_tokens=6, do_sample=False, repetition_penalty=1.2,
            )  # fmt: skip
            texts[layer].append(
                atlas.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            )

    def share(layer, judge):
        return np.mean([judge(text, item.answers) for text, item in zip(texts[layer], items, strict=True)])

    for metric, judge in (("contains", contains), ("exact", is_exact)):
        curve = result.curves[metric]
        assert curve.baseline[0] == pytest.approx(share(None, judge), abs=1e-4)
        assert curve.settings[0][0][0] == pytest.approx(share(8, judge), abs=1e-4)
        assert curve.settings[result.layers.index(28)][1][0] == pytest.approx(share(28, judge), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "exact", "inside"),
    [(" Tokyo.", True, True), ("tokyo", True, True), ("It is Tokyo, I think", False, True), ("Tokyoite", False, False)],
)
def test_texts_are_compared_without_case_and_full_stop(text, exact, inside):
    assert is_exact(text, ("Tokyo",)) == exact
    assert contains(text, ("Tokyo",)) == inside


def test_an_interval_is_three_finite_numbers_in_json(result):
    assert f'"baseline":{list(result.curves["mc1"].baseline)}'.replace(" ", "") in result.model_dump_json()
    assert isinstance(SearchResult.model_validate_json(result.to_json()).chosen.value, Interval)
    for spoiled in ([0.1, 0.2], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, float("nan")], "0.1"):
        with pytest.raises(ValidationError):
            Chosen(layer=1, alpha=0.1, value=spoiled, difference=(0, 0, 0), not_worse={})


def test_searches_with_different_scoring_are_different():
    assert SearchConfig(rule=ScoringConfig(apc=False)) != SearchConfig()


def test_questions_about_one_entity_are_too_few_to_choose_by(atlas):
    items = [item.model_copy(update={"entity": "one"}) for item in ITEMS[:6]]
    result = search_layers(atlas, items, CONFIG.model_copy(update={"strategy": "grid"}))
    assert result.stability is None
    assert result.domains == ()
    assert "Too few questions" in result.verdict


def test_a_search_without_questions_raises(atlas):
    with pytest.raises(ValueError, match="no questions"):
        search_layers(atlas, [], CONFIG)


def test_a_comparing_metric_without_wrong_answers_raises(atlas):
    with pytest.raises(ValueError, match="Question 1 offers no wrong answer"):
        search_layers(atlas, [ITEMS[0].model_copy(update={"wrong": ()})], CONFIG)
