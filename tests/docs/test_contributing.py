"""CONTRIBUTING.md and CHANGELOG.md tell the truth: commands run, places exist, and nothing is left out."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import dola_core

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HOSTING = (ROOT / "assets" / "space" / "README.md").read_text(encoding="utf-8")
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
MAKE = [command for command in COMMANDS if command[0] == "make"]
PYTHON = [command[1:] for command in COMMANDS if command[0] == ".venv/bin/python"]


def run(*command: str) -> str:
    """What a command prints from the project's folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "DOLA_"))}
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def code_spans(text: str) -> list[str]:
    """What stands between single backticks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def test_a_person_reads_it_at_one_sitting():
    assert len(GUIDE.splitlines()) < 100


def test_every_command_is_of_a_kind_that_is_run_here():
    assert len(MAKE) + len(PYTHON) == len(COMMANDS) > 10


@pytest.mark.parametrize("command", PYTHON, ids=" ".join)
def test_the_commands_of_python_run(command):
    assert run(sys.executable, *command).strip()


@pytest.mark.parametrize("command", MAKE, ids=" ".join)
def test_make_knows_what_to_do(command):
    # Without looking at what is installed: the environment's own files count as new.
    assert run("make", "-n", "-o", ".venv/.dev", "-o", ".venv/.user", "-o", ".venv-peers/.peer", *command[1:]).strip()


def test_every_target_of_make_is_explained():
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    phony = set(" ".join(re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)).split())
    named = set(re.findall(r"^make ([a-z-]+)|; make ([a-z-]+)", GUIDE, re.MULTILINE))
    named = {name for pair in named for name in pair if name}
    assert targets == phony
    assert named <= targets
    assert targets - named == {"browser", "clean"}  # the first is part of others


def test_every_place_it_names_exists():
    spans = code_spans(GUIDE)
    paths = {span for span in spans if re.fullmatch(r"[\w.-]+(/[\w.-]*)+", span) and not span.startswith(".venv")}
    files = {span for span in spans if re.fullmatch(r"\w+\.(py|toml)", span)}
    assert len(paths) > 20
    # Some are named after a neighbour, such as `sharing/` after `app/toolbar/`.
    folders = {ROOT, *(ROOT / path for path in paths), *((ROOT / path).parent for path in paths)}
    assert [path for path in paths | files if not any((folder / path).exists() for folder in folders)] == []


def test_every_folder_of_the_packages_has_a_line():
    table = GUIDE.partition("## Where things live")[2].partition("\n## ")[0]
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("[ad]*/*/__init__.py")]
    assert len(folders) > 8
    assert [folder.as_posix() for folder in folders if f"{folder.name}/`" not in table] == []


def test_every_name_of_the_code_that_it_leads_to_is_there():
    spans = [span for span in code_spans(GUIDE) if re.fullmatch(r"_?[A-Z]\w+(\.\w+)?|_?[a-z]+_\w+", span)]
    names = {span.split(".")[-1] for span in spans}
    assert names >= {"Lane", "lane_text", "Inspection", "find_parts", "ReadingRules"}
    paths = [path for part in ("dola_core", "app", "tests") for path in (ROOT / part).rglob("*.py")]
    source = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    assert [
        name for name in names if not re.search(rf"(class|def) {name}\b|^ *{name}(: [^=]+)? =", source, re.MULTILINE)
    ] == []


def test_the_hooks_are_the_rules_of_make_lint():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    assert [entry.split()[:2] for entry in entries] == [[".venv/bin/ruff", "check"], [".venv/bin/ruff", "format"]]
    lint = MAKEFILE.partition("\nlint:")[2].partition("\n\n")[0]
    assert re.findall(r"\$\(BIN\)/(.+)", lint) == ["ruff check .", "ruff format --check .", "mypy"]


def test_mypy_leaves_out_nothing_without_a_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    mypy = tomllib.loads(text)["tool"]["mypy"]
    assert "dola_core" in mypy["files"]
    for override in re.split(r"^\[\[tool\.mypy\.overrides\]\]\n", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"^# .+", override.partition("\n[")[0], re.MULTILINE), override
    assert not [one for override in mypy["overrides"] for one in override["module"] if one.startswith("dola_core")]


def test_the_changes_begin_with_the_unreleased_and_name_the_version():
    headings = re.findall(r"^## (.+)$", CHANGES, re.MULTILINE)
    assert headings[:2] == ["Unreleased", dola_core.__version__]
    assert set(re.findall(r"^### (.+)$", CHANGES, re.MULTILINE)) <= {"Added", "Changed", "Fixed", "Removed"}


def test_the_hosting_notes_name_settings_with_their_defaults():
    from app.settings import Settings

    rows = re.findall(r"^\| `DOLA_(\w+)` \| ([^|]+) \|", HOSTING, re.MULTILINE)
    assert len(rows) > 3
    for name, default in rows:
        value = Settings.model_fields[name.lower()].default
        assert default == ("what the model reads" if value is None else "none" if value in ("", ()) else str(value))
