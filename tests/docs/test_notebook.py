"""The notebook of docs/ runs from beginning to end, and what is stored in it is what a run gives."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.notebook import CHART, NOTEBOOK

ROOT = Path(__file__).resolve().parents[2]


def cells_of(file: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(file.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def texts_of(cell: dict[str, Any]) -> list[str]:
    """What a cell prints and shows as text or HTML, and what its charts say of themselves."""
    # A notebook divides what is printed by the time at which it is.
    found = ["".join(part for output in cell["outputs"] for part in output.get("text", ""))]
    for output in cell["outputs"]:
        data = output.get("data", {})
        shown = [data.get("text/plain", ""), data.get("text/html", "")]
        found += ["".join(text) for text in shown if text]
        found += [data[CHART]["layout"]["meta"]] if CHART in data else []
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> list[dict[str, Any]]:
    """The code cells after a run, in a process of its own: a notebook has an event loop."""
    out = tmp_path_factory.mktemp("notebook") / "out.ipynb"
    command = [sys.executable, "-m", "tests.docs.notebook", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return cells_of(out)


def test_every_cell_gives_what_is_stored(run):
    stored = cells_of(NOTEBOOK)
    assert [cell["source"] for cell in run] == [cell["source"] for cell in stored]
    for now, then in zip(run, stored, strict=True):
        assert texts_of(now) == texts_of(then), "".join(then["source"]) + "\n\nmake notebook stores it anew."
        assert texts_of(now)


def test_every_chart_has_a_picture_for_readers_without_scripts():
    outputs = [output["data"] for cell in cells_of(NOTEBOOK) for output in cell["outputs"] if "data" in output]
    assert sum(CHART in data for data in outputs) >= 3
    assert all("image/png" in data for data in outputs if CHART in data)


def test_it_is_small_and_holds_no_script_and_no_path_of_a_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert "<script" not in text
    assert str(ROOT) not in text
    assert "stderr" not in text
