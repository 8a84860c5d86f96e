"""What Gradio would keep of a visitor's page, and is kept from keeping."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState

from app.server.gradio_internals import GuardedBlocks
from app.ui.components import Chart


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
