"""Fixtures of the page's tests: the shipped model and comparisons run with it."""

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import gradio as gr
import pytest

from app.jobs.comparison import run
from app.jobs.engine_pool import EnginePool
from app.jobs.model_pool import ModelFacts
from app.jobs.request import ComparisonRequest
from app.settings import Settings
from app.tabs.compare.controls import Controls, lay_out_controls
from app.tabs.compare.panes import make_panes
from app.ui.components import Notice
from dola_core.decoding.engine import Engine
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.trace.schema import Trace
from tests.app.loops import run_apart

Part = TypeVar("Part")


@pytest.fixture(autouse=True)
def _jobs_can_be_done_elsewhere(monkeypatch) -> None:
    """What the page asks a model for, and what comes of it, crosses to another process and back."""
    run_here = EnginePool.run

    def run_elsewhere(pool: EnginePool, name: str, job: Any, *more: Any) -> Any:
        function = job.func if isinstance(job, partial) else job
        if not function.__module__.startswith("app."):  # a test's own
            yield from run_here(pool, name, job, *more)
            return
        for update in run_here(pool, name, pickle.loads(pickle.dumps(job)), *more):
            yield pickle.loads(pickle.dumps(update))

    monkeypatch.setattr(EnginePool, "run", run_elsewhere)


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


def laid_out(facts: ModelFacts) -> Controls:
    """The controls of a page for a model."""

    def lay_out() -> Controls:
        with gr.Blocks():
            panes = make_panes(facts, facts.usual_lanes)
            panes.lay_out_menus()
            panes.render_fields()
            return lay_out_controls(facts, Settings(), Notice(render=False), panes)

    return within_loop(lay_out)


def within_loop(lay_out: Callable[[], Part]) -> Part:
    """What `lay_out` returns, which makes a page of Gradio's.

    Outside of a running loop Gradio would make loops of its own and leave them open; in a thread there is none yet.
    """

    async def make() -> Part:
        return lay_out()

    return run_apart(make())
