"""What axe-core finds, and what a screen reader and a phone get."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.driving import arrive, as_tokens, at_step, compare, finished, unfold


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation(page, server, theme, language, width):
    page.set_viewport_size({"width": width, "height": 900})
    arrive(page, f"{server.url}?__theme={theme}&lang={language}")
    unfold(page)
    as_tokens(page)
    for tab in range(4):
        page.locator("[role=tab]").nth(tab).click()
        page.wait_for_timeout(500)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_every_chart_has_a_text_twin_and_the_step_is_read_out(page):
    compare(page, "The capital of Australia is")
    finished(page)
    unfold(page)
    charts = page.locator(".duet-chart:not([hidden]) .plot").all()
    assert len(charts) == 7
    for chart in charts:
        assert chart.get_attribute("role") == "img"
        assert len(chart.get_attribute("aria-label")) > 20
    assert page.locator(".duet-say .duet-sentence").get_attribute("aria-live") == "polite"


def test_the_tab_how_it_works_has_its_steps_and_its_formulas(page):
    page.get_by_role("tab", name="How it works").click()
    expect(page.locator(".duet-how .katex").first).to_be_visible()
    expect(page.locator(".duet-how table")).to_have_count(3)
    expect(page.locator(".duet-guide .steps > li")).to_have_count(3)


def test_the_drawn_steps_lead_to_their_word_in_the_comparison(page):
    page.get_by_role("tab", name="How it works").click()
    expect(page.locator(".duet-guide .steps > li")).to_have_count(3)
    step = int(re.search(r"\d+", page.locator(".duet-guide .where").inner_text())[0])
    page.locator(".duet-guide .show").click()
    expect(page.locator(".lane.dola .t.sel")).to_be_visible()
    at_step(page, step)


def test_the_guide_asks_no_address_outside(page, server):
    page.get_by_role("tab", name="How it works").click()
    expect(page.locator(".duet-how .katex").first).to_be_visible()
    assert [url for url in page.requests if not url.startswith((server.url, "data:", "blob:"))] == []
