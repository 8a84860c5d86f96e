"""The README tells the truth: its code runs, its commands exist, its front matter is what a Space needs."""

import re
import shlex
from pathlib import Path

import pytest

from dola_core.cli.compare import main as dola
from dola_core.layer_search.__main__ import main as dola_layer_search

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PYTHON, SHELL, OUTPUT = ([block for kind, block in BLOCKS if kind == name] for name in ("python", "sh", ""))


def arguments_of(command: str) -> list[str]:
    """What follows `command` in the README."""
    [line] = [line for block in SHELL for line in block.splitlines() if line.startswith(f"{command} ")]
    return shlex.split(line.removeprefix(command))


# What asks a running page is run in tests/hosting/test_api.py.
@pytest.mark.parametrize("code", [code for code in PYTHON if "Client(" not in code])
def test_the_examples_run(code, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_the_comparison_in_the_terminal_prints_what_is_shown(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert dola([*arguments_of("python -m dola_core"), "--device", "cpu", "--dtype", "float32"]) == 0
    [shown] = OUTPUT
    assert shown.removesuffix("…\n") in capsys.readouterr().out
    assert (tmp_path / "out.json").is_file()


def test_the_search_command_takes_its_options_and_asks_for_the_file(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where there is no TruthfulQA.csv
    with pytest.raises(SystemExit) as refused:
        dola_layer_search(arguments_of("python -m dola_core.layer_search"))
    assert refused.value.code == 2
    assert "TruthfulQA.csv cannot be read" in capsys.readouterr().err


def test_every_make_command_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    hosting = (ROOT / "assets" / "space" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README + hosting, re.MULTILINE))
    assert {"demo", "test", "space"} <= named <= targets


def test_no_command_is_left_out():
    commands = [line.split()[:3] for block in SHELL for line in block.splitlines()]
    assert sorted(command[0] for command in commands) == ["make", "make", "python", "python"]
    assert len(PYTHON) + len(SHELL) + len(OUTPUT) == len(BLOCKS) == README.count("```") / 2


def test_the_front_matter_is_a_spaces():
    front = dict(re.findall(r"^([a-z_A-Z]+): *(.*)$", README.split("---")[1], re.MULTILINE))
    assert front["sdk"] == "gradio"
    assert f"gradio=={front['sdk_version']}" in (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert (ROOT / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60
    assert {"title", "emoji", "python_version", "models", "license"} <= front.keys()


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "assets/space/README.md"])
def test_every_linked_file_is_there(file):
    path = ROOT / file
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("https://") and not (path.parent / link).exists()] == []
