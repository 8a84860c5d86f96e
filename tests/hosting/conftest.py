"""Hosted pages: one whose model can be made to fail, and one that is attacked."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.hosting.clients.attack import Outside, Target, assert_reveals_nothing, outside
from tests.server import Server, serve

Failing = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def fault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that names what is to go wrong."""
    file = tmp_path_factory.mktemp("fault") / "fault"
    file.write_text("", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def faulty(fault: Path) -> Iterator[Server]:
    """A page, for one run of two lanes at a time, whose model can be made to fail."""
    limits = ("--max-prompt-tokens", "40", "--max-new-tokens", "64", "--queue-size", "1", "--max-rows", "2")
    with serve(*limits, script=("tests/hosting/pages/serve_faulty.py", str(fault))) as server:
        yield server
        assert server.faults == []


@pytest.fixture
def failing(fault: Path) -> Failing:
    """Let the model of `faulty` fail while the body runs: `memory`, `numbers` or `hold`."""

    @contextmanager
    def fail(kind: str) -> Iterator[None]:
        fault.write_text(kind, encoding="utf-8")
        try:
            yield
        finally:
            fault.write_text("", encoding="utf-8")

    return fail


@pytest.fixture(scope="session")
def world() -> Iterator[Outside]:
    """Everything outside of the page that is attacked."""
    with outside() as server:
        yield server


@pytest.fixture(scope="session")
def target(world: Outside) -> Iterator[Target]:
    """The page on the shipped model, which can reach nothing but `world`."""
    ways_out = dict.fromkeys(("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), world.url)
    with (
        serve("--max-new-tokens", "16", **ways_out, NO_PROXY="127.0.0.1,localhost") as server,
        httpx.Client(base_url=server.url, timeout=20, trust_env=False) as http,
    ):
        yield Target(server, http)
    assert_reveals_nothing(server.log)
    assert world.requests == []


@pytest.fixture
def alive(target: Target) -> Iterator[None]:
    """After the test the page still answers, and its log reveals nothing."""
    seen = len(target.server.log)
    yield
    reply = target.call("compare", {"prompt": "The capital of Peru is", "max_new_tokens": 3, "with_trace": False})
    assert " Lima" in reply.text, reply
    assert_reveals_nothing(target.server.log[seen:])
