"""The command line: what it writes, and how it is interrupted, resumed and refused."""

import hashlib
import json
from pathlib import Path

import pytest

from dola_core.errors import QuestionTooLongError
from dola_core.layer_search import __main__ as command
from dola_core.layer_search.evaluate import MetricTable, evaluate_items
from dola_core.layer_search.questions.dataset import write_items
from dola_core.layer_search.questions.sample import measured_questions
from dola_core.layer_search.result import SearchResult
from dola_core.layer_search.search_config import SearchConfig
from tests.dola_core.layer_search.questions import ITEMS


@pytest.fixture
def data(tmp_path) -> Path:
    """A file of questions; the command writes into the folder `out` beside it."""
    write_items(tmp_path / "items.jsonl", ITEMS)
    return tmp_path / "items.jsonl"


def run(data, *more):
    quick = ("--device", "cpu", "--dtype", "float32", "--strategy", "grid", "--alphas", "0.1,0.5")
    return command.main(["--data", str(data), "--out", str(data.parent / "out"), *quick, *more])


def test_the_command_writes_a_result_and_prints_the_verdict(data, capsys):
    assert run(data) == 0
    result = SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())
    assert result.asked.metric == "accuracy"  # one right answer each
    assert result.data.sha256 == hashlib.sha256(data.read_bytes()).hexdigest()
    assert result.verdict in capsys.readouterr().out


def test_the_options_are_recorded_in_the_result(data):
    more = ("--raw-early", "--post-softmax", "vocabulary", "--no-apc", "--limit", "4", "--normalise", "mean",
            "--metric", "mc2", "--seed", "5", "--few-shot", "1")  # fmt: skip
    assert run(data, *more) == 0
    result = json.loads((data.parent / "out" / "result.json").read_text())
    assert result["asked"]["rule"] == {"early_norm": False, "post_softmax": "vocabulary", "apc": False}
    assert (result["asked"]["normalisation"], result["asked"]["alphas"]) == ("mean", [0.0])
    assert {name: result["asked"][name] for name in ("limit", "seed", "few_shot", "chat")} == {
        "limit": 4, "seed": 5, "few_shot": 1, "chat": False,
    }  # fmt: skip
    assert (result["data"]["items"], result["data"]["held"], result["data"]["seed"]) == (4, len(ITEMS), 5)
    assert len(result["data"]["examples"]) == 1


def test_an_interrupted_search_leaves_a_valid_result_and_can_be_resumed(data, monkeypatch, capsys):
    assert run(data) == 0
    whole = (data.parent / "out" / "result.json").read_text()

    def stop_after_five(bar, n):
        if n >= 5:  # the bar does not advance, so n is the number of questions done
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dola_core.layer_search.answers.batches.BATCH_TOKENS", 1)
        patch.setattr("dola_core.layer_search.__main__.tqdm.update", stop_after_five)
        assert run(data) == 130
    assert "--resume" in capsys.readouterr().err
    part = SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())
    assert (part.complete, part.data.items, part.data.of) == (False, 5, len(ITEMS))
    updates = []
    monkeypatch.setattr("dola_core.layer_search.__main__.tqdm.update", lambda bar, n: updates.append(n))
    assert run(data, "--resume") == 0
    assert 0 < len(updates) <= len(ITEMS) - 5
    again = json.loads((data.parent / "out" / "result.json").read_text())
    assert again | {"seconds": 0} == json.loads(whole) | {"seconds": 0}


@pytest.mark.parametrize("more", [("--normalise", "mean"), ("--raw-early",), ("--post-softmax", "off")])
def test_a_search_is_not_resumed_with_other_settings(data, capsys, more):
    assert run(data) == 0
    with pytest.raises(SystemExit):
        run(data, "--resume", *more)
    assert "other settings; start without --resume" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_resuming_from_a_damaged_file_ends_with_a_message(data, capsys, content):
    (data.parent / "out").mkdir()
    (data.parent / "out" / "measured-1.npz").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        run(data, "--resume")
    assert ended.value.code == 2
    assert "measured-1.npz is spoiled; start without --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--layers", "0,3"), "layers must be numbers from 1"),
        (("--layers", "3,x"), "layers must be numbers from 1"),
        (("--alphas", "0.1,2"), "α must be numbers from 0 to 1"),
        (("--metric", "exact"), "exact is no metric of the task mc"),
        (("--metric", "contains"), "contains is no metric of the task mc"),
        (("--task", "generate", "--metric", "mc1"), "mc1 is no metric of the task generate"),
        (("--format", "factor"), "line 1: the column"),
        (("--limit", "0"), "--limit must be a number of questions."),
        (("--seed", "-1"), "seed: must be at least 0"),
        (("--few-shot", "42"), "There are 42 questions, too few for 42 solved examples beside them; ask for fewer."),
        (("--few-shot", "2", "--chat"), "leave out few_shot, or else chat and preamble."),
        (("--few-shot", "2", "--preamble"), "leave out few_shot, or else chat and preamble."),
        (("--task", "generate", "--max-new-tokens", "0"), "max_new_tokens: must be at least 1"),
    ],
)
def test_a_wrong_option_ends_with_a_message_before_the_model_is_loaded(data, monkeypatch, capsys, more, message):
    monkeypatch.setattr("dola_core.models.loading.load_model", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(SystemExit) as ended:
        run(data, *more)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--model", "/nowhere/at/all"), "/nowhere/at/all"),
        (("--chat",), "error: atlas-30l has no chat template; leave out chat."),
    ],
)
def test_a_model_that_cannot_do_what_is_asked_ends_with_a_message(data, capsys, more, message):
    with pytest.raises(SystemExit):
        run(data, *more)
    assert message in capsys.readouterr().err
    assert not [*data.parent.glob("out/*")]


def test_a_question_that_is_refused_has_its_number_in_the_file(data, atlas, monkeypatch, capsys):
    monkeypatch.setattr("dola_core.models.loading.load_model", lambda *_, **__: atlas)
    drawn = measured_questions(ITEMS, limit=5)
    number, item = drawn.numbers[3], drawn.items[3]
    for change, message in (
        ({"prompt": "word " * 600}, f"Question {number + 1} has"),
        ({"wrong": ()}, f"Question {number + 1} offers no wrong answer"),
    ):
        write_items(data, [*ITEMS[:number], item.model_copy(update=change), *ITEMS[number + 1 :]])
        with pytest.raises(SystemExit):
            run(data, "--limit", "5")
        assert message in capsys.readouterr().err


def test_a_resumed_search_names_a_question_by_its_number_in_the_file(atlas):
    long = ITEMS[2].model_copy(update={"prompt": "word " * 600})
    table = MetricTable(3, ("said",), (22,), (0.1,))
    table.done[0] = True
    with pytest.raises(QuestionTooLongError, match="Question 3 has"):
        list(evaluate_items(atlas, [*ITEMS[:2], long], SearchConfig(metric="said"), table))
    with pytest.raises(QuestionTooLongError, match="Question 31 has"):
        list(evaluate_items(atlas, [*ITEMS[:2], long], SearchConfig(metric="said"), table, numbers=(4, 9, 30)))


def test_the_hash_is_of_the_questions_that_were_measured(data, atlas, monkeypatch):
    """A file may be saved again while the model loads."""
    before = hashlib.sha256(data.read_bytes()).hexdigest()

    def load(*_, **__):
        write_items(data, ITEMS[:2])
        return atlas

    monkeypatch.setattr("dola_core.models.loading.load_model", load)
    assert run(data) == 0
    result = SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())
    assert (result.data.sha256, result.data.items) == (before, len(ITEMS))


@pytest.fixture
def bare(data, chatty, monkeypatch, capsys) -> Path:
    """The result of a search without texts."""
    monkeypatch.setattr("dola_core.models.loading.load_model", lambda *_, **__: chatty)
    assert run(data, "--no-texts", "--few-shot", "2", "--limit", "30") == 0
    monkeypatch.setattr("dola_core.models.loading.load_model", lambda *_, **__: pytest.fail("the model was loaded"))
    capsys.readouterr()
    return data.parent / "out" / "result.json"


def show(result, data, *more):
    return command.main(["--show", result, "--data", data, "--out", data.parent / "shown", *more])


def test_a_result_without_texts_is_shown_with_those_of_its_file(bare, data, capsys):
    written = "".join(file.read_text() for file in bare.parent.iterdir() if file.suffix in (".json", ".html"))
    assert not [name for item in ITEMS for name in (item.entity, *item.answers) if name in written]
    assert show(bare, data) == 0
    report = data.parent / "shown" / "report.html"
    assert capsys.readouterr().out == f"Written: {report}\n"
    cases = SearchResult.model_validate_json(bare.read_text()).errors
    assert cases
    page = report.read_text()
    assert all(ITEMS[case.item].prompt in page for case in cases)
    assert [*report.parent.iterdir()] == [report]


def test_a_result_is_shown_with_no_other_file(bare, data, capsys):
    other = data.with_name("other.jsonl")
    other.write_bytes(data.read_bytes() + b"\n")
    broken, nowhere = data.with_name("broken.json"), data.with_name("nowhere.json")
    broken.write_text('{"schema": 2}')
    sha256 = hashlib.sha256(data.read_bytes()).hexdigest()
    for result, file, message in (
        (bare, other, f"{bare} was measured on another file than {other}; give the items.jsonl whose SHA-256 is "
         f"{sha256}."),
        (bare, nowhere, "nowhere.json cannot be read: No such file or directory."),
        (nowhere, data, f"{nowhere} cannot be read: No such file or directory."),
        (broken, data, f"{broken} is no result of a layer search (schema: must be 1)."),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            show(result, file)
        assert ended.value.code == 2
        assert capsys.readouterr().err.splitlines()[-1].partition(" error: ")[2] == message
    assert not (data.parent / "shown").exists()


def test_write_stores_the_choice_beside_the_weights(data, monkeypatch, atlas, tmp_path):
    monkeypatch.setattr(atlas.model, "name_or_path", str(tmp_path))
    monkeypatch.setattr("dola_core.models.loading.load_model", lambda *_, **__: atlas)
    assert run(data, "--write", "--raw-early") == 0
    result = SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())
    stored = json.loads((tmp_path / "dola_static.json").read_text())
    assert (stored["layer"], stored["alpha"]) == (result.chosen.layer, result.chosen.alpha)
    assert stored["early_norm"] is False
    assert stored["finding"] == result.verdict
