"""The README tells the truth: its code runs, its commands exist, its front matter is what a Space needs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


CODES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


# What asks a running page is run in tests/hosting/test_api.py.
@pytest.mark.parametrize("code", [code for code in CODES if "Client(" not in code])
def test_the_examples_run(code, capsys):
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_every_make_command_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)[ `\n]", README)) - {"and"}
    assert {"demo", "test", "lint"} <= named <= targets


def test_the_front_matter_is_a_spaces():
    front = dict(re.findall(r"^([a-z_A-Z]+): *(.*)$", README.split("---")[1], re.MULTILINE))
    assert front["sdk"] == "gradio"
    assert f"gradio=={front['sdk_version']}" in (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert (ROOT / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60
    assert {"title", "emoji", "python_version", "models", "license"} <= front.keys()


def test_every_linked_file_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link
