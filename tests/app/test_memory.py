"""What is free goes back to the system, where the C library can, and what a visitor's page shows is not kept."""

import gradio as gr
import httpx
import psutil
import pytest
import torch

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


def test_where_the_library_cannot_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "LIBC", None)
    memory.few_heaps()
    memory.give_back()


@pytest.mark.anyio
async def test_of_what_a_page_shows_only_its_states_are_kept():
    """Every kind of answer: a value, a changed component, a state."""
    with GuardedBlocks() as page:
        box, chart, button, state = gr.Textbox(), Chart(), gr.Button(elem_id="go"), gr.State()
        button.click(
            lambda text: ({"title": f"{text}, drawn"}, gr.Button(f"{text}, pressed"), text.swapcase()),
            box, [chart, button, state], queue=False,
        )  # fmt: skip
    app = gr.routes.App.create_app(page)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        asked = {"data": ["Canberra"], "fn_index": 0, "session_hash": "somebody"}
        for _ in range(2):
            answer = (await client.post("/gradio_api/run/predict", json=asked)).json()
            assert answer["data"][0] == '{"title": "Canberra, drawn"}'
            assert answer["data"][1]["value"] == "Canberra, pressed"
    session = app.state_holder.session_data["somebody"]
    assert session[state._id] == "cANBERRA"
    held = [*session.components, *(vars(block) for block in session.blocks_config.blocks.values())]
    assert len(session.config_values) == 0
    assert "Canberra, drawn" not in repr(held)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
