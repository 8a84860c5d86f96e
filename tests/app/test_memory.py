"""What is free goes back to the system, where the C library can."""

import psutil
import pytest
import torch

from app import memory
from app.line import Line


@pytest.mark.skipif(memory.LIBC is None, reason="needs glibc")
def test_a_run_that_is_over_leaves_no_free_memory_held():
    """Blocks too small to be mapped on their own stay with the allocator, unless it is told."""
    process, line = psutil.Process(), Line(1, 1)

    def run() -> None:
        with line.place("a") as place:
            assert line.begin(place, 0)
            small = [torch.ones(4096) for _ in range(8000)]  # 128 MB
            last = torch.ones(4096)  # lies above them, so that the heap cannot shrink by itself
            del small
            kept.append(last)

    kept: list[torch.Tensor] = []
    before = process.memory_info().rss
    run()
    assert process.memory_info().rss - before < 40_000_000


def test_where_the_library_cannot_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "LIBC", None)
    memory.few_heaps()
    memory.give_back()
