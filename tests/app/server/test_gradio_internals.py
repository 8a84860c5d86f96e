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

from app.jobs import allocator
from app.jobs.run_queue import Line
from app.server.guard import GuardedBlocks
from app.ui.components import Chart


@pytest.mark.skipif(allocator.LIBC is None, reason="needs glibc")
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
    allocator.keep_for_good()
    assert gc.get_freeze_count() > 1000
    assert len(gc.get_objects()) < 1000


def test_where_the_library_cannot_nothing_happens(monkeypatch):
    monkeypatch.setattr(allocator, "LIBC", None)
    allocator.few_heaps()
    allocator.give_back()


def test_of_what_a_page_shows_only_its_states_are_kept():
    """Every kind of answer: a value, a changed component, one that takes other values now, a state."""

    def answer(text: str) -> tuple[Any, ...]:
        return (
            {"title": f"{text}, drawn"},
            gr.Button(f"{text}, pressed", variant="stop"),
            gr.Slider(maximum=40),
            text.swapcase(),
        )

    async def visit() -> tuple[list[Any], GuardedBlocks, SessionState, list[Any]]:
        with GuardedBlocks() as page:
            box, *parts = gr.Textbox(), Chart(), gr.Button(), gr.Slider(1, 30), gr.State()
            parts[1].click(answer, box, parts)
            parts[1].click(lambda layer: layer, parts[2], parts[3])
        session = SessionState(page)
        for _ in range(2):
            data = (await page.process_api(page.fns[0], ["Canberra"], session))["data"]
        taken.append(session[parts[3]._id])
        await page.process_api(page.fns[1], [35], session)
        taken.append(session[parts[3]._id])
        return data, page, session, parts

    taken: list[Any] = []
    with ThreadPoolExecutor() as thread:  # in this one a browser's loop may be running
        (drawn, pressed, _, _), page, session, (chart, button, slider, _) = thread.submit(asyncio.run, visit()).result()
    assert drawn == '{"title": "Canberra, drawn"}'
    assert (pressed["value"], pressed["variant"]) == ("Canberra, pressed", "stop")
    assert taken == ["cANBERRA", 35]
    assert len(session.config_values) == 0
    assert [session[part._id] is part for part in (chart, button, slider)] == [True, True, False]
    assert "Canberra, drawn" not in repr([vars(block) for block in page.blocks.values()])
