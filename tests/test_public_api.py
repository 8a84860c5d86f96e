"""`dola_core`'s public names: which there are, that each is found where it is used, and that none costs an import."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import dola_core

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = {
    "Baseline", "ChatTurn", "Comparison", "DatasetError", "DecodingConfig", "DolaDynamic", "DolaStatic", "Engine",
    "FileWriteError", "FolderInUseError", "Item", "Lane", "LinearContrast", "LoadError", "LoadedModel", "PresetError",
    "Prompt", "PromptError", "PromptImage", "QuestionTooLongError", "Recorder", "ScoringConfig", "SearchConfig",
    "SearchResult", "StepOutput", "Trace", "UnsupportedModelError", "compare", "compute_probs_from_hidden",
    "contrast_with_apc", "generate_with_dola", "generate_with_dola_static", "lane_text", "load_model", "open_image",
    "parse_lane", "prompt_image", "read_image", "read_items", "search_layers",
}  # fmt: skip
"""What may not be renamed or taken away without a note in CHANGELOG.md."""

HEAVY = ("torch", "transformers", "gradio", "plotly")


def imported_by(*arguments: str) -> set[str]:
    """The packages of `HEAVY` that a run of Python imports, and an end of it other than 0 as an error."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOLA_")}
    # -X importtime lists on standard error every module that is imported.
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert modules
    return {*HEAVY} & modules


def test_the_public_names_are_these():
    assert {*dola_core.__all__} == PUBLIC
    assert dola_core.__all__ == sorted(dola_core.__all__)
    assert {*dir(dola_core)} >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_a_documented_and_typed_thing_of_this_package(name):
    value = getattr(dola_core, name)
    assert value.__name__ == name
    assert value.__module__.split(".")[0] == "dola_core"
    assert inspect.getdoc(value)
    if inspect.isfunction(value):
        assert {*inspect.signature(value).parameters, "return"} == {*get_type_hints(value)}


def test_type_checkers_see_the_names_where_python_finds_them():
    tree = ast.parse(Path(dola_core.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == dola_core._MODULE_OF
    assert {*seen} == PUBLIC


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dola_core' has no attribute 'generate'"):
        _ = dola_core.generate
    with pytest.raises(ImportError):
        exec("from dola_core import generate")


def test_importing_the_package_does_not_import_torch():
    assert imported_by("-c", "import dola_core; dir(dola_core); dola_core.__version__") == set()
    assert "torch" in imported_by("-c", "from dola_core import Lane")


@pytest.mark.parametrize("command", [["app.py"], ["-m", "dola_core"], ["-m", "dola_core.layer_search"]])
def test_help_does_not_wait_for_torch(command):
    assert imported_by(*command, "--help") == set()
