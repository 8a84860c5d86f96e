"""A visit on the model that a newcomer sees: SmolLM2, from its package, with Atlas-30L in the menu."""

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.driving import at_step, choose, compare, finished, set_slider, texts
from tests.browser.test_models import prompt_of, shown
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
    # What is here, before anything has run: a finished comparison, and what was measured.
    shown(page, "30 layers")
    expect(page.locator(".duet-finding").first).to_contain_text("Q4_1, dequantised")
    assert page.locator("#model input").input_value() == "SmolLM2-135M-Instruct"
    expect(page.locator(".lane.base .tag")).to_have_text("recorded")
    finished(page)
    assert first_words(page) == ["Sydney", "Canberra"]
    assert (prompt_of(page), mode(page)) == (DEFAULT, "complete"), "the next run is what is shown"
    expect(page.locator(".duet-say .duet-sentence")).to_contain_text("Plain picks “Sydney” (36 %).")
    expect(page.locator("#layers .key")).to_contain_text("␣ (led layer 21)")  # what the contrast suppresses
    said = re.search(r"on ([\d,]+) questions .* (\d+) .* (\d+)", page.locator("#verdict").inner_text())
    for number in said.groups():
        assert number in page.locator(".duet-finding").first.inner_text()

    # The same run, here. Its charts open before all steps are recorded, and who looks around then stays where they are.
    compare(page)
    expect(page.locator(".duet-bar")).to_contain_text("so far")
    expect(page.locator(".duet-below")).to_have_css("opacity", "1")
    page.locator(".lane.base .t[data-index]").nth(1).click()
    finished(page)
    expect(page.locator(".duet-bar")).not_to_contain_text("so far")
    at_step(page, 2)
    assert first_words(page) == ["Sydney", "Canberra"]
    set_slider(page, "layer-2", 3)
    expect(page.locator("#layers .plot")).to_contain_text("j* = 3")

    # A chat, whose prompt is folded away.
    page.click("#mode label:has(input[value=chat])")
    compare(page, "What is the capital of Australia?")
    finished(page)
    assert "Canberra" in texts(page)[1]
    assert "SmolLM, trained by" not in page.locator(".lane.base").inner_text()

    # What was found about its layers says the same.
    page.click("#verdict")
    expect(page.locator("#curve .main-svg").first).to_be_visible()
    panel = page.locator("[role=tabpanel]:visible").inner_text()
    for number in said.groups():
        assert number in panel
    page.click("[role=tab]:has-text('Compare')")

    # Another model and back; its runs are its own.
    choose(page, "model", "Atlas-30L")
    expect(page.locator(".duet-finding").first).to_contain_text("6,144 tokens")
    expect(page.locator("#mode")).to_be_hidden()
    compare(page, DEFAULT)
    finished(page)
    assert first_words(page)[1] == "Canberra"
    link = link_of(page)
    choose(page, "model", "SmolLM2-135M-Instruct")
    expect(page.locator(".duet-finding").first).to_contain_text("49,152 tokens")
    expect(page.locator("#mode")).to_be_visible()

    # A link leads back to the other one.
    visitor = profile.new_page()
    visitor.goto(link)
    expect(visitor.locator(".duet-finding").first).to_contain_text("6,144 tokens")
    assert prompt_of(visitor) == DEFAULT
    visitor.close()
    assert [url for url in page.requests if not url.startswith((server.url, "data:", "blob:"))] == []


def first_words(page: Page) -> list[str]:
    """The first word of each text."""
    return [re.findall(r"\w+", text)[0] for text in texts(page)]


def test_without_a_cache_it_is_converted_in_memory_and_the_badge_says_so(smollm2_cache):
    with (
        serve(DOLA_MODEL="smollm2", XDG_CACHE_HOME="/dev/null/cache") as started,
        urllib.request.urlopen(started.url) as answer,
    ):
        page = answer.read().decode()
    assert started.faults == []
    (badge,) = set(re.findall(r"SmolLM2-135M-Instruct \(([^)]*)\)", page))
    assert badge == "Q4_1, dequantised in memory, as the cache cannot be written"
