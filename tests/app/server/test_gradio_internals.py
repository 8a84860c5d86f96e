"""What Gradio would keep of a visitor's page, and is kept from keeping."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from app.language import ENGLISH
from app.server import gradio_internals
from app.server.gradio_internals import GuardedBlocks
from app.ui.components import Chart
from tests.app.loops import run_apart


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
    (drawn, pressed, _, _), page, session, (chart, button, slider, _) = run_apart(visit())
    assert drawn == '{"title": "Canberra, drawn"}'
    assert (pressed["value"], pressed["variant"]) == ("Canberra, pressed", "stop")
    assert taken == ["cANBERRA", 35]
    assert len(session.config_values) == 0
    assert [session[part._id] is part for part in (chart, button, slider)] == [True, True, False]
    assert "Canberra, drawn" not in repr([vars(block) for block in page.blocks.values()])


def refusal_of(value: object) -> str:
    """The sentence for a visitor who sends `value` to a slider whose handler divides by it."""

    async def visit() -> None:
        with GuardedBlocks() as page:
            slider, box = gr.Slider(0, 30), gr.Textbox()
            box.submit(lambda number: f"secret {1 / number}", slider, box)
        await page.process_api(page.fns[0], [value], SessionState(page))

    with pytest.raises(gr.Error) as refused:
        run_apart(visit())
    return str(refused.value.message)


def test_a_failure_of_the_pages_own_code_is_named_and_no_visitor_is_blamed(monkeypatch, caplog):
    monkeypatch.setattr(gradio_internals, "APP", Path(__file__).parent)
    assert refusal_of(0) == ENGLISH("error.event_failed", what="ZeroDivisionError")
    assert "ZeroDivisionError" in caplog.text


def test_a_value_that_gradio_cannot_take_is_said_not_to_fit():
    assert refusal_of("none") == ENGLISH("error.unfit")
