"""How much memory a value takes, from a sample of it."""

import gc
import tracemalloc

import numpy as np
import pytest

from app.server.bounds.memory import memory_of
from dola_core.trace.schema import Trace

MAKERS = {
    "a text": lambda: "a" * 1_000_000,
    "texts": lambda: [f"{number:>50}" for number in range(20_000)],
    "an array": lambda: [np.arange(100_000, dtype=np.float32)],
    "numbers by text": lambda: {f"{number}": float(number) for number in range(20_000)},
    "nested": lambda: [[{"a": [float(one)]} for one in range(20)] for _ in range(500)],
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_it_is_about_what_python_allocates(make):
    assert 0.5 < memory_of(make()) / allocated(make) < 2


def test_it_is_about_what_a_trace_takes(forked):
    text = forked.to_json()
    fresh = Trace.model_validate_json(text)  # without what other tests have made it keep
    assert 0.5 < memory_of(fresh) / allocated(lambda: Trace.model_validate_json(text)) < 2


def allocated(make) -> int:
    """Bytes that Python has allocated for what `make` returns."""
    make()  # what is made once for all
    gc.collect()
    tracemalloc.start()
    kept = make()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept is not None
    return size
