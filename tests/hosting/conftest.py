"""Hosted pages: one whose model can be made to fail, and one that is attacked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.browser.conftest import Server, serve
from tests.hosting.attack import MARK, Outside, Target, outside


@pytest.fixture(scope="session")
def fault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that says what is to go wrong."""
    file = tmp_path_factory.mktemp("fault") / "fault"
    file.write_text("", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def faulty(fault: Path) -> Iterator[Server]:
    """A page whose model can be made to fail."""
    limits = ("--max-prompt-tokens", "40", "--max-new-tokens", "64", "--queue-size", "1")
    with serve(*limits, script=("tests/hosting/faulty.py", str(fault))) as started:
        yield started
        assert "Traceback" not in "".join(started.log)


@pytest.fixture
def failing(fault: Path) -> Callable[[str], None]:
    """Let the model fail in some way while the body runs."""

    @contextmanager
    def so(kind: str) -> Iterator[None]:
        fault.write_text(kind, encoding="utf-8")
        try:
            yield
        finally:
            fault.write_text("", encoding="utf-8")

    return so


@pytest.fixture(scope="session")
def world() -> Iterator[Outside]:
    """Whatever is outside of the page that is attacked."""
    with outside() as watched:
        yield watched


@pytest.fixture(scope="session")
def target(world: Outside) -> Iterator[Target]:
    """The page on the shipped model, with no way out but to `world`."""
    ways = dict.fromkeys(("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), world.url)
    with (
        serve("--max-new-tokens", "16", **ways, NO_PROXY="127.0.0.1,localhost") as started,
        httpx.Client(base_url=started.url, timeout=20, trust_env=False) as http,
    ):
        yield Target(started, http)
    untold(started.log)
    assert world.asked == []


@pytest.fixture
def alive(target: Target) -> Iterator[None]:
    """After the test the page answers, and has told nothing."""
    seen = len(target.server.log)
    yield
    answer = target.call("compare", {"prompt": "The capital of Peru is", "max_new_tokens": 3, "with_trace": False})
    assert " Lima" in answer.text, answer
    untold(target.server.log[seen:])


def untold(lines: list[str]) -> None:
    """Raises if a log tells how the page works inside, or what it was sent."""
    log = "".join(lines)
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
    assert MARK not in log
