"""How a run is lent a GPU on ZeroGPU, where the package that lends it is a pretended one."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import wraps
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import app.jobs.comparison
from app.jobs.zero_gpu import LEAST, MOST, START, gpu_seconds, on_gpu, within
from app.language import VisitorError
from app.render.view_state import View
from dola_core.lanes import Decoding
from dola_core.models.loading import load_model

ROOT = Path(__file__).resolve().parents[2]


@given(some.integers(0, 10_000), some.integers(1, 4096), some.integers(1, 16))
def test_more_work_asks_for_no_less_of_a_gpu_within_bounds(prompt, new, beams):
    asked = gpu_seconds(prompt, new, beams)
    assert LEAST <= asked <= MOST
    assert gpu_seconds(prompt + 500, new, beams) >= asked
    assert gpu_seconds(prompt, new + 50, beams) >= asked
    assert gpu_seconds(prompt, new, beams + 1) >= asked


def test_a_gpu_is_asked_for_by_the_length_of_the_text():
    assert gpu_seconds(10, 48) == LEAST
    assert LEAST < gpu_seconds(10, 256) < gpu_seconds(10, 256, 4) < MOST
    assert gpu_seconds(0, 4096) == MOST


def test_away_from_zero_gpu_a_run_is_the_very_same_function():
    def run(loaded: object) -> Iterator[int]:
        yield 1

    assert on_gpu(lambda loaded: 60)(run) is run
    assert within(600.0, 60) == 600.0


class FakeSpaces(ModuleType):
    """The package `spaces`: what goes to a decorated generator function, and what comes of it, is pickled."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.asked: list[int] = []
        self.error: gr.Error | None = None

    def GPU(self, *, duration: Callable[..., int]) -> Callable[..., Any]:
        def decorate(task: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            @wraps(task)
            def lent(*args: object, **kwargs: object) -> Iterator[Any]:
                self.asked.append(duration(*args, **kwargs))
                if self.error:
                    raise self.error
                args, kwargs = pickle.loads(pickle.dumps((args, kwargs)))
                with closing(task(*args, **kwargs)) as items:
                    for item in items:
                        yield pickle.loads(pickle.dumps(item))

            return lent

        return decorate


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSpaces:
    """A fake package `spaces`."""
    module = FakeSpaces()
    monkeypatch.setitem(sys.modules, "spaces", module)
    return module


@pytest.fixture
def zero(fake: FakeSpaces, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`app/jobs/zero_gpu.py` as it is on ZeroGPU."""
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    name = "zero_gpu_there"
    spec = importlib.util.spec_from_file_location(name, ROOT / "app" / "jobs" / "zero_gpu.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # what is pickled is looked up by this name
    spec.loader.exec_module(module)
    return module


def model() -> SimpleNamespace:
    """Cannot be pickled."""
    return SimpleNamespace(weights=lambda: 7)


def test_a_run_is_lent_a_gpu_for_its_time_and_finds_its_own_model(zero, fake):
    @zero.on_gpu(lambda loaded, words, *, times: loaded.weights() * times)
    def run(loaded: SimpleNamespace, words: list[str], *, times: int) -> Iterator[tuple[int, str]]:
        yield from ((loaded.weights(), word) for word in words * times)

    other = SimpleNamespace(weights=lambda: 8)
    assert list(run(model(), ["a", "b"], times=1)) == [(7, "a"), (7, "b")]
    assert list(run(other, ["c"], times=2)) == [(8, "c"), (8, "c")]
    assert fake.asked == [7, 16]


def test_whether_to_stop_stays_here_and_closing_ends_the_run_there(zero):
    ended = []

    @zero.on_gpu(lambda loaded: 60)
    def run(loaded: object, stopped: Callable[[], bool] = lambda: False) -> Iterator[int]:
        try:
            yield from count()
        finally:
            ended.append(stopped())

    with closing(run(model(), stopped=lambda: True)) as numbers:
        assert [next(numbers), next(numbers)] == [0, 1]
    assert ended == [False]


class OddError(Exception):
    """Cannot be made again from what it says."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError, r"^CUDA out of memory\n"),
        (OddError("oh", "no"), RuntimeError, r"^OddError: oh no\n"),
    ],
    ids=["memory", "odd"],
)
def test_an_error_comes_as_it_was_raised_or_as_what_it_says(zero, error, kind, said):
    @zero.on_gpu(lambda loaded: 60)
    def run(loaded: object) -> Iterator[int]:
        yield 1
        raise error

    items = run(model())
    assert next(items) == 1
    with pytest.raises(kind, match=said) as raised:
        next(items)
    assert "raise error" in raised.value.__notes__[0]


def test_what_zero_gpu_tells_a_visitor_is_told_to_the_visitor(zero, fake):
    fake.error = gr.Error("You have exceeded your quota.")

    @zero.on_gpu(lambda loaded: 60)
    def run(loaded: object) -> Iterator[int]:
        yield 1

    with pytest.raises(VisitorError, match=r"^You have exceeded your quota\.$"):
        next(run(model()))


def test_a_run_ends_before_its_gpu_is_taken_away(zero):
    assert zero.within(600.0, 60) == 60 - START
    assert zero.within(20.0, 60) == 20.0


@pytest.fixture
def run_there(zero: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`app/jobs/comparison.py` as it is on ZeroGPU."""
    monkeypatch.setitem(sys.modules, "app.jobs.zero_gpu", zero)
    spec = importlib.util.spec_from_file_location("run_there", ROOT / "app" / "jobs" / "comparison.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run_there", module)
    spec.loader.exec_module(module)
    return module


def test_a_comparison_there_and_going_on_from_it_are_what_they_are_here(run_there, fake, atlas):
    loaded, trace = load_model(atlas, device="cpu", dtype="float32"), None
    asked = {"prompt": "The capital of Japan is", "layer": 22, "alpha": 0.1, "decoding": Decoding(max_new_tokens=6)}
    for module in (run_there, app.jobs.comparison):
        first = list(module.run(loaded, module.Request(**asked), module.Limits(), stopped=lambda: False))[-1]
        view = View(lane=1, index=2, layer=20, alpha=0.2)
        again = list(module.run_on(loaded, first.trace, view, limits=module.Limits(), stopped=lambda: False))[-1]
        assert first.finished
        assert again.finished
        trace = trace or (first.trace.to_json(), again.trace.to_json())
    assert trace == (first.trace.to_json(), again.trace.to_json())
    assert fake.asked == [LEAST, LEAST]


@pytest.mark.parametrize("prompt", ["", " ", "a long story " * 40])
def test_for_a_prompt_that_is_refused_no_gpu_is_asked_for(run_there, fake, atlas, prompt):
    loaded = load_model(atlas, device="cpu", dtype="float32")
    request = run_there.Request(prompt=prompt, layer=22, alpha=0.1, decoding=Decoding(max_new_tokens=6))
    with pytest.raises(run_there.RequestError):
        next(run_there.run(loaded, request, run_there.Limits(prompt_tokens=20)))
    assert fake.asked == []
