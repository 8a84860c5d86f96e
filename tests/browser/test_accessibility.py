"""What axe-core finds, and what a screen reader and a phone get."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.test_page import compare, finished

expect.set_options(timeout=30_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation(page, server, theme):
    page.goto(f"{server.url}?__theme={theme}")
    page.wait_for_selector(".duet-inbox[lang]")
    compare(page, "The capital of Australia is")
    finished(page)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_every_chart_has_a_text_twin_and_the_step_is_read_out(page):
    compare(page, "The capital of Australia is")
    finished(page)
    for chart in page.locator(".duet-chart .plot").all():
        assert chart.get_attribute("role") == "img"
        assert len(chart.get_attribute("aria-label")) > 20
    assert page.locator(".duet-say .duet-sentence").get_attribute("aria-live") == "polite"


def test_the_tab_how_it_works_renders_its_formulas_without_a_request(page, server):
    page.get_by_role("tab", name="How it works").click()
    expect(page.locator(".duet-how .katex").first).to_be_visible()
    assert page.locator(".duet-how table").count() == 1
    assert [url for url in page.requests if not url.startswith((server.url, "data:", "blob:"))] == []
