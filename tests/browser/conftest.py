"""A served page and a real browser."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Server:
    """`python app.py` as a user starts it."""

    process: subprocess.Popen
    url: str = ""
    log: list[str] = field(default_factory=list)

    def read(self, until: str | None = None) -> None:
        """Follow what it prints, to `until` or to its end."""
        for line in self.process.stdout:
            self.log.append(line)
            if until and (found := re.search(until, line)):
                self.url = f"{found.group(1).rstrip('/')}/"
                return


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def serve(
    *arguments: str, script: tuple[str, ...] = ("app.py",), python: str = sys.executable, **environment: str
) -> Iterator[Server]:
    """Start the page, wait for its address, and stop it in the end."""
    quiet = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
    process = subprocess.Popen(
        [python, *script, "--device", "cpu", "--dtype", "float32", *arguments],
        cwd=ROOT,
        env=os.environ | quiet | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    started = Server(process)
    reader = threading.Thread(target=started.read)
    try:
        started.read(until=r"Running on local URL:\s+(http://\S+)")
        assert started.url, "".join(started.log)
        reader.start()
        yield started
    finally:
        process.terminate()
        process.wait(timeout=30)
        if reader.is_alive():
            reader.join()
        process.stdout.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The page on the shipped model."""
    with serve() as started:
        yield started


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page on a random model that never ends its text, set by the environment."""
    folder = tmp_path_factory.mktemp("endless")
    shipped = ROOT / "assets" / "atlas-30l"
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


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Page]:
    """The page in a fresh profile; any error in its console or traceback in the server's log fails the test."""
    seen = len(server.log)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    opened.errors, opened.requests = [], []
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on("console", lambda message: message.type == "error" and opened.errors.append(message.text))
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.on("dialog", lambda dialog: (opened.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
    opened.goto(server.url)
    opened.wait_for_selector("#compare")
    opened.wait_for_selector(".duet-inbox[lang]")  # the page knows its language; leaving before is an error to Gradio
    yield opened
    assert opened.errors == []
    assert "Traceback" not in "".join(server.log[seen:])
    context.close()
