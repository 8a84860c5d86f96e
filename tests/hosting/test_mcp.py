"""The API as tools of the Model Context Protocol, asked by a real client in an environment with the extra packages."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from dola_core.trace.schema import Trace
from tests.browser.conftest import ROOT, free_port, serve

EXTRA = ROOT / "requirements-mcp.txt"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment on top of this one, with what `requirements-mcp.txt` adds and holds back."""
    folder = tmp_path_factory.mktemp("mcp")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    inside = Path(folder, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    (inside / "below.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--no-compile", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *extras()], check=True)
    return str(folder / "bin" / "python")


def extras() -> list[str]:
    return [
        line for line in EXTRA.read_text(encoding="utf-8").splitlines() if line and not line.startswith(("#", "-r"))
    ]


@pytest.fixture(scope="module")
def said(python: str) -> dict:
    """What the client got."""
    # Its own port: Gradio tries the next if another server takes one in that moment, and MCP cannot be started twice.
    with serve("--mcp", python=python, GRADIO_SERVER_PORT=str(free_port())) as server:
        client = [python, ROOT / "tests" / "hosting" / "mcp_client.py", f"{server.url}gradio_api/mcp/"]
        answered = subprocess.run(client, capture_output=True, text=True, check=False, env=os.environ, timeout=120)
    assert answered.returncode == 0, answered.stderr
    assert "Traceback" not in "".join(server.log)
    return json.loads(answered.stdout)


def document(said: dict, name: str) -> dict:
    answer = said["answers"][name]
    assert not answer["error"], answer
    return json.loads(answer["texts"][0])


def test_the_extra_is_the_same_gradio():
    gradio = next(line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").split() if "gradio" in line)
    assert extras() == [gradio.replace("gradio", "gradio[mcp]")]


def test_the_tools_are_the_three_of_the_api_and_say_what_they_do(said):
    assert set(said["tools"]) == {"compare", "what_if", "layer_curve"}
    for description, schema in said["tools"].values():
        assert len(description) > 100
        assert ",," not in description
        assert all(parameter.get("description") for parameter in schema["properties"].values())
    assert said["tools"]["compare"][1]["required"] == ["prompt"]


def test_a_comparison_is_told_as_json_with_its_trace(said):
    compared = document(said, "compare")
    trace = Trace.model_validate(compared["trace"])
    assert trace.intact()
    assert compared["texts"]["Baseline"] == trace.texts[0]
    assert "trace" not in document(said, "short")


def test_what_if_and_layer_curve_answer_as_well(said):
    trace = Trace.model_validate(document(said, "compare")["trace"])
    assert document(said, "what_if")["id"] == trace.what_if(1, 0, 3, 0.5)
    assert document(said, "layer_curve")["type"] == "curve"


@pytest.mark.parametrize("name", ["no prompt", "no step", "no questions"])
def test_a_mistake_is_an_error_of_one_sentence(said, name):
    answer = said["answers"][name]
    assert answer["error"]
    assert answer["texts"][0].endswith(".")
    assert "\n" not in answer["texts"][0]


def test_without_the_packages_a_sentence_says_what_to_install():
    started = subprocess.run(
        [sys.executable, "app.py", "--mcp"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert started.returncode == 2
    assert started.stderr.strip().splitlines()[-1] == (
        "app.py: --mcp needs packages that are not here: pip install -r requirements-mcp.txt"
    )
