"""The words and tables of a search whose questions are a sample, or whose texts are not in the result."""

import pytest

from app.language import ENGLISH, language
from app.render.search_summary import domain_rows, error_rows, errors_of, take_label, verdict
from dola_core.layer_search.questions.dataset import PREAMBLE
from dola_core.layer_search.result import (
    Candidate,
    Chosen,
    Curve,
    DataInfo,
    Domain,
    DynamicChoice,
    ErrorCase,
    Interval,
    SearchResult,
    Stability,
)
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.info import ModelInfo

ONE = Interval(0.5, 0.4, 0.6)
TOKENS = (Candidate(text=" Lima", p=0.7), Candidate(text=" Cusco", p=0.2))
CASE = ErrorCase(
    item=16,
    prompt="The capital of Peru is",
    domain="places",
    answers=("Lima",),
    right="dola",
    wrong="Cusco",
    common="",
    q_N=TOKENS,
    q_J=TOKENS,
)
OTHER = CASE.model_copy(update={"item": 1233, "right": "baseline"})
RESULT = SearchResult(
    model=ModelInfo(name="m", dtype="float32", n_layers=30, vocab_size=97),
    data=DataInfo(name="x.jsonl", sha256="", items=40, of=40, held=1842, seed=7),
    asked=SearchConfig(alphas=(0.1,), limit=40, seed=7),
    layers=(22,),
    complete=True,
    seconds=1.0,
    curves={"mc1": Curve(baseline=ONE, settings=((ONE,),))},
    chosen=Chosen(layer=22, alpha=0.1, value=ONE, difference=ONE, not_worse={22: (0.1,)}),
    stability=None,
    domains=(),
    verdict="",
    errors=(CASE, OTHER),
)
BOTH = pytest.mark.parametrize("words", [ENGLISH, language("zh")], ids=lambda words: words.code)


@BOTH
def test_the_verdict_says_of_which_sample_it_is(words):
    said = verdict(RESULT, words).whole
    assert said.endswith(words("search.sample", n="40", of="1,842", seed=7))
    whole = RESULT.model_copy(update={"data": RESULT.data.model_copy(update={"of": 1842})})
    assert verdict(whole, words).whole == said.removesuffix(words("search.sample", n="40", of="1,842", seed=7))


def test_questions_with_texts_have_rows_that_open():
    table = error_rows(RESULT, "dola", ENGLISH)
    assert table["rows"] == [[CASE.prompt, "Lima", "Cusco", "␣Lima 0.70, ␣Cusco 0.20 | ␣Lima 0.70, ␣Cusco 0.20"]]
    assert table["open"]
    assert errors_of(RESULT, "dola") == [CASE]


@BOTH
def test_questions_without_texts_have_their_numbers_and_open_nothing(words):
    bare = RESULT.without_texts()
    for right, number in (("dola", "17"), ("baseline", "1,234")):
        table = error_rows(bare, right, words)
        assert table["rows"] == [[words("search.number", n=number), "", "", ""]]
        assert not table["open"]
        assert table["sub"] == words("search.errors_numbers")
        assert errors_of(bare, right) == []
    assert error_rows(bare, "dola", ENGLISH)["rows"][0][0] == "question 17"


def test_rows_of_which_one_has_no_prompt_open_nothing():
    mixed = RESULT.model_copy(update={"errors": (CASE.without_texts(), CASE)})
    assert not error_rows(mixed, "dola", ENGLISH)["open"]
    assert errors_of(mixed, "dola") == []


def test_a_question_opens_with_what_stood_before_it_and_is_listed_without():
    solved = RESULT.model_copy(update={"before": "The capital of Chile is Santiago\n\n"})
    assert error_rows(solved, "dola", ENGLISH)["rows"][0][0] == CASE.prompt
    assert errors_of(solved, "dola")[0].prompt == "The capital of Chile is Santiago\n\nThe capital of Peru is"
    customary = CASE.model_copy(update={"prompt": f"{PREAMBLE}Q: What is gold?\nA:"})
    assert (
        error_rows(RESULT.model_copy(update={"errors": (customary,)}), "dola", ENGLISH)["rows"][0][0]
        == "Q: What is gold?\nA:"
    )


GAIN = Interval(0.03, 0.01, 0.05)
DOMAINS = tuple(
    Domain(
        name=name, items=30, layer=3, alpha=0.1, layers=(3, 3), baseline=ONE, fixed=ONE, own=ONE, gain=GAIN,
        disagrees=name == "places", dynamic=GAIN,
    )
    for name in ("places", "people")
)  # fmt: skip
STABLE = Stability(same_layer=1.0, layers={22: 1.0}, loss=ONE, gain=GAIN)
COMPARED = RESULT.model_copy(update={"stability": STABLE, "domains": DOMAINS})


@BOTH
@pytest.mark.parametrize(
    ("gain", "effect"),
    [(GAIN, "helps"), (Interval(-0.03, -0.05, -0.01), "hurts"), (Interval(0.0, -0.02, 0.02), "chance")],
)
def test_the_verdict_says_whether_choosing_the_layer_at_each_step_is_better_and_where_domains_disagree(
    words, gain, effect
):
    dynamic = DynamicChoice(lane="dynamic:high", value=ONE, difference=ONE, gain=gain)
    said = verdict(COMPARED.model_copy(update={"dynamic": dynamic}), words).whole
    change = words("search.points", mean=f"{100 * gain.mean:+.1f}".replace("-", "−"), low="LOW", high="HIGH")
    assert words(f"search.dynamic_{effect}", lane="dynamic:high", gain="GAIN").partition("GAIN")[0] in said
    assert change.partition("LOW")[0] in said
    assert words("search.dynamic_there", domain="places", gain="GAIN").partition("GAIN")[0] in said
    assert words("search.dynamic_there", domain="people", gain="GAIN").partition("GAIN")[0] not in said
    assert words("search.no_dynamic") not in said


@BOTH
def test_where_it_was_not_measured_nothing_is_claimed_of_it(words):
    assert words("search.no_dynamic") in verdict(COMPARED, words).whole
    agreeing = tuple(domain.model_copy(update={"disagrees": False}) for domain in DOMAINS)
    assert words("search.no_dynamic") not in verdict(COMPARED.model_copy(update={"domains": agreeing}), words).whole


@BOTH
def test_the_table_of_domains_has_a_column_for_it_only_if_it_was_measured(words):
    dynamic = DynamicChoice(lane="dynamic:high", value=ONE, difference=ONE, gain=GAIN)
    with_it, without = (domain_rows(one, words) for one in (COMPARED.model_copy(update={"dynamic": dynamic}), COMPARED))
    assert with_it["head"] == [*without["head"], words("search.dynamic_gain")]
    assert [len(row) for row in with_it["rows"]] == [5, 5]
    assert [len(row) for row in without["rows"]] == [4, 4]


@BOTH
@pytest.mark.parametrize(
    ("gain", "text"),
    [
        (GAIN, {"en": "Take j* = 22, α = 0.1", "zh": "采用 j* = 22，α = 0.1"}),
        (Interval(-0.03, -0.05, -0.01), {"en": "Use j* = 22 anyway", "zh": "仍然使用 j* = 22"}),
        (Interval(0.0, -0.02, 0.02), {"en": "Use j* = 22 anyway", "zh": "仍然使用 j* = 22"}),
    ],
)
def test_the_button_recommends_a_layer_only_where_it_helps_beyond_chance(words, gain, text):
    found = COMPARED.model_copy(update={"stability": STABLE.model_copy(update={"gain": gain})})
    assert take_label(found, words) == text[words.code]
    assert take_label(RESULT, words) is None


@BOTH
def test_what_the_best_setting_changed_is_counted_where_it_is_known(words):
    counted = COMPARED.chosen.model_copy(update={"mended": 1203, "broken": 64})
    said = verdict(COMPARED.model_copy(update={"chosen": counted}), words).whole
    assert words("search.changed", mended="1,203", broken="64") in said
    assert (
        words("search.changed", mended="MENDED", broken="BROKEN").partition("MENDED")[0]
        not in verdict(COMPARED, words).whole
    )


@BOTH
def test_a_table_says_how_many_questions_there_are_of_which_it_lists_some(words):
    counted = RESULT.chosen.model_copy(update={"mended": 1203, "broken": 1})
    result = RESULT.model_copy(update={"chosen": counted})
    mended, broken = (error_rows(result, right, words) for right in ("dola", "baseline"))
    assert mended["title"] == words("search.mended_n", n="1,203")
    assert mended["sub"].endswith(words("search.errors_shown", shown=1))
    assert broken["title"] == words("search.broken_n", n="1")
    assert broken["sub"] == words("search.errors_open")
    assert error_rows(RESULT, "dola", words)["title"] == words("search.mended")
