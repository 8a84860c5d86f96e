"""Memory that nobody uses goes back to the system at the end of a run, where the C library can do that."""

import gc
import weakref
from typing import Any

import psutil
import pytest
import torch

from app.jobs import allocator
from app.jobs.queue.run_queue import RunQueue
from app.jobs.queue.visitor import Visitor


@pytest.mark.skipif(allocator.LIBC is None, reason="needs glibc")
def test_a_run_that_is_over_leaves_no_free_memory_held():
    """Blocks too small to be mapped on their own stay with the allocator, unless it is asked to give them back."""
    process, queue = psutil.Process(), RunQueue(1, 1)

    def run() -> None:
        with queue.enter(Visitor("", "a")) as entry:
            assert queue.begin(entry, 0)
            small = [torch.ones(4096) for _ in range(8000)]  # 128 MB
            last = torch.ones(4096)  # lies above them, so that the heap cannot shrink by itself
            del small
            kept.append(last)

    kept: list[torch.Tensor] = []
    before = process.memory_info().rss
    run()
    assert process.memory_info().rss - before < 40_000_000


def test_what_only_holds_itself_is_let_go_at_the_end_of_a_run():
    """Python's collector may wait for minutes; what there was when the page was built it need not look at."""
    gc.disable()
    try:
        ring: list[Any] = [torch.ones(10)]
        ring.append(ring)
        gone = weakref.ref(ring[0])
        queue = RunQueue(1, 1)
        with queue.enter(Visitor("", "a")) as entry:
            assert queue.begin(entry, 0)
            del ring
        assert gone() is None
    finally:
        gc.enable()


def test_what_there_is_when_the_page_is_built_is_not_looked_through_again():
    allocator.freeze_startup_objects()
    assert gc.get_freeze_count() > 1000
    assert len(gc.get_objects()) < 1000


def test_where_the_library_cannot_nothing_happens(monkeypatch):
    monkeypatch.setattr(allocator, "LIBC", None)
    allocator.limit_heaps()
    allocator.release_memory()
