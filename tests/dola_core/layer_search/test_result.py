"""What a result says about how it was measured, with texts and without them."""

import hashlib
import json

import pytest
from pydantic import ValidationError

from dola_core.lanes import DecodingConfig
from dola_core.layer_search.answers.scoring import ScoringConfig
from dola_core.layer_search.arguments import command_line, repeating_command, search_config
from dola_core.layer_search.questions.dataset import PREAMBLE
from dola_core.layer_search.report.html_report import html_report
from dola_core.layer_search.result import DataInfo, SearchResult
from dola_core.layer_search.search import Search, search_layers
from dola_core.layer_search.search_config import SearchConfig
from tests.dola_core.layer_search.questions import ITEMS

SHA256 = hashlib.sha256(b"").hexdigest()
CONFIG = SearchConfig(strategy="grid", alphas=(0.1, 0.5), metric="accuracy", limit=30, seed=2, few_shot=2)


@pytest.fixture(scope="module")
def result(chatty) -> SearchResult:
    found = search_layers(chatty, ITEMS, CONFIG, name="items.jsonl", sha256=SHA256)
    assert found.errors
    return found


def texts() -> set[str]:
    """Every word of the questions that is nowhere else."""
    return {word for item in ITEMS for text in (item.prompt, *item.answers, *item.wrong) for word in text.split()}


def test_numbers_are_those_of_the_file(result):
    for case in result.errors:
        item = ITEMS[case.item]
        assert (case.prompt, case.answers, case.domain) == (item.prompt, item.answers, item.domain)
        assert case.item not in result.data.examples


def test_the_verdict_and_the_report_say_how_the_questions_were_drawn(result):
    said = "a random sample of 30 of 42 questions (seed 2)"
    assert result.verdict.endswith(f" Measured on {said}.")
    page = html_report(result)
    assert f"{said}, stratified by domain" in page
    first, second = (number + 1 for number in result.data.examples)
    assert f"before each question the solved examples {first}, {second} (seed 2), and 2 questions" in page


def test_all_questions_are_no_sample(atlas):
    whole = search_layers(atlas, ITEMS, CONFIG.model_copy(update={"few_shot": 0, "limit": len(ITEMS)}))
    assert (whole.data.sampled, whole.data.seed, whole.data.sample) == (False, None, "")
    assert "sample" not in whole.verdict


def test_without_texts_nothing_of_the_file_is_left_but_numbers_and_domains(result):
    bare = result.without_texts()
    assert [(case.item, case.domain, case.right) for case in bare.errors] == [
        (case.item, case.domain, case.right) for case in result.errors
    ]
    document = bare.to_json()
    assert SearchResult.model_validate_json(document) == bare
    page = html_report(bare)
    for word in texts() - {"Answer:", "If", "I", "is", "its", "of", "the", "to", "What", "what", "Question:", "fly"}:
        assert word not in document
        assert word not in page
    for case in bare.errors:
        assert f"<p>question {case.item + 1} ({case.domain})</p>" in page
    assert bare.curves == result.curves


def test_the_texts_of_the_file_come_back(result):
    again = result.without_texts().with_texts(ITEMS)
    assert again.before == result.before
    assert [(case.item, case.prompt, case.answers) for case in again.errors] == [
        (case.item, case.prompt, case.answers) for case in result.errors
    ]
    page = html_report(again)
    for case in result.errors:
        assert f"question {case.item + 1}: {case.prompt} … <b>{case.answers[0]}</b></p>" in page
    assert result.with_texts(ITEMS) == result


@pytest.mark.parametrize("items", [ITEMS[:-1], ITEMS[::-1], []])
def test_the_texts_of_another_file_are_refused(result, items):
    with pytest.raises(ValueError, match="not those of the result; give the file that was measured"):
        result.without_texts().with_texts(items)


def test_a_search_without_texts_returns_and_writes_none(chatty, tmp_path, result):
    bare = search_layers(chatty, ITEMS, CONFIG, name="items.jsonl", sha256=SHA256, out=tmp_path, texts=False)
    same = {"seconds": 0}
    assert bare.model_copy(update=same) == result.without_texts().model_copy(update=same)
    assert SearchResult.model_validate_json((tmp_path / "result.json").read_text()) == bare
    assert (tmp_path / "report.html").read_text() == html_report(bare)


def test_the_customary_preamble_is_not_repeated_in_the_report(result):
    case = result.errors[0]
    longer = case.model_copy(update={"prompt": PREAMBLE + case.prompt})
    page = html_report(result.model_copy(update={"errors": (longer,)}))
    assert "without falling prey" not in page
    assert case.prompt in page


CONFIGS = [
    CONFIG,
    SearchConfig(alphas=(0.0, 0.3), metric="mc2", normalisation="mean", preamble=True, limit=7),
    SearchConfig(chat=True, rule=ScoringConfig(early_norm=False, post_softmax="off"), metric="said", seed=9),
    SearchConfig(layers=(3, 21), alphas=(0.2,)),
    SearchConfig(alphas=(0.0,), rule=ScoringConfig(apc=False)),
    SearchConfig(
        task="generate",
        metric="exact",
        few_shot=3,
        strategy="buckets",
        decoding=DecodingConfig(max_new_tokens=5, repetition_penalty=1.2, penalty_position="after", stop=("\n\n",)),
    ),
]


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_the_command_in_the_report_asks_for_the_same_search(result, config):
    measured = result.model_copy(update={"asked": config})
    command = repeating_command(measured)
    start = "python -m dola_core.layer_search --model chatty --data items.jsonl "
    assert command.startswith(start)
    options = command_line().parse_args(["--data", "items.jsonl", *command.removeprefix(start).split()])
    assert search_config(options, ITEMS) == config
    assert options.dtype == "float32"


def test_the_report_holds_the_command(result):
    assert f"<code>{repeating_command(result)}</code>" in html_report(result)


def test_there_is_no_command_for_what_the_command_cannot_do(result):
    sampled = SearchConfig(task="generate", metric="exact", decoding=DecodingConfig(temperature=0.5))
    assert repeating_command(result.model_copy(update={"asked": sampled})) == ""
    no_file = result.data.model_copy(update={"sha256": ""})
    assert repeating_command(result.model_copy(update={"data": no_file})) == ""
    assert "To measure the same again" not in html_report(result.model_copy(update={"data": no_file}))


def test_a_result_of_an_earlier_version_is_read(result):
    document = json.loads(result.to_json())
    for field in ("chat", "few_shot", "limit", "seed"):
        del document["asked"][field]
    for field in ("held", "left_out", "examples", "seed"):
        del document["data"][field]
    del document["before"]
    old = SearchResult.model_validate(document)
    assert old.errors == result.errors
    assert not old.data.sampled
    assert "To measure the same again" in html_report(old)


def test_measurements_of_an_earlier_version_are_gone_on_with(atlas):
    """Where nothing new is asked for, the key of a table is what it was: a hash of the fields that there were."""
    search = Search(atlas, ITEMS, SearchConfig(metric="accuracy"))
    asked = {
        "task": "mc", "strategy": "all", "alphas": [0.05, 0.1, 0.2], "metric": "accuracy", "normalisation": "sum",
        "rule": {"early_norm": True, "post_softmax": "head", "apc": True}, "decoding": None, "preamble": False,
    }  # fmt: skip
    parts = [search._model_fingerprint, [item.model_dump() for item in ITEMS], asked, [1, 2]]
    assert search._fingerprint((1, 2)) == hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def test_measurements_of_another_sample_or_other_examples_are_not_gone_on_with(chatty):
    configs = [SearchConfig(metric="accuracy", **more) for more in (
        {}, {"limit": 9}, {"limit": 9, "seed": 1}, {"few_shot": 2}, {"few_shot": 2, "seed": 1}, {"chat": True},
    )]  # fmt: skip
    assert len({Search(chatty, ITEMS, config)._fingerprint((1,)) for config in configs}) == len(configs)


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"few_shot": -1}, {"seed": -1}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        SearchConfig(**wrong)


def test_a_sample_is_told_from_what_examples_leave_out():
    whole = DataInfo(name="x", sha256="", items=8, of=8, held=10, left_out=2, examples=(0,), seed=0)
    assert not whole.sampled
    assert whole.model_copy(update={"of": 7}).sampled


def test_what_dola_mends_and_breaks_is_counted_question_by_question(chatty):
    """Against a count over the search's own table of metrics."""
    for config in (CONFIG, CONFIG.model_copy(update={"metric": "margin", "few_shot": 0})):
        search = Search(chatty, ITEMS, config)
        for _ in search.run():
            pass
        found = search.result()
        (table,) = search.rounds
        column = 1 + table.layers.index(found.chosen.layer) * len(table.alphas) + table.alphas.index(found.chosen.alpha)
        values = table.values[:, table.metrics.index(config.metric)]
        least = 0 if config.metric == "margin" else 0.5
        pairs = [(bool(row[0] > least), bool(row[column] > least)) for row in values]
        assert (found.chosen.mended, found.chosen.broken) == (pairs.count((False, True)), pairs.count((True, False)))
        assert found.chosen.mended + found.chosen.broken > 0


def test_the_counts_are_not_cut_where_the_lists_of_questions_are(chatty):
    search = Search(chatty, ITEMS, CONFIG)
    for _ in search.run():
        pass
    whole, short = search.result(), search.result(errors=1)
    assert (short.chosen.mended, short.chosen.broken) == (whole.chosen.mended, whole.chosen.broken)
    assert whole.chosen.mended + whole.chosen.broken == len(whole.errors) > len(short.errors)


def test_a_result_of_an_earlier_version_opens_without_counts(result):
    document = json.loads(result.to_json())
    del document["chosen"]["mended"], document["chosen"]["broken"]
    earlier = SearchResult.model_validate(document)
    assert earlier.chosen.mended is earlier.chosen.broken is None
    assert earlier.tested is None


def test_only_a_setting_that_was_chosen_before_is_recorded_as_tested(chatty, result):
    assert result.tested is None
    asked = SearchConfig(layers=(22,), alphas=(0.1,), metric="accuracy")
    found = search_layers(chatty, ITEMS, asked, name="items.jsonl")
    tested = found.tested
    assert (tested.data, tested.questions, tested.metric) == ("items.jsonl", len(ITEMS), "accuracy")
    assert (tested.mended, tested.broken) == (found.chosen.mended, found.chosen.broken)
    assert tested.gain == pytest.approx([100 * number for number in found.chosen.difference], abs=1e-3)
    assert search_layers(chatty, ITEMS[:9], asked).tested is None  # too few
    assert search_layers(chatty, ITEMS, asked.model_copy(update={"metric": "margin"})).tested is None  # in nats


def test_error_cases_that_are_not_analysed_hold_the_question_alone(chatty):
    search = Search(chatty, ITEMS, CONFIG)
    for _ in search.run():
        pass
    whole, alone, one = (search.result(analysed=analysed) for analysed in (None, 0, 1))
    assert [case.prompt for case in alone.errors] == [case.prompt for case in whole.errors]
    assert all(case.q_N and case.wrong for case in whole.errors)
    assert not any(case.q_N or case.wrong for case in alone.errors)
    assert sum(bool(case.q_N) for case in one.errors) == len({case.right for case in one.errors})
