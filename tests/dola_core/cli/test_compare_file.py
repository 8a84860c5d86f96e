"""`dola compare-file`: a row for each prompt of a file, taken up again where it was left."""

import json

import pytest

from dola_core.cli import compare as command
from dola_core.many_prompts import run
from dola_core.trace.schema import Trace

PROMPTS = ["The capital of Peru is", "Gold is a", "The capital of Australia is"]
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
    return file


def called(prompts, tmp_path, *more: str) -> int:
    return command.main(
        ["compare-file", prompts, "--out", tmp_path / "runs.jsonl", "--max-new-tokens", "8", *map(str, more)]
    )


def rows(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_prompt_gets_a_row_and_a_trace(prompts, tmp_path, capsys):
    lanes = ("--lane", "plain", "--lane", "static:12,alpha=0.01", "--lane", "dynamic:high")
    assert called(prompts, tmp_path, *lanes, "--traces", tmp_path / "traces") == 0
    found = rows(tmp_path)
    assert [row["prompt"] for row in found] == PROMPTS
    assert all(len(row["texts"]) == 3 for row in found)
    for row in found:
        trace = Trace.model_validate_json((tmp_path / "traces" / f"{row['number']:06}.json").read_bytes())
        assert (trace.digest, trace.prompt) == (row["digest"], row["prompt"])
    differ = sum(row["differing"] > 0 for row in found)
    assert (
        f"3 prompts in {tmp_path / 'runs.jsonl'}: on {differ} the lanes choose differently." in capsys.readouterr().out
    )


def test_what_is_there_is_not_run_again(prompts, tmp_path, monkeypatch):
    assert called(prompts, tmp_path) == 0
    whole = (tmp_path / "runs.jsonl").read_bytes()
    (tmp_path / "runs.jsonl").write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 20])  # as a kill leaves it
    ran, original = [], run.run_prompts

    def noted(engine, missing, *rest, **named):
        ran.extend(missing)
        return original(engine, missing, *rest, **named)

    monkeypatch.setattr(run, "run_prompts", noted)
    assert called(prompts, tmp_path) == 0
    assert [number for number, _ in ran] == [3]
    assert (tmp_path / "runs.jsonl").read_bytes() == whole


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--lane", "static:99"], "from 1 to 29"),
        (["--lane", "unheard-of"], "unheard-of"),
        (["--max-rows", "0"], "--max-rows must be from 1 to 256; got 0."),
        (["--max-rows", "999999999"], "--max-rows must be from 1 to 256; got 999999999."),
        (["--max-new-tokens", "0"], "--max-new-tokens: must be at least 1 (got 0)."),
        (["--out", "/nowhere/runs.jsonl"], "/nowhere/runs.jsonl cannot be written: there is no folder /nowhere."),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(prompts, tmp_path, capsys, more, said):
    assert called(prompts, tmp_path, *more) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "runs.jsonl").exists()


def test_other_settings_need_another_file(prompts, tmp_path, capsys):
    assert called(prompts, tmp_path) == 0
    before = (tmp_path / "runs.jsonl").read_bytes()
    assert called(prompts, tmp_path, "--lane", "plain", "--lane", "dynamic:high") == 2
    assert "name another file for --out." in capsys.readouterr().err
    assert (tmp_path / "runs.jsonl").read_bytes() == before


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    assert called(tmp_path / "none.txt", tmp_path) == 2
    assert "none.txt cannot be read: No such file or directory." in capsys.readouterr().err


def test_the_rows_as_a_page_hold_their_comparisons(prompts, tmp_path):
    assert called(prompts, tmp_path, "--html", tmp_path / "runs.html") == 0
    page = (tmp_path / "runs.html").read_text(encoding="utf-8")
    assert page.count('<tr class="row"') == page.count("<template>") == 3
    assert all(prompt in page for prompt in PROMPTS)
    assert sorted(file.name for file in (tmp_path / "runs.traces").iterdir()) == [f"{n:06}.json" for n in (1, 2, 3)]
    (tmp_path / "runs.html").unlink()
    assert called(prompts, tmp_path, "--html", tmp_path / "runs.html") == 0, "made again without running anything"
    assert (tmp_path / "runs.html").read_text(encoding="utf-8") == page
