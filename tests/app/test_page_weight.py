"""What keeps the page quick: what it makes browsers load, and what its style sheets make them match anew."""

import gzip
import re
from typing import Any

import gradio as gr
import pytest
from plotly.offline import get_plotlyjs_version
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.paths import PAGE_FILES, PLOTLY_JS
from app.ui.components import PLOTLY, PREFIX, routes
from app.ui.events import EVERY_CLICK, QUICK, SILENT
from tests.app.conftest import within_loop

SMALL = ("#decoding", ".duet-fields")
"""Parts of the page in which no what-if changes anything."""


def test_the_plotly_that_browsers_get_is_the_one_whose_figures_the_tests_check():
    head = PLOTLY_JS.read_text(encoding="utf-8")[:400]
    version = get_plotlyjs_version()
    assert f"cartesian - minified) v{version}" in head
    assert f"plotly-{version}.min.js" == PLOTLY
    assert "MIT" in (PLOTLY_JS.parent / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("accepted", ["gzip, br", "identity"])
def test_plotly_comes_packed_where_the_browser_can_unpack_it(accepted):
    client = TestClient(Starlette(routes=routes()))
    with client.stream("GET", f"/{PREFIX}/{PLOTLY}", headers={"Accept-Encoding": accepted}) as answer:
        raw = b"".join(answer.iter_raw())
    is_packed = answer.headers.get("content-encoding") == "gzip"
    assert is_packed == ("gzip" in accepted)
    assert (gzip.decompress(raw) if is_packed else raw) == PLOTLY_JS.read_bytes()
    assert "max-age=31536000" in answer.headers["cache-control"]


def test_no_style_looks_into_a_part_that_changes():
    """A rule with `:has` makes the browser match styles anew, wherever something changes inside of what it is about."""
    rules = [
        line.strip()
        for sheet in sorted(PAGE_FILES.glob("*.css"))
        for line in re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.S).splitlines()
        if ":has(" in line
    ]
    assert [
        rule for rule in rules if not any(re.search(rf"{re.escape(part)}(:not\()?:has\(", rule) for part in SMALL)
    ] == []


def test_no_event_makes_gradio_note_its_progress_on_every_part_of_the_page():
    """Gradio's page would update, twice an event, every part that any event changes."""

    def lay_out() -> list[dict[str, Any]]:
        with gr.Blocks() as page:
            button, text = gr.Button(), gr.Textbox()
            button.click(lambda: "", None, [text], **QUICK)
            button.click(lambda: "", None, [text], **EVERY_CLICK)
            button.click(lambda: "", None, [text], **SILENT)
        return page.get_config_file()["dependencies"]

    assert [event["show_progress_on"] for event in within_loop(lay_out)] == [[]] * 3
