"""The examples of docs/many-prompts.md run, and the table there names every field of a row."""

import re
import shlex
from pathlib import Path

from dola_core.cli.compare import main as dola
from dola_core.many_prompts.rows import PromptRow

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "many-prompts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("The capital of Peru is\nGold is a\nThe capital of Australia is\n", encoding="utf-8")
    [(_, command), (_, code)] = BLOCKS
    assert [kind for kind, _ in BLOCKS] == ["sh", "python"]
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "dola_core"]
    assert dola([*words[3:], "--device", "cpu", "--dtype", "float32"]) == 0
    assert Path("runs.html").is_file()
    assert len(list(Path("runs.traces").iterdir())) == 3
    capsys.readouterr()
    exec(compile(code, "many-prompts.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"[123] of 3 prompts", first)
    assert second in Path("prompts.txt").read_text(encoding="utf-8").splitlines()


def test_every_field_of_a_row_is_explained():
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", GUIDE, re.MULTILINE))))
    assert named == set(PromptRow.model_fields)
