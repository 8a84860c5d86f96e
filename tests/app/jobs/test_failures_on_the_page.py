"""Wherever a run can be asked for, a failure that nobody expected reaches its visitor by name, in their language."""

import logging
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
import torch

from app.language import CODES, language
from app.server import api
from app.tabs.compare.inspector import Crumb
from app.ui.events import Changes
from dola_core.decoding.engine import Engine
from dola_core.layer_search.search import Search
from dola_core.trace.schema import Trace
from tests.app.acting import Page

WHAT = "ZeroDivisionError: division by zero in …"
QUESTION = {"prompt": "The capital of Japan is", "answers": ["Tokyo"], "wrong": ["Osaka"]}


@pytest.fixture(scope="module")
def page(engine: Engine) -> Page:
    return Page(engine)


def notice_of(changes: list[Changes]) -> str:
    """The error that a visitor reads in the end."""
    last = {component: value for change in changes for component, value in change.items()}
    (text,) = [v["text"] for v in last.values() if isinstance(v, dict) and v.get("tone") == "error"]
    return text


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@pytest.fixture
def asked(page: Page, forked: Trace, tmp_path) -> dict[str, Callable[[str], list[Changes]]]:
    """{what a visitor asks for: how}, each for a code of a language."""
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "Gold is", "answers": ["a metal"], "wrong": ["a gas"]}')
    prompt = {"controls.prompt": "Gold is", "controls.max_new_tokens": 3}
    shown = {
        "inspector.trace": forked, "inspector.trail": [Crumb("start", forked)], "inspector.pinned": [],
        "inspector.lane": 1, "inspector.step": 2, "states.asked_on": forked.digest,
    }  # fmt: skip
    return {
        "compare": lambda code: page.run("compare", code, prompt),
        "beams": lambda code: page.run("compare", code, prompt | {"controls.num_beams": 2}),
        "run on": lambda code: page.run("run_on_here", code, shown),
        "search": lambda code: page.run("search", code, {"tab.upload": str(file)}),
    }


PLACES = {
    "compare": (Engine, "compare", "error.failed"),
    "beams": (Engine, "beam_search", "error.failed"),
    "run on": (Engine, "compare", "error.failed"),
    "search": (Search, "run", "search.failed"),
}
"""{what is asked for: class and method that fail, and the sentence's key}"""


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("what", PLACES)
def test_the_page_names_a_failure_without_advice(asked, monkeypatch, caplog, what, code):
    owner, method, key = PLACES[what]
    monkeypatch.setattr(owner, method, failing(ZeroDivisionError("division by zero in /srv/x.py\nand more")))
    with caplog.at_level(logging.ERROR):
        assert notice_of(asked[what](code)) == language(code)(key, what=WHAT)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("what", PLACES)
def test_the_page_advises_less_where_memory_ran_out(asked, monkeypatch, caplog, what):
    owner, method, key = PLACES[what]
    monkeypatch.setattr(owner, method, failing(torch.OutOfMemoryError("CUDA out of memory.")))
    expected = key.replace("failed", "out_of_memory")
    assert notice_of(asked[what]("en")) == language("en")(expected)


@pytest.mark.parametrize(
    ("place", "call", "key"),
    [
        ((Engine, "compare"), ("compare", "Gold is"), "error.failed"),
        ((Search, "run"), ("layer_curve", [QUESTION]), "search.failed"),
        ((api, "read_trace"), ("what_if", {}, 1, 3, 0.5), "error.what_if_failed"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and isinstance(value[0], str) else "",
)
def test_a_program_gets_the_same_sentence_as_an_error(page, monkeypatch, caplog, place, call, key):
    monkeypatch.setattr(*place, failing(ZeroDivisionError("division by zero in /srv/x.py\nand more")))
    with pytest.raises(gr.Error) as refused:
        page.endpoint(*call)
    assert refused.value.message == language("en")(key, what=WHAT)
    assert not refused.value.print_exception


def test_a_what_if_below_the_recorded_alpha_is_refused_by_that_number(page, forked):
    document = forked.model_dump(mode="json", by_alias=True)
    for step in document["steps"]:
        step["exact_alpha"] = 0.25
    with pytest.raises(gr.Error) as refused:
        page.endpoint("what_if", document, 2, 3, 0.2)
    assert refused.value.message == language("en")("error.recorded_alpha", least=0.25)
