"""The API as tools of the Model Context Protocol, called by a real client in an environment with the extra packages."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import httpx
import pytest

from dola_core.lanes import DolaStatic
from dola_core.trace.schema import Trace
from tests.hosting.clients.attack import MARK
from tests.server import ROOT, faults, free_port, serve

EXTRA = ROOT / "requirements-mcp.txt"


ACCEPTED = {"Accept": "application/json, text/event-stream"}
FORGED = f"evil\nINFO: all is well\r\x1b[2J{MARK}"
"""A name with which somebody would write a line of the log."""
HOSTILE = [
    {"method": "tools/call", "params": {"name": FORGED, "arguments": {}}},
    {"method": "tools/call", "params": {"name": "compare", "arguments": {FORGED: FORGED, "prompt": 5}}},
    {"method": "tools/call", "params": {"name": "compare", "arguments": FORGED}},
    {"method": "resources/read", "params": {"uri": f"file:///{MARK}"}},
    {"method": FORGED, "params": {FORGED: FORGED}},
    {"method": "prompts/get", "params": {"name": FORGED}},
    {"method": "initialize", "params": {"clientInfo": {"name": FORGED, "version": FORGED}}},
]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment on top of this one, with the packages of `requirements-mcp.txt`."""
    folder = tmp_path_factory.mktemp("mcp")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    inside = Path(folder, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    (inside / "below.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--no-compile", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *extras()], check=True)
    return str(folder / "bin" / "python")


def extras() -> list[str]:
    """The requirements that the extra adds."""
    return [
        line for line in EXTRA.read_text(encoding="utf-8").splitlines() if line and not line.startswith(("#", "-r"))
    ]


@pytest.fixture(scope="module")
def session(python: str) -> dict:
    """The tools and answers that the client got."""
    # Its own port: Gradio tries the next if another server takes one in that moment, and MCP cannot be started twice.
    with serve("--mcp", python=python, GRADIO_SERVER_PORT=str(free_port())) as server:
        command = [python, ROOT / "tests" / "hosting" / "clients" / "mcp_client.py", f"{server.url}gradio_api/mcp/"]
        client = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ, timeout=120)
        for call in HOSTILE:
            httpx.post(f"{server.url}gradio_api/mcp/", json={"jsonrpc": "2.0", "id": 1} | call, headers=ACCEPTED)
    assert client.returncode == 0, client.stderr
    return json.loads(client.stdout) | {"log": server.log}


def document(session: dict, name: str) -> dict:
    """A tool's answer, read as JSON."""
    answer = session["answers"][name]
    assert not answer["error"], answer
    return json.loads(answer["texts"][0])


def test_the_extra_is_the_same_gradio():
    gradio = next(line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").split() if "gradio" in line)
    assert extras() == [gradio.replace("gradio", "gradio[mcp]")]


def test_the_tools_are_the_three_of_the_api_with_descriptions(session):
    assert set(session["tools"]) == {"compare", "what_if", "layer_curve"}
    for description, schema in session["tools"].values():
        assert len(description) > 100
        assert ",," not in description
        assert all(parameter.get("description") for parameter in schema["properties"].values())
    assert session["tools"]["compare"][1]["required"] == ["prompt"]


def test_no_call_writes_into_the_log_what_it_holds(session):
    log = "".join(session["log"])
    assert faults(session["log"]) == []
    assert MARK not in log
    assert "all is well" not in log
    assert all(line.rstrip("\n").isprintable() for line in session["log"] if "Loading weights" not in line)


def test_a_comparison_is_json_with_its_trace(session):
    compared = document(session, "compare")
    trace = Trace.model_validate(compared["trace"])
    assert trace.intact()
    assert compared["texts"]["Baseline"] == trace.texts[0]
    assert "trace" not in document(session, "short")


def test_what_if_and_layer_curve_answer_as_well(session):
    trace = Trace.model_validate(document(session, "compare")["trace"])
    assert document(session, "what_if")["id"] == trace.what_if(1, 0, DolaStatic(layer=3, alpha=0.5))
    assert document(session, "layer_curve")["type"] == "curve"


@pytest.mark.parametrize("name", ["no prompt", "no step", "no questions"])
def test_a_mistake_is_an_error_of_one_sentence(session, name):
    answer = session["answers"][name]
    assert answer["error"]
    assert answer["texts"][0].endswith(".")
    assert "\n" not in answer["texts"][0]


def test_without_the_packages_a_sentence_names_what_to_install():
    started = subprocess.run(
        [sys.executable, "app.py", "--mcp"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert started.returncode == 2
    assert started.stderr.strip().splitlines()[-1] == (
        "app.py: --mcp needs packages that are not here: pip install -r requirements-mcp.txt"
    )
