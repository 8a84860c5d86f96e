"""A visit on the model that a newcomer sees: SmolLM2, from its package, with Atlas-30L in the menu."""

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.inputs.known_model import TITLES
from tests.browser.test_models import choose, prompt_of, shown
from tests.browser.test_page import compare, finished, set_slider
from tests.browser.test_sharing import texts
from tests.server import Server, serve

expect.set_options(timeout=60_000)  # a traced step takes a tenth of a second with one thread
DEFAULT = "The capital of Australia is"


@pytest.fixture(scope="session")
def newcomers_page(smollm2_cache: Path) -> Iterator[Server]:
    """The page as `python app.py` serves it where the package is installed."""
    with serve(DOLA_MODEL="") as started:
        yield started


@pytest.fixture
def server(newcomers_page: Server) -> Server:
    """Instead of the page with Atlas-30L alone."""
    return newcomers_page


def mode(page: Page) -> str:
    """Which of *Complete* and *Chat* is chosen."""
    return page.locator("#mode input:checked").get_attribute("value")


def link_of(page: Page) -> str:
    """The link to what the page shows."""
    page.click("#link")
    return page.locator("#outbox input").input_value()


def test_a_newcomers_visit(page, server, profile):
    # What is here, before anything has run.
    shown(page, "Q4_1, dequantised")
    expect(page.locator("#badge")).to_contain_text("30 layers · 49,152 tokens")
    assert page.locator("#model input").input_value() == "SmolLM2-135M-Instruct"
    assert mode(page) == "chat"
    for title in TITLES:
        expect(page.locator(f"#recorded-{title}")).to_be_visible()
    assert "mended: The capital of Australia is" in page.locator(".duet-examples").inner_text()

    # A recorded run is this model's own.
    page.click("#recorded-mended")
    finished(page)
    assert [text.strip("␣ ").split(".")[0].split()[0] for text in texts(page)] == ["Sydney", "Canberra"]

    # A chat, whose template is folded away.
    compare(page, "What is the capital of Australia?")
    expect(page.locator(".lane.base .t.p", has_text="What")).to_be_visible()  # the recorded run has gone
    finished(page)
    assert "Canberra" in texts(page)[1]
    assert "SmolLM, trained by" not in page.locator(".lane.base").inner_text()

    # An example is completed, and the slider says what would change.
    page.click(".duet-examples button:has-text('mended: The capital of Australia is')")
    expect(page.locator("#prompt textarea")).to_have_value(DEFAULT)
    expect(page.locator("#mode input[value=complete]")).to_be_checked()
    compare(page)
    expect(page.locator(".lane.base")).to_contain_text("Sydney")  # the chat's text has gone
    finished(page)
    assert [text.strip("␣ ").split(".")[0] for text in texts(page)] == ["Sydney", "Canberra"]
    set_slider(page, "layer", 3)
    expect(page.locator("#plausible-head .sub")).to_contain_text("q_3")
    expect(page.locator("#layers .plot")).to_contain_text("j* = 3")

    # What was found about its layers.
    page.click("[role=tab]:has-text('Choose')")
    expect(page.locator("#curve .main-svg").first).to_be_visible()
    expect(page.get_by_text("validation.jsonl: 1,842 of 1,842 questions").first).to_be_visible()
    page.click("[role=tab]:has-text('Compare')")

    # Another model and back; its runs are its own.
    choose(page, "Atlas-30L")
    shown(page, "6,144 tokens")
    expect(page.locator("#mode")).to_be_hidden()
    compare(page, DEFAULT)
    finished(page)
    assert texts(page)[1].strip("␣ ").startswith("Canberra")
    link = link_of(page)
    choose(page, "SmolLM2-135M-Instruct")
    shown(page, "49,152 tokens")
    expect(page.locator("#mode")).to_be_visible()

    # A link leads back to the other one.
    visitor = profile.new_page()
    visitor.goto(link)
    shown(visitor, "6,144 tokens")
    assert prompt_of(visitor) == DEFAULT
    visitor.close()
    assert [url for url in page.requests if not url.startswith((server.url, "data:", "blob:"))] == []


def test_without_a_cache_it_is_converted_in_memory_and_the_badge_says_so(smollm2_cache):
    with (
        serve(DOLA_MODEL="smollm2", XDG_CACHE_HOME="/dev/null/cache") as started,
        urllib.request.urlopen(started.url) as answer,
    ):
        page = answer.read().decode()
    assert "Traceback" not in "".join(started.log)
    (badge,) = set(re.findall(r"SmolLM2-135M-Instruct \(([^)]*)\)", page))
    assert badge == "Q4_1, dequantised in memory, as the cache cannot be written"
