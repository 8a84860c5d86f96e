"""A Space for real: installed into a fresh environment as Spaces do, served with a Space's variables, and used."""

import http.client
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Frame, Page

from tests.assets.space.assembling import front_matter
from tests.assets.space.environment import make_environment
from tests.browser.driving import compare, finished
from tests.http_server import Handle, listen
from tests.server import Server, faults, free_port, start

pytestmark = [pytest.mark.xdist_group("space"), pytest.mark.timeout(900)]
SPACE_VARIABLES = {
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
    "GRADIO_SSR_MODE": "False",
}
"""What the environment of a Space on CPU basic sets."""


@pytest.fixture(scope="module")
def python(spaces: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what a Space installs: its requirements, gradio by sdk_version with extras, and spaces."""
    folder, requirements = spaces["shipped"], (spaces["shipped"] / "requirements.txt").read_text(encoding="utf-8")
    named = [line for line in requirements.splitlines() if line.strip() and not line.startswith("#")]
    gradio = f"gradio[oauth,mcp]=={front_matter(folder)['sdk_version']}"
    return make_environment(tmp_path_factory.mktemp("environment"), [*named, gradio, "spaces"])


@contextmanager
def serve_space(python: Path, space: Path, home: Path, **environment: str) -> Iterator[Server]:
    """Serve a Space with a Space's variables and none of this environment's own."""
    port = free_port()
    own = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPYCACHEPREFIX": str(python.parent.parent / "compiled"),  # beside, for a Space holds nothing else
        "GRADIO_SERVER_PORT": str(port),
    }
    served = home / "app"
    shutil.copytree(space, served)  # what a run leaves in it must not be found in the Space
    with start([python, "app.py"], served, own | SPACE_VARIABLES | environment) as server:
        assert server.url == f"http://0.0.0.0:{port}/"
        server.url = f"http://127.0.0.1:{port}/"
        yield server
    assert not re.search(r"an event failed|a comparison failed", "".join(server.log))


@pytest.fixture(scope="module")
def served(python: Path, spaces: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The Space on CPU basic, without server-side rendering."""
    with serve_space(python, spaces["shipped"], tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    """A visitor's page that reaches this machine only: requests of a Space's page to others fail."""
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
    """Run a comparison on the page, from the prompt to the charts, in the page's own look."""
    page.wait_for_selector(".duet-inbox[lang]")
    assert page.locator(".duet-head h1").evaluate("n => getComputedStyle(n).fontSize") == "22px"
    assert page.locator("#model input").input_value() == "Atlas-30L"
    assert "30 layers" in page.locator(".duet-head").inner_text()
    assert "30 layers · 6,144 tokens" in page.locator(".duet-finding").first.inner_text()
    compare(page, "The capital of Australia is")
    finished(page)
    assert "Canberra" in page.locator(".lane.dola").inner_text()


def proxy(prefix: str, upstream: str) -> Handle:
    """Handle requests as a reverse proxy that serves `upstream` below `prefix`: drop the prefix, stream the answer."""
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
        except (ConnectionError, http.client.HTTPException):  # the client has gone
            request.close_connection = True
        finally:
            connection.close()

    return handle


def newest_node() -> str | None:
    """A Node that Gradio can render with, if there is one."""
    node = os.environ.get("GRADIO_NODE_PATH") or shutil.which("node")
    if node is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return node if int(re.match(r"v(\d+)", version)[1]) >= 24 else None


def test_it_compares(served, visitor):
    visitor.goto(served.url)
    compares(visitor)


def test_without_the_hub_it_comes_up_on_the_shipped_model_and_says_so(served, visitor):
    (said,) = [line for line in served.log if "comes up on" in line]
    assert "The page comes up on Atlas-30L." in said
    assert faults(served.log) == []
    visitor.goto(served.url)
    visitor.wait_for_selector(".duet-inbox[lang]")
    visitor.click("#model input")
    names = visitor.locator("[role=option]").all_inner_texts()
    assert [name.strip(" ✓\n") for name in names] == ["Atlas-30L", "SmolLM2-135M-Instruct"]


def test_it_compares_in_the_dark(served, visitor):
    visitor.goto(f"{served.url}?__theme=dark")
    compares(visitor)
    line = visitor.locator("#layers .scatterlayer .trace path.js-line").first
    assert line.evaluate("n => getComputedStyle(n).stroke") == "rgb(90, 180, 240)"


def test_it_compares_in_a_frame_of_another_site(served, visitor):
    def embed(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.end_headers()
        request.wfile.write(f'<iframe src="{served.url}" width="1200" height="800"></iframe>'.encode())

    with listen(embed) as port:
        visitor.goto(f"http://localhost:{port}/")
        frame = visitor.wait_for_selector("iframe").content_frame()
        compares(frame)
        assert frame.evaluate("self !== top")
        visitor.goto("about:blank")


def test_it_compares_below_a_root_path(python, spaces, visitor, tmp_path):
    with (
        serve_space(python, spaces["shipped"], tmp_path, GRADIO_ROOT_PATH="/duet") as server,
        listen(proxy("/duet", server.url)) as port,
    ):
        address = f"http://localhost:{port}/"
        requests = []
        visitor.on("request", lambda request: requests.append(request.url))
        visitor.goto(f"{address}duet/")
        compares(visitor)
        own = [url for url in requests if url.startswith(address)]
        assert own
        assert [url for url in own if not url.startswith(f"{address}duet/")] == []
        visitor.goto("about:blank")


def test_it_compares_with_server_side_rendering(python, spaces, visitor, tmp_path):
    node = newest_node()
    if node is None:
        pytest.skip("needs Node 24 or newer")
    with serve_space(python, spaces["shipped"], tmp_path, GRADIO_SSR_MODE="True", GRADIO_NODE_PATH=node) as server:
        assert "with SSR" in "".join(server.log)
        visitor.goto(server.url)
        compares(visitor)
