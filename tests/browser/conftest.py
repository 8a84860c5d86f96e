"""A served page and a real browser."""

import shutil
from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser, BrowserContext, Page
from transformers import AutoConfig, AutoModelForCausalLM

from tests.browser.driving import arrive
from tests.server import ROOT, Server, faults, free_port, serve


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The page on the shipped model."""
    with serve() as started:
        yield started


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page on a random model that never ends its text, set by the environment."""
    folder = tmp_path_factory.mktemp("endless")
    shipped = ROOT / "assets" / "models" / "atlas-30l"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shipped / name, folder / name)
    config = AutoConfig.from_pretrained(shipped)
    config.update({"max_position_embeddings": 4096})
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    port = free_port()
    with serve(DOLA_MODEL=str(folder), GRADIO_SERVER_PORT=str(port)) as started:
        assert started.url.endswith(f":{port}/")
        yield started


@pytest.fixture(scope="session")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile for all pages, since a fresh one would load and compile Gradio's scripts again each time."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(server: Server, profile: BrowserContext) -> Iterator[Page]:
    """The page in a new tab; any error in its console or traceback in the server's log fails the test."""
    seen = len(server.log)
    opened = profile.new_page()
    # What a visitor prefers is kept by the browser; each test begins with none.
    opened.add_init_script("if (!sessionStorage.seen) { localStorage.clear(); sessionStorage.seen = 1; }")
    opened.set_default_timeout(60_000)
    opened.errors, opened.requests = [], []
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on("console", lambda message: message.type == "error" and opened.errors.append(message.text))
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.on("dialog", lambda dialog: (opened.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
    arrive(opened, server.url)
    yield opened
    assert opened.errors == []
    assert faults(server.log[seen:]) == []
    opened.close()
