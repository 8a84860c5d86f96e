"""The words and tables of a search whose questions are a sample, or whose texts are not in the result."""

import pytest

from app.language import ENGLISH, language
from app.render.search_summary import error_rows, errors_of, verdict
from dola_core.layer_search.questions.dataset import PREAMBLE
from dola_core.layer_search.result import (
    Candidate,
    Chosen,
    Curve,
    DataInfo,
    ErrorCase,
    Interval,
    SearchConfig,
    SearchResult,
)
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
    said = verdict(RESULT, words)
    assert said.endswith(words("search.sample", n="40", of="1,842", seed=7))
    whole = RESULT.model_copy(update={"data": RESULT.data.model_copy(update={"of": 1842})})
    assert verdict(whole, words) == said.removesuffix(words("search.sample", n="40", of="1,842", seed=7))


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
        assert table["sub"] == words("search.errors_sub_numbers")
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
