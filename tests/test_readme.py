"""The README tells the truth: its code runs, its commands exist, its front matter is what a Space needs."""

import importlib
import re
import shlex
import warnings
from pathlib import Path

import pytest

import dola_core
from app.settings import read_settings
from dola_core.cli.compare import main as dola
from dola_core.errors import DatasetError, LoadError, PromptError
from dola_core.layer_search.__main__ import main as dola_layer_search
from dola_core.models import loading
from tests.dola_core.models.images.cases import loaded

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
TABLE = b"Question,Best Answer,Correct Answers,Incorrect Answers\nWhat is gold?,A metal,A metal,A gas\n"
PYTHON, SHELL, OUTPUT = ([block for kind, block in BLOCKS if kind == name] for name in ("python", "sh", ""))


def arguments_of(command: str) -> list[str]:
    """What follows `command` in the README."""
    [line] = [line for block in SHELL for line in block.splitlines() if line.startswith(f"{command} ")]
    return shlex.split(line.removeprefix(command))


# What asks a running page is run in tests/hosting/test_api.py.
HERE = [code for code in PYTHON if "Client(" not in code]


@pytest.fixture(autouse=True)
def _tiny_models_of_the_hub(monkeypatch):
    """A tiny random model of the same family in the place of one that would have to be downloaded."""
    own = loading.load_model

    def load_model(name=None, **how):
        return loaded("smolvlm") if name == "HuggingFaceTB/SmolVLM-256M-Instruct" else own(name, **how)

    monkeypatch.setattr(dola_core, "load_model", load_model)


@pytest.mark.parametrize("code", HERE)
def test_the_examples_run(code, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


LAYER = r"layer must be an integer from 1 to 29 \(the model has 30 layers\); got"
BAD = [
    ("generate", "load_model()", 'load_model("/no/such/model")', LoadError, "There is no model called /no/such/model;"),
    ("generate", "layer=22", "layer=30", ValueError, f"{LAYER} 30."),
    ("generate", "layer=22", "layer=0", ValueError, f"{LAYER} 0."),
    ("generate", "alpha=0.1", "alpha=1.5", ValueError, "alpha must be a number from 0 to 1; got 1.5."),
    ("generate", "alpha=0.1", "alpha=float('nan')", ValueError, "alpha must be a number from 0 to 1; got nan."),
    (
        "DolaDynamic",
        '"The capital of Australia is"',
        '" "',
        PromptError,
        "The prompt is empty; type something to complete.",
    ),
    ("DolaDynamic", "layer=26", "layer=30", ValueError, f"{LAYER} 30."),
    ("DolaDynamic", "alpha=0.2", "alpha=2", ValueError, "alpha must be a number from 0 to 1; got 2."),
    ("DolaDynamic", "max_new_tokens=12", "max_new_tokens=0", ValueError, "max_new_tokens"),
    ("DolaDynamic", "max_new_tokens=12", "new_tokens=12", ValueError, "new_tokens"),
    ("DolaDynamic", "lanes = (", "lanes = () and (", ValueError, "A comparison needs at least one lane."),
    ("DolaDynamic", "layer=15", "layer=30", ValueError, f"{LAYER} 30."),
    ("DolaDynamic", "alpha=0.3", "alpha=0.001", ValueError, "This step is recorded for alpha from 0.01 up; got 0.001."),
    ("DolaDynamic", "index=0", "index=99", IndexError, r"index must be from 0 to \d+, the steps of lane 1; got 99."),
    ("DolaDynamic", "index=0", "index=-1", IndexError, r"index must be from 0 to \d+, the steps of lane 1; got -1."),
    ("DolaDynamic", "lane=1,", "lane=4,", IndexError, "The trace has no steps of a lane 4; it has 4 lanes, from 0."),
    ("DolaDynamic", 'bucket="high"', 'bucket="top"', ValueError, "bucket must be low, high, all"),
    ("DolaDynamic", "beta=0.5", "beta=-1", ValueError, "beta"),
    ("DolaDynamic", "repetition_penalty=1.2", "repetition_penalty=0", ValueError, "repetition_penalty"),
    ("DolaDynamic", "trace.to_json()", '"{"', ValueError, "Invalid JSON"),
    ("open_image", "preview.png", "none.png", PromptError, "The image .*none.png cannot be read: No such file"),
    ("open_image", "preview.png", "README.md", PromptError, "The image .* cannot be read"),
    ("open_image", '("HuggingFaceTB/SmolVLM-256M-Instruct")', "()", PromptError, "This model reads no images"),
    ("parse_lane", "step=3))", "step=99))", IndexError, "step must be from 1 to 12, the steps of the text; got 99."),
    ("search", "validation.jsonl", "none.jsonl", DatasetError, "none.jsonl cannot be read: No such file or directory."),
    ("search", "[:20]", "[:0]", ValueError, "There are no questions to choose a layer by."),
    ("search", '"said"', '"right"', ValueError, "metric"),
    ("search", '"said"', '"contains"', ValueError, "contains is no metric of the task mc; choose from"),
    ("search", "(0.1,)", "(1.5,)", ValueError, "alphas.0"),
]
"""(example, what stands there, what a reader may write instead, the error's type and a pattern of its message)"""


@pytest.mark.parametrize(("example", "text", "instead", "kind", "message"), BAD)
def test_an_example_with_a_mistake_raises_what_the_readme_says(monkeypatch, example, text, instead, kind, message):
    monkeypatch.chdir(ROOT)
    (code,) = [code for code in HERE if example in code.partition("\n")[0]]
    assert code.count(text) == 1
    with pytest.raises(kind, match=message):
        exec(compile(code.replace(text, instead), "README.md", "exec"), {})


def test_every_example_is_run_with_a_mistake():
    assert len({example for example, *_ in BAD}) == len(HERE)
    for kind in {kind for *_, kind, _ in BAD} - {IndexError}:
        assert f"`{kind.__name__}`" in README


def test_the_comparison_in_the_terminal_prints_what_is_shown(smollm2_cache, capsys, monkeypatch, tmp_path):
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


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        ([" "], 2, "The prompt is empty; type something to complete."),
        (["--layer", "30"], 2, "layer must be an integer from 1 to 29 (the model has 30 layers); got 30."),
        (["--alpha", "1.5"], 2, "alpha must be a number from 0 to 1; got 1.5."),
        (["--trace", "none/out.json"], 2, "the trace cannot be written to none/out.json: there is no folder none."),
        (["--model", "/no/such/model"], 1, "There is no model called /no/such/model;"),
    ],
)
def test_the_comparison_in_the_terminal_refuses_a_mistake(
    smollm2_cache, capsys, monkeypatch, tmp_path, given, status, message
):
    monkeypatch.chdir(tmp_path)
    prompt, *options = arguments_of("python -m dola_core")
    changed = [*given, *options] if given == [" "] else [prompt, *options, *given]
    assert dola([*changed, "--device", "cpu", "--dtype", "float32"]) == status
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "given", "message"),
    [
        (b"", [], "TruthfulQA.csv is empty; choose a file that holds questions."),
        (b"Question,Best Answer\n", [], "TruthfulQA.csv, line 1: the column “Correct Answers” is missing;"),
        (TABLE + b"What, really?,a,b,c\n", [], "line 3 (row 3): it has 5 cells where the header has 4;"),
        (TABLE, ["--alphas", "1.5"], "α must be numbers from 0 to 1 between commas, such as 0.05,0.1; got '1.5'"),
        (TABLE, ["--metric", "right"], "argument --metric: invalid choice: 'right'"),
    ],
)
def test_the_search_command_refuses_a_mistake(capsys, monkeypatch, tmp_path, content, given, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TruthfulQA.csv").write_bytes(content)
    with pytest.raises(SystemExit) as refused:
        dola_layer_search([*arguments_of("python -m dola_core.layer_search"), *given])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert [file.name for file in tmp_path.iterdir()] == ["TruthfulQA.csv"]


def test_the_page_takes_the_options_that_make_hands_on_and_refuses_a_mistake(capsys):
    (given,) = re.findall(r'make demo ARGS="([^"]*)"', README)
    settings = read_settings(shlex.split(given))
    assert (settings.names, settings.port) == (("HuggingFaceTB/SmolLM2-135M",), 7900)
    for mistake, message in (
        (given.replace("7900", "x"), "port: must be a whole number"),
        (given.replace("7900", "70000"), "port: must be at most 65,535"),
        (given.replace("--port", "--colour"), "unrecognized arguments: --colour 7900"),
    ):
        with pytest.raises(SystemExit) as refused:
            read_settings(shlex.split(mistake))
        assert refused.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]


def test_every_make_command_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    hosting = (ROOT / "assets" / "space" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README + hosting, re.MULTILINE))
    assert {"demo", "test", "space"} <= named <= targets


def test_the_command_for_ray_builds_its_application():
    place, *settings = arguments_of("serve run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, of pydantic
        module, name = place.split(":")
        build = getattr(importlib.import_module(module), name)
        from ray.serve import Application
    assert isinstance(build(dict(setting.split("=") for setting in settings)), Application)


def test_no_command_is_left_out():
    commands = [line.split()[:3] for block in SHELL for line in block.splitlines()]
    assert sorted(command[0] for command in commands) == ["make", "make", "pip", "python", "python", "serve"]
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
