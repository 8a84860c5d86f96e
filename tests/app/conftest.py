"""Fixtures of the page's tests: the shipped model and comparisons run with it."""

from collections.abc import Callable

import pytest

from app.jobs.comparison import run
from app.jobs.request import ComparisonRequest
from dola_core.decoding.engine import Engine
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.trace.schema import Trace


@pytest.fixture(scope="session")
def loaded() -> LoadedModel:
    return load_model(device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def engine(loaded: LoadedModel) -> Engine:
    return Engine(loaded)


@pytest.fixture(scope="session")
def compared(engine: Engine) -> Callable[..., Trace]:
    """Run a comparison to its end."""

    def compare(prompt: str = "The capital of Australia is", **asked: object) -> Trace:
        decoding = {"max_new_tokens": 12} | asked.pop("decoding", {})
        request = ComparisonRequest.of(**({"prompt": prompt, "layer": 22, "alpha": 0.1, "decoding": decoding} | asked))
        *_, last = run(engine, request)
        return last.trace

    return compare


@pytest.fixture(scope="session")
def forked(compared: Callable[..., Trace]) -> Trace:
    """A comparison whose lanes part."""
    trace = compared(layer=12, alpha=0.01, decoding={"max_new_tokens": 40})
    assert trace.fork is not None
    return trace
