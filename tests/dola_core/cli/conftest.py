"""The shipped model, loaded once, and one comparison with it."""

import pytest

from dola_core.models import loading
from dola_core.models.loaded_model import LoadedModel
from dola_core.trace.schema import Trace
from tests.dola_core.cli.comparisons import PROMPT, record


@pytest.fixture(scope="session")
def loaded() -> LoadedModel:
    return loading.load_model(device="cpu", dtype="float32")


@pytest.fixture
def quick(loaded, monkeypatch) -> None:
    """The command finds the shipped model loaded."""
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: loaded)


@pytest.fixture(scope="session")
def trace(loaded) -> Trace:
    """A comparison whose texts part early and whose DoLa lane then writes on."""
    trace = record(loaded, PROMPT)
    assert 0 < trace.fork < len(trace.lane_ids(1)) - 5
    return trace
