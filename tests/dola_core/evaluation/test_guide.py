"""docs/lm-eval.md tells the truth: its task is run by its command and by its code, and its arguments exist."""

import importlib.util
import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lm_eval._cli import HarnessCLI

from dola_core.evaluation.__main__ import main
from dola_core.evaluation.model_args import setting_names, take_lane
from dola_core.lanes import DolaStatic, parse_lane
from dola_core.layer_search.answers.scoring import score_items
from dola_core.layer_search.metrics import metric_values
from dola_core.layer_search.questions.dataset import read_items

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "lm-eval.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
COMMANDS = [shlex.split(code) for kind, code in BLOCKS if kind == "sh"]
IN_README = [shlex.split(one) for one in re.findall(r"`(python -m dola_core\.evaluation [^`]+)`", README)]
MEASURE, CODE = (code for kind, code in BLOCKS if kind == "python")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder but for the task's three files, with a cache of its own."""
    datasets = pytest.importorskip("datasets")
    (tmp_path / "tasks").mkdir()
    written = dict(BLOCKS)
    for name, content in (
        ("capitals.jsonl", written["json"]),
        ("capitals.yaml", written["yaml"]),
        ("shares.py", MEASURE),
    ):
        assert f"`tasks/{name}`" in GUIDE
        (tmp_path / "tasks" / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the guide where the harness has no network, no cache and no colours."""
    assert command[0] == "python"
    own = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache"), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *command[1:]], cwd=folder, env=os.environ | own, capture_output=True, text=True
    )


def shares(atlas, folder: Path, lane: str) -> dict[str, float]:
    """The task's metrics as the layer search has them."""
    readout = atlas.readout
    fitted = parse_lane(lane).fitted(readout.n_layers, tied=readout.is_tied)
    items = read_items(folder / "tasks" / "capitals.jsonl")
    scored = [one for batch in score_items(atlas, items, (), (), lanes=[fitted]) for _, one in batch]
    return {name: np.mean([metric_values(one, name)[-1] for one in scored]) for name in ("mc1", "mc2")}


def test_the_command_runs_the_task_and_finds_what_the_layer_search_finds(atlas, folder):
    done = run(COMMANDS[1], folder)
    assert done.returncode == 0, done.stderr
    assert "capitals" in done.stdout
    [file] = (folder / "results").rglob("results_*.json")
    results = json.loads(file.read_text(encoding="utf-8"))
    assert results["config"]["dola_lane"] == "static:22"
    found = results["results"]["capitals"]
    for name, value in shares(atlas, folder, "static:22").items():
        assert found[f"{name},none"] == pytest.approx(value, abs=0.02)  # the command computes in the file's dtype


def test_a_mistake_in_the_command_ends_in_one_sentence(folder):
    done = run([part.replace("static:22", "static:30") for part in COMMANDS[1]], folder)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    message = "dola: layer must be an integer from 1 to 29 (the model has 30 layers); got 30."
    assert done.stderr.strip().splitlines()[-1] == message


def test_the_command_says_what_to_install_where_the_harness_is_not(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main() == 1
    assert capsys.readouterr().err == 'lm_eval is not installed; run: pip install "lm_eval[hf]"\n'


def test_the_code_finds_what_the_layer_search_finds(atlas, folder, capsys):
    exec(compile(CODE.replace("load_model()", 'load_model(device="cpu", dtype="float32")'), "lm-eval.md", "exec"), {})
    lines = [line.partition(" {") for line in capsys.readouterr().out.splitlines() if " {" in line]
    assert [lane for lane, _, _ in lines] == ["plain", "static:22,alpha=0.1", "dynamic:high"]
    for lane, _, told in lines[1:]:
        for name, value in shares(atlas, folder, lane).items():
            assert float(re.search(rf"'{name},none': ([\d.e-]+)", told)[1]) == pytest.approx(value, abs=1e-4)


def test_its_measure_is_a_number_where_every_answer_is_cut():
    scope = {}
    exec(MEASURE, scope)
    cut = [(-2000.0, False), (-1000.0, False), (-1000.0, False)]
    assert scope["process_results"]({"answers": ["a"]}, cut) == {"mc1": 0.0, "mc2": 0.0}
    assert scope["process_results"]({"answers": ["a", "b"]}, cut) == {"mc1": 0.0, "mc2": 0.5}
    assert math.exp(-1000.0) == 0.0  # what the harness's own task divides by


def test_every_setting_and_every_lane_of_the_guide_exists():
    [row] = [line for line in GUIDE.splitlines() if "the lane's further settings" in line]
    first = {"layer", "bucket"}  # these stand first in a lane's text
    assert set(re.findall(r"`(\w+)`", row)) == setting_names() - first
    lanes = re.findall(r"lane=((?:plain|static|dynamic|linear)[\w:=,.-]*)", GUIDE)
    assert len(lanes) > 5
    for lane in lanes:
        assert parse_lane(lane.rstrip(".,"))


@pytest.mark.parametrize("command", [COMMANDS[0], *IN_README], ids=" ".join)
def test_the_commands_on_public_tasks_are_understood(command, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lm_eval", *command[3:]])
    given = HarnessCLI().parse_args()
    assert command[:3] == ["python", "-m", "dola_core.evaluation"]
    assert given.model == "dola"
    assert given.tasks == ["truthfulqa_mc1"]
    settings = given.model_args | {}
    assert settings.pop("pretrained") == "smollm2"
    lane = take_lane(settings.pop("lane"), settings)
    assert isinstance(lane, DolaStatic)
    assert lane.layer == 21
    assert not settings


def test_the_readme_shows_the_command():
    assert len(IN_README) == 1
