"""What the tab for choosing j* shows: charts, words and tables of a search's result."""

import hashlib
import json
import re
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest

from app.inputs.known_model import SEARCH, KnownModel
from app.inputs.question_file import QuestionsError, questions_of, search_config
from app.jobs.queue.cancellation import Cancellations
from app.jobs.queue.run_queue import Waiting
from app.jobs.request import Limits
from app.language import ENGLISH, language
from app.render.figures import curve_card, halves_card
from app.render.search_summary import domain_rows, error_rows, take_label, verdict
from app.tabs.search.components import SearchTab
from app.tabs.search.handlers import SearchHandlers
from dola_core.errors import DATASET_ERRORS
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.layer_search.answers.scoring import ScoringConfig
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.result import ErrorCase, SearchResult
from dola_core.layer_search.search import search_layers
from dola_core.layer_search.search_config import SearchConfig
from dola_core.layer_search.selection import MIN_CLUSTERS
from dola_core.many_prompts.prompts import PROMPT_FILE_ERRORS
from tests.dola_core.layer_search.questions import CONFIG, ITEMS

CHINESE = language("zh")


@pytest.fixture(scope="module")
def found(loaded) -> SearchResult:
    return search_layers(loaded, ITEMS, CONFIG)


@pytest.fixture(scope="module")
def erring(found) -> SearchResult:
    """The same with two questions that one decoder had wrong."""
    cases = [
        ErrorCase(
            item=n, prompt=ITEMS[n].prompt, domain=ITEMS[n].domain, answers=ITEMS[n].answers, right=right, wrong="x"
        )
        for n, right in ((3, "baseline"), (30, "dola"))
    ]
    return found.model_copy(update={"errors": tuple(cases)})


def test_the_shipped_search_is_of_the_shipped_model_and_questions(loaded):
    result = KnownModel.of(loaded.info).search
    data = SHIPPED_MODEL / "validation.jsonl"
    assert result.complete
    assert result.data.sha256 == hashlib.sha256(data.read_bytes()).hexdigest()
    assert result.data.items == len(data.read_text(encoding="utf-8").splitlines())
    assert result.layers == tuple(range(1, 30))
    assert (SHIPPED_MODEL / SEARCH).with_name("report.html").is_file()


def test_the_shipped_search_and_the_models_evaluation_measured_the_same(loaded):
    result = KnownModel.of(loaded.info).search
    evaluation = json.loads((SHIPPED_MODEL / "evaluation.json").read_text(encoding="utf-8"))["validation"]["curve"]
    for metric in ("said", "chose"):
        curve, said = result.curves[metric], evaluation[metric]
        assert curve.baseline[0] == pytest.approx(said["baseline"][0], abs=1e-4)
        for n, row in enumerate(said["dola"]):
            for k, alpha in enumerate(evaluation["alphas"]):
                if alpha in result.asked.alphas:
                    there = curve.settings[n][result.asked.alphas.index(alpha)]
                    assert there[0] == pytest.approx(row[k][0], abs=1e-4)


def test_the_curves_are_the_results_and_a_point_knows_its_alpha(found):
    for metric in found.curves:
        card = curve_card(found, metric, ENGLISH)
        figure = go.Figure(card["figure"])
        assert [entry["text"] for entry in card["key"]] == [line.name for line in figure.data if line.name]
        lines = [line for line in figure.data if line.name and line.name.startswith("α")]
        assert len(lines) == len(CONFIG.alphas)
        for n, (line, alpha) in enumerate(zip(lines, CONFIG.alphas, strict=True)):
            assert list(line.x) == list(found.layers)
            np.testing.assert_allclose(line.y, [row[n][0] for row in found.curves[metric].settings])
            assert {point[0] for point in line.customdata} == {alpha}
        assert [line.y[0] for line in figure.data if line.name == "plain"] == [found.curves[metric].baseline[0]]


def test_the_halves_are_shares_of_all_layers(found):
    (bars,) = go.Figure(halves_card(found, ENGLISH)["figure"]).data
    assert sum(bars.y) == pytest.approx(1, abs=1e-3)
    assert halves_card(found.model_copy(update={"stability": None}), ENGLISH) is None


def test_below_twenty_questions_no_layer_is_marked_and_none_is_to_be_taken(found):
    few = found.model_copy(update={"stability": None})
    enough, less = (curve_card(one, "mc1", ENGLISH) for one in (found, few))
    chosen = f"j* = {found.chosen.layer}"
    assert [mark["text"] for mark in enough["figure"]["layout"]["annotations"]] == [chosen]
    assert not less["figure"]["layout"].get("shapes")
    assert not less["figure"]["layout"].get("annotations")
    assert chosen in enough["alt"]
    assert chosen not in less["alt"]
    assert len({line["opacity"] for line in less["figure"]["data"] if "opacity" in line}) == 1
    assert (take_label(found, ENGLISH) is None, take_label(few, ENGLISH)) == (False, None)


def test_a_chart_has_one_short_line_and_tells_the_rest_where_it_is_asked_for(found):
    card = curve_card(found, "mc1", ENGLISH)
    assert card["sub"] == f"{found.data.name}: 42 of 42 questions"
    assert len(card["more"]) == 2
    assert card["hints"] == [ENGLISH("search.curve_click")]
    assert len(halves_card(found, ENGLISH)["more"]) == 1
    one = found.model_copy(update={"data": found.data.model_copy(update={"items": 1, "of": 1})})
    assert curve_card(one, "mc1", ENGLISH)["sub"].endswith("1 of 1 question")


@pytest.mark.parametrize("words", [ENGLISH, CHINESE], ids=lambda words: words.code)
def test_the_verdict_says_what_the_core_says(found, words):
    said = verdict(found, words).whole
    assert f"j* = {found.chosen.layer}, α = {found.chosen.alpha:g}" in said
    gain = f"{100 * found.stability.gain[0]:+.1f}".replace("-", "−")
    assert gain in said
    assert gain in found.verdict
    if words is ENGLISH:
        assert said.startswith(found.verdict.partition(":")[0].replace("the baseline", "plain decoding"))
    assert verdict(found.model_copy(update={"stability": None}), words).whole == words(
        "search.few", fewest=MIN_CLUSTERS
    )


@pytest.mark.parametrize("words", [ENGLISH, CHINESE], ids=lambda words: words.code)
def test_of_a_setting_that_was_chosen_before_no_choice_is_shown(found, words):
    asked = {"layers": (found.layers[0],), "alphas": found.asked.alphas[:1]}
    alone = found.model_copy(update={"layers": asked["layers"], "asked": found.asked.model_copy(update=asked)})
    said, difference = verdict(alone, words).whole, found.chosen.difference
    assert f"{100 * difference.mean:+.1f}".replace("-", "−") in said
    assert f"j* = {found.chosen.layer}, α = {found.chosen.alpha:g}" in said
    assert said != verdict(found, words).whole
    assert halves_card(alone, words) is None


def test_domains_that_disagree_are_named(found):
    domain = {
        "name": "odd", "items": 40, "layer": 3, "alpha": 0.1, "layers": (2, 5), "baseline": (0.5, 0.4, 0.6),
        "fixed": (0.4, 0.3, 0.5), "own": (0.7, 0.6, 0.8), "gain": (0.3, 0.1, 0.5), "disagrees": True,
    }  # fmt: skip
    other = SearchResult.model_validate(found.model_dump() | {"domains": [domain]})
    said = verdict(other, ENGLISH).whole
    assert (
        "on odd it loses 30.0 points (95 % interval +10.0 to +50.0) to a setting chosen there, such as j* = 3" in said
    )
    assert domain_rows(other, ENGLISH)["rows"] == [["odd", "40", "3 (2–5)", "+30.0 (+10.0 to +50.0)"]]


def test_every_error_has_its_row(erring):
    rows = {who: error_rows(erring, who, ENGLISH)["rows"] for who in ("baseline", "dola")}
    assert sum(map(len, rows.values())) == len(erring.errors)
    for who, cases in rows.items():
        prompts = [case.prompt for case in erring.errors if case.right == who]
        assert [row[0] for row in cases] == prompts


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"prompt": "a", "answers": ["b"] * 40}, "Question 1 has 40 answers; at most 32"),
        ({"prompt": "a" * 5000, "answers": ["b"]}, "Question 1 holds a text of more than 4,000 characters"),
        ({"prompt": "a", "answers": ["b"], "entity": "e" * 5000}, "Question 1 holds a text"),
        ({"prompt": " ", "answers": ["b"]}, "mine.jsonl, line 1: prompt is empty"),
        ({"prompt": "a", "answers": []}, "mine.jsonl, line 1: answers"),
    ],
)
def test_a_strangers_file_is_bounded_and_its_mistake_told_in_both_languages(tmp_path, line, said):
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(line))
    with pytest.raises(QuestionsError, match=said) as refused:
        questions_of(str(file))
    assert re.search("[\u4e00-\u9fff]", refused.value.message(CHINESE))


@pytest.mark.parametrize(
    ("items", "metric"),
    [
        ([Item(prompt="a", answers=("b",), wrong=("c",))], "accuracy"),
        ([Item(prompt="a", answers=("b", "d"), wrong=("c",))], "mc1"),
        ([Item(prompt="a", answers=("b",), wrong=("c",)), Item(prompt="a", answers=("b",))], "said"),
    ],
)
def test_what_is_measured_follows_the_questions(items, metric):
    assert search_config(items, ScoringConfig()).metric == metric


@pytest.mark.parametrize("metric", [None, "nothing", ["said"], {"said": 1}, 3])
def test_whatever_metric_a_browser_sends_one_of_the_results_is_shown(found, metric):
    assert SearchTab.metric_of(found, metric) == found.asked.metric
    assert SearchTab.metric_of(found, "said") == "said"


def test_what_may_be_wrong_with_a_file_reads_the_same_on_the_page_as_in_python():
    assert ENGLISH.section("file") == PROMPT_FILE_ERRORS | DATASET_ERRORS


@pytest.mark.parametrize("same", [True, False])
def test_the_file_of_a_result_without_texts_fills_them_in_and_another_file_is_measured(tmp_path, erring, same):
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(f"{item.model_dump_json()}\n" for item in ITEMS), encoding="utf-8")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    bare = erring.without_texts()
    data = erring.data.model_copy(update={"sha256": sha256 if same else "0" * 64, "held": len(ITEMS)})
    facts = SimpleNamespace(
        known=KnownModel(search=bare.model_copy(update={"data": data})), preset=SimpleNamespace(early_norm=True)
    )
    measured = []

    def in_turn(*given):
        measured.append(given)
        yield from ()

    host = SimpleNamespace(
        pool=SimpleNamespace(facts=lambda name: facts, first=facts), in_turn=in_turn, limits=Limits(),
        queue=SimpleNamespace(),
    )  # fmt: skip
    tab = SimpleNamespace(upload="upload", limit="limit", result="result", notice="notice")
    on = SearchHandlers(host, "model", tab, None, None, None, "language", "number", Cancellations())
    values = {"upload": str(file), "limit": 200, "model": "m", "language": "en", "number": 0}
    changes = list(on.search(values, SimpleNamespace(session_hash="someone")))
    assert bool(measured) != same
    if same:
        ((shown),) = changes
        assert not shown["result"].lacks_texts
        assert [case.prompt for case in shown["result"].errors] == [ITEMS[case.item].prompt for case in erring.errors]
        assert "filled in" in shown["notice"]["text"]


def test_a_result_lacks_texts_or_has_them(erring):
    assert not erring.lacks_texts
    assert erring.without_texts().lacks_texts


@pytest.mark.parametrize("fails", [False, True])
def test_a_search_under_way_is_not_shown_under_another_model(tmp_path, found, fails):
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(f"{item.model_dump_json()}\n" for item in ITEMS), encoding="utf-8")
    cancellations = Cancellations()
    facts = SimpleNamespace(known=KnownModel(), preset=SimpleNamespace(early_norm=True))

    def in_turn(*_given):
        waiting = Waiting(ahead=1, seconds=None, behind_own=False)
        yield waiting
        cancellations.abandon("someone")
        if fails:
            raise RuntimeError("the former model fails")
        yield waiting

    pool = SimpleNamespace(facts=lambda name: facts, first=facts, release=lambda: None)
    host = SimpleNamespace(pool=pool, in_turn=in_turn, limits=Limits())
    tab = SimpleNamespace(upload="upload", limit="limit", result="result", notice="notice")
    on = SearchHandlers(host, "model", tab, None, None, None, "language", "number", cancellations)
    values = {
        "upload": str(file),
        "limit": 200,
        "model": "m",
        "language": "en",
        "number": cancellations.register("someone"),
    }
    assert len(list(on.search(values, SimpleNamespace(session_hash="someone")))) == 1


def test_what_stands_beside_the_curves_is_drawn_and_takes_no_click(loaded):
    """A curve for each strength and a level line for each bucket, none of which carries a setting."""
    result = search_layers(
        loaded, ITEMS, SearchConfig(alphas=(0.1,), metric="said", buckets=("low", "high"), betas=(0.5, 1.5))
    )
    lines = {line["name"]: line for line in curve_card(result, "said", ENGLISH)["figure"]["data"] if "name" in line}
    assert {"β = 0.5", "β = 1.5", "dynamic:low", "dynamic:high"} <= set(lines)
    assert not any("beta=" in name for name in lines)
    for name, line in lines.items():
        if name.startswith("β"):
            assert len(line["y"]) == len(result.layers)
        if name.startswith("dynamic"):
            assert len(set(line["y"])) == 1
        if not name.startswith("α") and "customdata" in line:
            assert all(custom[0] is None for custom in line["customdata"])
