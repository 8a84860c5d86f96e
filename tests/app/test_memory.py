"""What is free goes back to the system, where the C library can, and what a visitor's page shows is not kept."""

import asyncio
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gradio as gr
import psutil
import pytest
import torch
from gradio.state_holder import SessionState

from app import memory
from app.components import Chart
from app.guard import GuardedBlocks
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


def test_what_only_holds_itself_is_let_go_at_the_end_of_a_run():
    """Python's collector may wait for minutes; what there was when the page was built it need not look at."""
    gc.disable()
    try:
        ring: list[Any] = [torch.ones(10)]
        ring.append(ring)
        gone = weakref.ref(ring[0])
        line = Line(1, 1)
        with line.place("a") as place:
            assert line.begin(place, 0)
            del ring
        assert gone() is None
    finally:
        gc.enable()


def test_what_there_is_when_the_page_is_built_is_not_looked_through_again():
    try:
        memory.keep_for_good()
        assert gc.get_freeze_count() > 1000
        assert len(gc.get_objects()) < 1000
    finally:
        gc.unfreeze()


def test_where_the_library_cannot_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "LIBC", None)
    memory.few_heaps()
    memory.give_back()


def test_of_what_a_page_shows_only_its_states_are_kept():
    """Every kind of answer: a value, a changed component, a state."""

    async def visit() -> tuple[list[Any], SessionState, gr.State]:
        with GuardedBlocks() as page:
            box, chart, button, state = gr.Textbox(), Chart(), gr.Button(), gr.State()
            button.click(
                lambda text: ({"title": f"{text}, drawn"}, gr.Button(f"{text}, pressed"), text.swapcase()),
                box, [chart, button, state],
            )  # fmt: skip
        session = SessionState(page)
        for _ in range(2):
            answer = await page.process_api(page.fns[0], ["Canberra"], session)
        return answer["data"], session, state

    with ThreadPoolExecutor() as thread:  # in this one a browser's loop may be running
        (drawn, pressed, _), session, state = thread.submit(asyncio.run, visit()).result()
    assert drawn == '{"title": "Canberra, drawn"}'
    assert pressed["value"] == "Canberra, pressed"
    assert session[state._id] == "cANBERRA"
    assert len(session.config_values) == 0
    assert "Canberra, drawn" not in repr([vars(block) for block in session.blocks_config.blocks.values()])
