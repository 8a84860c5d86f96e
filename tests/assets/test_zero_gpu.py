"""How a run is lent a GPU on ZeroGPU, with a fake of the package that lends it."""

import base64
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import wraps
from io import BytesIO
from itertools import count
from types import ModuleType, SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import app.jobs.comparison
from app.jobs.request import ComparisonRequest, Limits, RequestError
from app.jobs.zero_gpu import LEAST, MOST, START, gpu_seconds, on_gpu, within
from app.language import VisitorError
from dola_core.comparison import Prompt
from dola_core.decoding.engine import Engine
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.images import image_prompts
from dola_core.models.images.image_file import prompt_image
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from tests.dola_core.models.images.cases import folder
from tests.dola_core.models.images.cases import loaded as family
from tests.dola_core.models.images.families import picture
from tests.server import ROOT, load_module


@given(some.integers(0, 10_000), some.integers(1, 4096), some.integers(1, 16))
def test_more_work_asks_for_no_less_of_a_gpu_within_bounds(prompt, new, beams):
    seconds = gpu_seconds(prompt, new, beams)
    assert LEAST <= seconds <= MOST
    assert gpu_seconds(prompt + 500, new, beams) >= seconds
    assert gpu_seconds(prompt, new + 50, beams) >= seconds
    assert gpu_seconds(prompt, new, beams + 1) >= seconds


def test_a_gpu_is_asked_for_by_the_length_of_the_text():
    assert gpu_seconds(10, 48) == LEAST
    assert LEAST < gpu_seconds(10, 256) < gpu_seconds(10, 256, 4) < MOST
    assert gpu_seconds(0, 4096) == MOST


def test_away_from_zero_gpu_a_run_is_the_very_same_function():
    def run(engine: object) -> Iterator[int]:
        yield 1

    assert on_gpu(lambda engine: 60)(run) is run
    assert within(600.0, 60) == 600.0


class FakeSpaces(ModuleType):
    """The package `spaces`: it pickles the arguments of a decorated generator function, and what it yields."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.durations: list[int] = []
        """The seconds that each run asked for."""
        self.error: gr.Error | None = None
        """Raised instead of lending a GPU."""

    def GPU(self, *, duration: Callable[..., int]) -> Callable[..., Any]:
        def decorate(task: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            @wraps(task)
            def lent(*args: object, **kwargs: object) -> Iterator[Any]:
                self.durations.append(duration(*args, **kwargs))
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
    module = FakeSpaces()
    monkeypatch.setitem(sys.modules, "spaces", module)
    return module


@pytest.fixture
def zero(fake: FakeSpaces, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`app/jobs/zero_gpu.py` as imported on ZeroGPU."""
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    return load_module(ROOT / "app" / "jobs" / "zero_gpu.py", "zero_gpu_in_space")


def fake_engine(weights: int = 7) -> SimpleNamespace:
    """An engine that cannot be pickled."""
    return SimpleNamespace(weights=lambda: weights)


def test_a_run_is_lent_a_gpu_for_its_time_and_finds_its_own_engine(zero, fake):
    @zero.on_gpu(lambda engine, words, *, times: engine.weights() * times)
    def run(engine: SimpleNamespace, words: list[str], *, times: int) -> Iterator[tuple[int, str]]:
        yield from ((engine.weights(), word) for word in words * times)

    other = fake_engine(8)
    assert list(run(fake_engine(), ["a", "b"], times=1)) == [(7, "a"), (7, "b")]
    assert list(run(other, ["c"], times=2)) == [(8, "c"), (8, "c")]
    assert fake.durations == [7, 16]


def test_cancelled_is_not_handed_over_and_closing_ends_the_run_in_the_fork(zero):
    ended = []

    @zero.on_gpu(lambda engine: 60)
    def run(engine: object, cancelled: Callable[[], bool] = lambda: False) -> Iterator[int]:
        try:
            yield from count()
        finally:
            ended.append(cancelled())

    with closing(run(fake_engine(), cancelled=lambda: True)) as numbers:
        assert [next(numbers), next(numbers)] == [0, 1]
    assert ended == [False]


class OddError(Exception):
    """An error that cannot be pickled: it is not made from its message alone."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError, r"^CUDA out of memory\n"),
        (OddError("oh", "no"), RuntimeError, r"^OddError: oh no\n"),
    ],
    ids=["memory", "odd"],
)
def test_an_error_arrives_as_it_was_raised_or_with_its_message(zero, error, kind, message):
    @zero.on_gpu(lambda engine: 60)
    def run(engine: object) -> Iterator[int]:
        yield 1
        raise error

    items = run(fake_engine())
    assert next(items) == 1
    with pytest.raises(kind, match=message) as raised:
        next(items)
    assert "raise error" in raised.value.__notes__[0]


def test_a_message_of_zero_gpu_reaches_the_visitor(zero, fake):
    fake.error = gr.Error("You have exceeded your quota.")

    @zero.on_gpu(lambda engine: 60)
    def run(engine: object) -> Iterator[int]:
        yield 1

    with pytest.raises(VisitorError, match=r"^You have exceeded your quota\.$"):
        next(run(fake_engine()))


def test_a_run_ends_before_its_gpu_is_taken_away(zero):
    assert zero.within(600.0, 60) == 60 - START
    assert zero.within(20.0, 60) == 20.0


@pytest.fixture
def comparison_in_space(zero: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`app/jobs/comparison.py` as imported on ZeroGPU."""
    monkeypatch.setitem(sys.modules, "app.jobs.zero_gpu", zero)
    return load_module(ROOT / "app" / "jobs" / "comparison.py", "comparison_in_space")


@pytest.fixture
def engine(loaded: LoadedModel) -> Engine:
    return Engine(loaded)


def test_a_comparison_and_running_on_from_it_give_the_same_traces_on_zero_gpu(comparison_in_space, fake, engine):
    config = DecodingConfig(max_new_tokens=6)
    request = ComparisonRequest(prompt="The capital of Japan is", layer=22, alpha=0.1, decoding=config)
    traces = []
    for module in (comparison_in_space, app.jobs.comparison):
        *_, first = module.run(engine, request, Limits(), cancelled=lambda: False)
        place = {"lane": 1, "index": 2, "lanes": (Baseline(), DolaStatic(layer=20, alpha=0.2))}
        *_, again = module.run_on(engine, first.trace, **place, limits=Limits(), cancelled=lambda: False)
        assert first.finished
        assert again.finished
        traces.append(
            [(one.trace.digest, one.trace.texts, one.trace.ends, len(one.trace.steps)) for one in (first, again)]
        )
    assert traces[0] == traces[1]
    assert fake.durations == [LEAST, LEAST]


@pytest.mark.parametrize("prompt", ["", " ", "a long story " * 40])
def test_for_a_prompt_that_is_refused_no_gpu_is_asked_for(comparison_in_space, fake, engine, prompt):
    request = ComparisonRequest(prompt=prompt, layer=22, alpha=0.1, decoding=DecodingConfig(max_new_tokens=6))
    with pytest.raises(RequestError):
        next(comparison_in_space.run(engine, request, Limits(prompt_tokens=20)))
    assert fake.durations == []


def test_a_run_with_an_image_crosses_to_the_fork_and_back(comparison_in_space, fake):
    engine, file = Engine(family("smolvlm")), BytesIO()
    picture(1).save(file, "PNG")
    asked = {
        "prompt": "What is this?",
        "decoding": DecodingConfig(max_new_tokens=3),
        "lanes": (Baseline(), Baseline(image=False)),
        "image": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(),
    }
    traces = []
    for module in (comparison_in_space, app.jobs.comparison):
        *_, last = module.run(engine, ComparisonRequest.of(**asked))
        traces.append((last.trace.digest, last.trace.images, len(last.trace.steps)))
    assert traces[0] == traces[1]
    assert len(traces[0][1]) == 1
    assert fake.durations == [LEAST]


def test_where_a_gpu_is_lent_later_the_trial_with_an_image_is_done_at_once(monkeypatch):
    proved = []
    monkeypatch.setattr(image_prompts, "prove_images", lambda readout, *_: proved.append(readout.model))
    now, later = (load_model(folder("llava"), device="cpu", dtype="float32", gpu_later=late) for late in (False, True))
    assert proved == [later.model]
    later.read_prompt(Prompt("What is this?", (prompt_image(picture(1)),)))
    assert proved == [later.model]
    now.read_prompt(Prompt("What is this?", (prompt_image(picture(1)),)))
    assert proved == [later.model, now.model]
