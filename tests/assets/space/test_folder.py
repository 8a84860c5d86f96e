"""The folder that is a Hugging Face Space as it is: what it holds, and when it is refused."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import gradio as gr
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import app.paths
import dola_core.files.paths
from app.inputs.known_model import EXAMPLES, SEARCH
from app.paths import MODELS
from tests.assets.space.assembling import HUB_MODEL, SCRIPT, assemble, front_matter, tree
from tests.server import ROOT, load_module

KEYS = {
    "title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "models", "license",
    "short_description", "suggested_hardware",
}  # fmt: skip
"""Keys of a Space's front matter that are used here."""
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
ZERO_TORCH, ZERO_PYTHON = {"2.8.0", "2.9.1", "2.10.0", "2.11.0"}, {"3.10.13", "3.12.12"}
"""What ZeroGPU offers."""


def required(file: Path) -> dict[str, Requirement]:
    """Requirements by their name."""
    lines = (line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {one.name: one for one in map(Requirement, lines)}


def test_it_holds_the_code_whole_and_what_the_page_reads(space):
    code = [path for part in ("app", "dola_core") for path in (ROOT / part).rglob("*.py")]
    page = [path for part in ("page", "words") for path in (ROOT / "assets" / part).iterdir() if path.is_file()]
    atlas = ROOT / "assets" / "models" / "atlas-30l"
    traces = list((atlas / "traces").glob("*.json"))
    assert traces
    shipped = [atlas / name for name in ("model.safetensors", "tokenizer.json", "config.json")]
    known = [
        folder / name for folder in MODELS.iterdir() if folder.is_dir() for name in (EXAMPLES, SEARCH, "README.md")
    ]
    assert len(known) == 6
    for path in [ROOT / "app.py", ROOT / "LICENSE", *code, *page, *traces, *shipped, *known]:
        name = path.relative_to(ROOT)
        assert (space / name).read_bytes() == path.read_bytes(), name


def test_it_holds_every_path_that_the_code_names(space):
    named = {
        path
        for module in (app.paths, dola_core.files.paths)
        for path in vars(module).values()
        if isinstance(path, Path)
    }
    for path in named - {ROOT, app.paths.SETTINGS_FILE}:
        assert (space / path.relative_to(ROOT)).exists(), path


def test_it_holds_nothing_else(space):
    names = {PurePosixPath(name) for name in tree(space)}
    assert {name.parts[0] for name in names if len(name.parts) > 1} == {"app", "dola_core", "assets"}
    assert not [name for name in names if {"build", "tests", "__pycache__", ".git"} & {*name.parts}]
    kinds = {
        ".py",
        ".typed",
        ".json",
        ".jsonl",
        ".safetensors",
        ".css",
        ".js",
        ".toml",
        ".md",
        ".png",
        ".txt",
        ".env",
        "",
    }
    assert {name.suffix for name in names} <= kinds


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a checkout")
def test_it_holds_nothing_that_git_ignores(space):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    added = {".assembled", ".gitattributes", ".gitignore", "settings.env"}
    assert {*tree(space)} - added <= {*listed.stdout.splitlines()}


def test_the_front_matter_is_one_that_spaces_know(space):
    front = front_matter(space)
    assert {*front} <= KEYS
    assert (front["sdk"], front["app_file"]) == ("gradio", "app.py")
    assert {front["colorFrom"], front["colorTo"]} <= COLOURS
    assert len(front["short_description"]) <= 60
    assert front["sdk_version"] == gr.__version__
    needs = re.search(r'requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    assert front["python_version"] in SpecifierSet(needs)


def test_the_shipped_model_asks_for_a_cpu_and_a_hub_model_for_zero_gpu(spaces):
    shipped, zero = front_matter(spaces["shipped"]), front_matter(spaces["zero"])
    assert shipped["suggested_hardware"] == "cpu-basic"
    assert shipped["models"] == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert (zero["suggested_hardware"], zero["models"]) == ("zero-a10g", [HUB_MODEL])
    assert zero["python_version"] in ZERO_PYTHON


def test_it_requires_what_the_project_requires_but_gradio(space):
    own, installed = required(ROOT / "requirements.txt"), required(space / "requirements.txt")
    assert str(own.pop("gradio").specifier) == f"=={front_matter(space)['sdk_version']}"
    assert {name: installed.get(name) for name in own if name != "torch"} == {
        n: r for n, r in own.items() if n != "torch"
    }
    assert {*installed} - {*own} <= {"spaces"}


def test_zero_gpu_gets_a_torch_that_it_offers_and_the_code_takes(spaces):
    installed = required(spaces["zero"] / "requirements.txt")
    (torch_version,) = installed["torch"].specifier
    assert torch_version.operator == "=="
    assert torch_version.version in ZERO_TORCH
    assert torch_version.version in required(ROOT / "requirements.txt")["torch"].specifier
    assert "spaces" in installed
    assert required(spaces["shipped"] / "requirements.txt")["torch"] == required(ROOT / "requirements.txt")["torch"]


def test_links_and_pictures_of_its_readme_lead_somewhere(space):
    readme = (space / "README.md").read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"]\(([^)\s]+)\)", readme)]
    assert "assets/pictures/light.png" in targets
    assert [target for target in targets if ":" not in target and not (space / target).exists()] == []


def configured_model(space: Path, **environment: str) -> str:
    """The models that the page in a folder was told to serve; none if it chooses."""
    code = "from app.settings import read_settings; print(*read_settings([]).names)"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOLA_")}
    process = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=space, env=clean | environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_the_page_serves_the_model_that_it_was_built_for_unless_a_variable_says_otherwise(spaces):
    assert configured_model(spaces["shipped"]) == "smollm2 atlas-30l"
    assert configured_model(spaces["shipped"], DOLA_MODELS="atlas-30l") == "atlas-30l"
    assert configured_model(spaces["zero"]) == HUB_MODEL
    assert configured_model(spaces["zero"], DOLA_MODEL="owner/other") == "owner/other"


def test_the_same_tree_gives_the_same_bytes_also_over_an_earlier_space(spaces, tmp_path):
    out = tmp_path / "out"
    for arguments in ((), ("--model", HUB_MODEL), ()):
        assert assemble(out, *arguments).returncode == 0
    assert tree(out) == tree(spaces["shipped"])


def test_what_lies_beside_an_earlier_space_stays(tmp_path):
    (tmp_path / ".git").mkdir()
    assert assemble(tmp_path).returncode == 0
    mine = [tmp_path / ".git" / "HEAD", tmp_path / "notes.txt"]
    for path in mine:
        path.write_text("mine", encoding="utf-8")
    assert assemble(tmp_path).returncode == 0
    assert [path.read_text(encoding="utf-8") for path in mine] == ["mine", "mine"]


def test_a_folder_of_something_else_is_refused_in_a_sentence_and_left_alone(tmp_path):
    (tmp_path / "thesis.md").write_text("mine", encoding="utf-8")
    process = assemble(tmp_path)
    assert (process.returncode, process.stdout) == (1, "")
    assert re.fullmatch(r"space: \S+ holds something else \(thesis\.md\); name a folder .+\.\n", process.stderr)
    assert tree(tmp_path) == {"thesis.md": b"mine"}


def test_a_file_and_a_name_that_is_no_model_are_refused_in_a_sentence(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert assemble(file).stderr == f"space: {file} is a file; name a folder.\n"
    assert assemble("").stderr == "space: say where: make space OUT=folder.\n"
    for name in ("./folder/model", "model", "owner/model\nDOLA_SHARE=true", ""):
        process = assemble(tmp_path / "out", "--model", name)
        assert re.match(r"space: .+ is no model on the Hub; .+\.\n$", process.stderr), process.stderr
    assert not (tmp_path / "out").exists()


def test_a_gradio_that_the_front_matter_does_not_name_is_refused(monkeypatch, tmp_path):
    module = load_module(SCRIPT, "space_build")
    for name in ("README.md", "requirements.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("gradio==6", "gradio==7"), encoding="utf-8")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    with pytest.raises(module.SpaceError, match=r"README\.md is for gradio==6"):
        module.contents()
