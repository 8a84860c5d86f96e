"""The folder that is a Hugging Face Space as it is."""

from __future__ import annotations

import http.client
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import gradio as gr
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from playwright.sync_api import Browser, Frame, Page

from tests.browser.conftest import Server, free_port
from tests.browser.test_page import compare, finished

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "assets" / "space" / "build.py"
MODEL = "HuggingFaceTB/SmolLM2-135M"
KEYS = {
    "title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "models", "license",
    "short_description", "suggested_hardware",
}  # fmt: skip
"""Keys of a Space's front matter that are used here."""
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
ZERO_TORCH, ZERO_PYTHON = {"2.8.0", "2.9.1", "2.10.0", "2.11.0"}, {"3.10.13", "3.12.12"}
"""What ZeroGPU offers."""


def load(path: Path, name: str) -> ModuleType:
    """A module of a file, apart from the one that everybody imports."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What `make space` runs, with the standard library alone."""
    return subprocess.run([sys.executable, "-I", "-S", SCRIPT, *arguments], capture_output=True, text=True)


def tree(folder: Path) -> dict[str, bytes]:
    """Everything in a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def matter(folder: Path) -> dict[str, Any]:
    """The front matter of a Space."""
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def required(file: Path) -> dict[str, Requirement]:
    """Requirements by their name."""
    lines = (line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {one.name: one for one in map(Requirement, lines)}


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both kinds of Space."""
    folders = {kind: tmp_path_factory.mktemp("space") / kind for kind in ("shipped", "zero")}
    for kind, arguments in (("shipped", ()), ("zero", ("--model", MODEL))):
        done = build(folders[kind], *arguments)
        assert done.returncode == 0, done.stderr
    return folders


@pytest.fixture(params=["shipped", "zero"])
def space(request: pytest.FixtureRequest, spaces: dict[str, Path]) -> Path:
    """One kind of Space, then the other."""
    return spaces[request.param]


def test_it_holds_the_code_whole_and_what_the_page_reads(space):
    code = [path for part in ("app", "dola_core") for path in (ROOT / part).rglob("*.py")]
    page = [path for part in ("page", "words") for path in (ROOT / "assets" / part).iterdir() if path.is_file()]
    traces = (ROOT / "assets" / "traces").glob("*.json")
    shipped = [ROOT / "assets" / "atlas-30l" / name for name in ("model.safetensors", "tokenizer.json", "config.json")]
    for path in [ROOT / "app.py", ROOT / "LICENSE", *code, *page, *traces, *shipped]:
        name = path.relative_to(ROOT)
        assert (space / name).read_bytes() == path.read_bytes(), name


def test_it_holds_nothing_else(space):
    names = {PurePosixPath(name) for name in tree(space)}
    assert {name.parts[0] for name in names if len(name.parts) > 1} == {"app", "dola_core", "assets"}
    assert not [name for name in names if {"build", "tests", "__pycache__", ".git"} & {*name.parts}]
    kinds = {".py", ".typed", ".json", ".safetensors", ".css", ".js", ".toml", ".md", ".png", ".txt", ".env", ""}
    assert {name.suffix for name in names} <= kinds


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a checkout")
def test_it_holds_nothing_that_git_ignores(space):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    written = {".assembled", ".gitattributes", ".gitignore", "settings.env"}
    assert {*tree(space)} - written <= {*listed.stdout.splitlines()}


def test_the_front_matter_is_one_that_spaces_know(space):
    front = matter(space)
    assert {*front} <= KEYS
    assert (front["sdk"], front["app_file"]) == ("gradio", "app.py")
    assert {front["colorFrom"], front["colorTo"]} <= COLOURS
    assert len(front["short_description"]) <= 60
    assert front["sdk_version"] == gr.__version__
    needs = re.search(r'requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    assert front["python_version"] in SpecifierSet(needs)


def test_the_shipped_model_asks_for_a_cpu_and_a_hub_model_for_zero_gpu(spaces):
    shipped, zero = matter(spaces["shipped"]), matter(spaces["zero"])
    assert shipped["suggested_hardware"] == "cpu-basic"
    assert "models" not in shipped
    assert (zero["suggested_hardware"], zero["models"]) == ("zero-a10g", [MODEL])
    assert zero["python_version"] in ZERO_PYTHON


def test_it_requires_what_the_project_requires_but_gradio(space):
    own, there = required(ROOT / "requirements.txt"), required(space / "requirements.txt")
    assert str(own.pop("gradio").specifier) == f"=={matter(space)['sdk_version']}"
    assert {name: there.get(name) for name in own if name != "torch"} == {n: r for n, r in own.items() if n != "torch"}
    assert {*there} - {*own} <= {"spaces"}


def test_zero_gpu_gets_a_torch_that_it_offers_and_the_code_takes(spaces):
    there = required(spaces["zero"] / "requirements.txt")
    (torch_version,) = there["torch"].specifier
    assert torch_version.operator == "=="
    assert torch_version.version in ZERO_TORCH
    assert torch_version.version in required(ROOT / "requirements.txt")["torch"].specifier
    assert "spaces" in there
    assert required(spaces["shipped"] / "requirements.txt")["torch"] == required(ROOT / "requirements.txt")["torch"]


def test_links_and_pictures_of_its_readme_lead_somewhere(space):
    readme = (space / "README.md").read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"]\(([^)\s]+)\)", readme)]
    assert "assets/pictures/light.png" in targets
    assert [target for target in targets if ":" not in target and not (space / target).exists()] == []


def read_model(space: Path, **environment: str) -> str:
    """The model that the page in a folder would serve."""
    code = "from app.settings import read_settings; print(read_settings([]).model)"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOLA_")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=space, env=clean | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_page_serves_the_model_that_it_was_built_for_unless_a_variable_says_otherwise(spaces):
    assert read_model(spaces["shipped"]) == "None"
    assert read_model(spaces["zero"]) == MODEL
    assert read_model(spaces["zero"], DOLA_MODEL="owner/other") == "owner/other"


def test_the_same_tree_gives_the_same_bytes_also_over_an_earlier_space(spaces, tmp_path):
    out = tmp_path / "out"
    for arguments in ((), ("--model", MODEL), ()):
        assert build(out, *arguments).returncode == 0
    assert tree(out) == tree(spaces["shipped"])


def test_what_lies_beside_an_earlier_space_stays(tmp_path):
    (tmp_path / ".git").mkdir()
    assert build(tmp_path).returncode == 0
    mine = [tmp_path / ".git" / "HEAD", tmp_path / "notes.txt"]
    for path in mine:
        path.write_text("mine", encoding="utf-8")
    assert build(tmp_path).returncode == 0
    assert [path.read_text(encoding="utf-8") for path in mine] == ["mine", "mine"]


def test_a_folder_of_something_else_is_refused_in_a_sentence_and_left_alone(tmp_path):
    (tmp_path / "thesis.md").write_text("mine", encoding="utf-8")
    done = build(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"space: \S+ holds something else \(thesis\.md\); name a folder .+\.\n", done.stderr)
    assert tree(tmp_path) == {"thesis.md": b"mine"}


def test_a_file_and_a_name_that_is_no_model_are_refused_in_a_sentence(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert build(file).stderr == f"space: {file} is a file; name a folder.\n"
    assert build("").stderr == "space: say where: make space OUT=folder.\n"
    for name in ("./folder/model", "model", "owner/model\nDOLA_SHARE=true", ""):
        done = build(tmp_path / "out", "--model", name)
        assert re.match(r"space: .+ is no model on the Hub; .+\.\n$", done.stderr), done.stderr
    assert not (tmp_path / "out").exists()


def test_a_gradio_that_the_front_matter_does_not_name_is_refused(monkeypatch, tmp_path):
    module = load(SCRIPT, "space_build")
    for name in ("README.md", "requirements.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("gradio==6", "gradio==7"), encoding="utf-8")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    with pytest.raises(module.SpaceError, match=r"README\.md is for gradio==6"):
        module.contents()


# The Space for real: installed into a fresh environment as Spaces do, started with a Space's variables, and used.

slow = [pytest.mark.xdist_group("space"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def python(spaces: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what a Space installs: its requirements, gradio by sdk_version with extras, and spaces."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    installed, sdk = environment / "bin" / "python", matter(spaces["shipped"])["sdk_version"]
    requirements = ["-r", spaces["shipped"] / "requirements.txt", f"gradio[oauth,mcp]=={sdk}", "spaces"]
    # What is imported is compiled anyway; to compile everything takes longer than to install it.
    pip = [installed, "-m", "pip", "install", "--no-compile", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *requirements], check=True)
    return installed


@contextmanager
def serve(python: Path, space: Path, home: Path, **environment: str) -> Iterator[Server]:
    """The Space under a Space's variables and none of this environment's own."""
    port = free_port()
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPYCACHEPREFIX": str(python.parent.parent / "compiled"),  # beside, for a Space holds nothing else
        "SYSTEM": "spaces",
        "SPACE_ID": "someone/dola-duet",
        "SPACE_HOST": "someone-dola-duet.hf.space",
        "SPACE_AUTHOR_NAME": "someone",
        "SPACE_REPO_NAME": "dola-duet",
        "SPACE_TITLE": "DoLa Duet",
        "ACCELERATOR": "none",
        "CPU_CORES": "2",
        "MEMORY": "16Gi",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SSR_MODE": "False",
    }
    process = subprocess.Popen(
        [python, "app.py"],
        cwd=space,
        env=variables | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    started = Server(process)
    reader = threading.Thread(target=started.read)
    try:
        started.read(until=r"Running on local URL:\s+(http://[\w.:]+)")
        assert started.url == f"http://0.0.0.0:{port}/", "".join(started.log)
        started.url = f"http://127.0.0.1:{port}/"
        reader.start()
        yield started
    finally:
        process.terminate()
        process.wait(timeout=30)
        if reader.is_alive():
            reader.join()
        process.stdout.close()
    assert not re.search(r"an event failed|a comparison failed", "".join(started.log))


@pytest.fixture(scope="module")
def served(python: Path, spaces: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The Space on CPU basic, without server-side rendering."""
    with serve(python, spaces["shipped"], tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    """A visitor without a network: what a Space's page asks of other machines fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.route(lambda url: not re.match(r"http://(127\.0\.0\.1|localhost):", url), lambda route: route.abort())
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    assert page.errors == []
    context.close()


def compares(page: Page | Frame) -> None:
    """A comparison on the page, from the prompt to the charts, in the page's own look."""
    page.wait_for_selector(".duet-inbox[lang]")
    assert page.locator(".duet-head h1").evaluate("n => getComputedStyle(n).fontSize") == "22px"
    assert page.locator(".duet-head").inner_text().count("Atlas-30L") == 1
    compare(page, "The capital of Australia is")
    finished(page)
    assert "Canberra" in page.locator(".lane.dola").inner_text()


@contextmanager
def listen(handle: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server that answers by `handle`, under a name that is another site than the page's; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            handle(self)

        do_POST = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def forward(prefix: str, upstream: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """What a reverse proxy does that serves `upstream` below `prefix`: drops the prefix and streams the answer."""
    host = upstream.removeprefix("http://").strip("/")

    def handle(request: BaseHTTPRequestHandler) -> None:
        if not request.path.startswith(f"{prefix}/"):
            request.send_error(404)
            return
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection(host)
        try:
            headers = dict(request.headers) | {"X-Forwarded-Host": request.headers["Host"], "Connection": "close"}
            connection.request(request.command, request.path.removeprefix(prefix), body, headers)
            answer = connection.getresponse()
            request.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                    request.send_header(name, value)
            request.end_headers()
            while part := answer.read1(65_536):
                request.wfile.write(part)
                request.wfile.flush()
        except (ConnectionError, http.client.HTTPException):  # who asked has gone
            request.close_connection = True
        finally:
            connection.close()

    return handle


class TestServed:
    """In Chromium."""

    pytestmark = slow

    def test_it_compares(self, served, visitor):
        visitor.goto(served.url)
        compares(visitor)

    def test_it_compares_in_the_dark(self, served, visitor):
        visitor.goto(f"{served.url}?__theme=dark")
        compares(visitor)
        line = visitor.locator("#layers .scatterlayer .trace path.js-line").first
        assert line.evaluate("n => getComputedStyle(n).stroke") == "rgb(90, 180, 240)"

    def test_it_compares_in_a_frame_of_another_site(self, served, visitor):
        def embed(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Type", "text/html")
            request.end_headers()
            request.wfile.write(f'<iframe src="{served.url}" width="1200" height="800"></iframe>'.encode())

        with listen(embed) as address:
            visitor.goto(address)
            frame = visitor.wait_for_selector("iframe").content_frame()
            compares(frame)
            assert frame.evaluate("self !== top")
            visitor.goto("about:blank")

    def test_it_compares_below_a_root_path(self, python, spaces, visitor, tmp_path):
        with (
            serve(python, spaces["shipped"], tmp_path, GRADIO_ROOT_PATH="/duet") as started,
            listen(forward("/duet", started.url)) as address,
        ):
            asked = []
            visitor.on("request", lambda request: asked.append(request.url))
            visitor.goto(f"{address}duet/")
            compares(visitor)
            own = [url for url in asked if url.startswith(address)]
            assert own
            assert [url for url in own if not url.startswith(f"{address}duet/")] == []
            visitor.goto("about:blank")

    def test_it_compares_with_server_side_rendering(self, python, spaces, visitor, tmp_path):
        node = newest_node()
        if node is None:
            pytest.skip("needs Node 24 or newer")
        with serve(python, spaces["shipped"], tmp_path, GRADIO_SSR_MODE="True", GRADIO_NODE_PATH=node) as started:
            assert "with SSR" in "".join(started.log)
            visitor.goto(started.url)
            compares(visitor)


def newest_node() -> str | None:
    """A Node that Gradio renders with, if there is one."""
    node = os.environ.get("GRADIO_NODE_PATH") or shutil.which("node")
    if node is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return node if int(re.match(r"v(\d+)", version)[1]) >= 24 else None
