"""The command line: what it writes, and how it is interrupted, resumed and refused."""

import hashlib
import json
from pathlib import Path

import pytest

from dola_core.layer_search import __main__ as command
from dola_core.layer_search.questions.dataset import write_items
from dola_core.layer_search.result import SearchResult
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
            "--metric", "mc2")  # fmt: skip
    assert run(data, *more) == 0
    result = json.loads((data.parent / "out" / "result.json").read_text())
    assert result["asked"]["rule"] == {"early_norm": False, "post_softmax": "vocabulary", "apc": False}
    assert (result["asked"]["normalisation"], result["asked"]["alphas"]) == ("mean", [0.0])
    assert result["data"]["items"] == 4


def test_an_interrupted_search_leaves_a_valid_result_and_can_be_resumed(data, monkeypatch, capsys):
    assert run(data) == 0
    whole = (data.parent / "out" / "result.json").read_text()

    def stop_after_five(bar, n):
        if n >= 5:  # the bar does not advance, so n is the number of questions done
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dola_core.layer_search.scoring.BATCH_TOKENS", 1)
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
        (("--alphas", "0.1,2"), "α must be numbers from 0 to 1"),
        (("--metric", "exact"), "exact is no metric of the task mc"),
        (("--task", "generate", "--metric", "mc1"), "mc1 is no metric of the task generate"),
        (("--format", "factor"), "line 1: the column"),
        (("--model", "/nowhere/at/all"), "/nowhere/at/all"),
        (("--limit", "0"), "There are no questions"),
        (("--task", "generate", "--max-new-tokens", "0"), "max_new_tokens: Input should be greater"),
    ],
)
def test_a_wrong_option_ends_with_a_message(data, capsys, more, message):
    with pytest.raises(SystemExit) as ended:
        run(data, *more)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_write_stores_the_choice_beside_the_weights(data, monkeypatch, atlas, tmp_path):
    monkeypatch.setattr(atlas.model, "name_or_path", str(tmp_path))
    monkeypatch.setattr("dola_core.models.loading.load_model", lambda *_, **__: atlas)
    assert run(data, "--write", "--raw-early") == 0
    result = SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())
    stored = json.loads((tmp_path / "dola_static.json").read_text())
    assert (stored["layer"], stored["alpha"]) == (result.chosen.layer, result.chosen.alpha)
    assert stored["early_norm"] is False
    assert stored["finding"] == result.verdict
