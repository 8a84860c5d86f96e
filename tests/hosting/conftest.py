"""A hosted page: one whose model can be made to fail, beside those of the browser's tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.conftest import Server, serve


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
