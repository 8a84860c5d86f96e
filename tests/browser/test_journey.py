"""One visit from beginning to end, as people of both languages make it, in light and in dark."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from app.language import language
from app.ui.palette import DARK, LIGHT
from tests.browser.test_inspector import click_point
from tests.browser.test_page import compare, finished, set_slider
from tests.browser.test_sharing import saved, texts

expect.set_options(timeout=30_000)
STEP = "#step input[type=number]"


def english_in(page: Page) -> list[str]:
    """What the page says in English, of what it says itself."""
    said = page.evaluate(
        """() => [...document.querySelectorAll('h3, .sub, .duet-sentence, button, label > span, .ghost, .duet-notice')]
            .filter(n => n.checkVisibility() && !n.closest('.duet-finding, .duet-examples')).map(n => n.textContent)"""
    )
    return [text for text in said if re.search(r"\b(the|of|and|step|layer|token|would)\b", text)]


def ink(page: Page, chart: str) -> str:
    """The colour of a chart's letters, as Plotly holds it."""
    return page.locator(f"{chart} .plot").evaluate("plot => plot._fullLayout.font.color")


@pytest.mark.parametrize(("locale", "theme"), [("en-GB", "light"), ("zh-CN", "dark")])
def test_a_visit_from_a_recorded_run_to_a_shared_one(browser: Browser, server, tmp_path, locale, theme):
    words = language(locale[:2])
    context = browser.new_context(locale=locale, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.goto(f"{server.url}?__theme={theme}")
    page.wait_for_selector(".duet-inbox[lang]")

    # A recorded run, before any model has run.
    page.click("#recorded-mended")
    finished(page)
    differ = page.locator(".lane.dola .t.d").evaluate_all("nodes => nodes.map(n => +n.dataset.index)")
    assert differ
    expect(page.locator(".lane.dola .ghost")).to_contain_text(words("strips.ghost", lane="Baseline").strip())
    assert ink(page, "#plausible-head") == ink(page, "#heat-dola") == (DARK if theme == "dark" else LIGHT)["ink"]

    # Read the strips, walk the steps.
    page.locator("#overlay").get_by_text(words("option.entropy"), exact=True).click()
    expect(page.locator(".t.tint").first).to_be_visible()
    page.locator(".lane.dola .t[data-index='0']").click()
    expect(page.locator(STEP)).to_have_value("1")
    page.keyboard.press("End")
    expect(page.locator(STEP)).to_have_value(str(page.locator(".lane.dola .t[data-index]").count()))

    page.keyboard.press("Home")
    expect(page.locator(STEP)).to_have_value("1")

    # Every layer at every step: to a cell, and its token pinned.
    click_point(page, "#heat-base", 2, 29)
    expect(page.locator("#layer input[type=number]")).to_have_value("29")
    expect(page.locator(STEP)).to_have_value("2")
    expect(page.locator("#layers .plot")).to_contain_text("j* = 29")
    click_point(page, "#heat-base", 2, 29)
    expect(page.locator("#force")).to_be_visible()
    page.wait_for_timeout(500)  # the charts below the new button have moved and been drawn
    click_point(page, "#heat-base", 2, 29)
    expect(page.locator("#force")).to_be_hidden()

    # What if, by the map and by the slider.
    click_point(page, "#map", 5, 7)
    expect(page.locator("#alpha input[type=number]")).to_have_value("0.5")
    set_slider(page, "alpha", 1)
    asked = words("sentence.setting", layer=5, alpha="1")
    expect(page.locator(".duet-row").first).to_contain_text(asked)
    if locale.startswith("zh"):
        assert english_in(page) == []

    # Run, force a token, and go back.
    set_slider(page, "layer", 12)
    set_slider(page, "alpha", 0.05)
    compare(page, "The capital of Australia is")
    expect(page.locator(".lane.base .t.p", has_text="Australia")).to_be_visible()
    finished(page)
    before = texts(page)
    page.locator(".lane.dola .t[data-index='1']").click()
    expect(page.locator(STEP)).to_have_value("2")
    click_point(page, "#plausible-head", 0.0001, 2 - 0.27)
    page.locator("#force").click()
    expect(page.locator(".duet-crumbs")).to_be_visible()
    finished(page)
    page.locator(".duet-crumbs button").first.click()
    expect(page.locator(".duet-crumbs")).to_be_hidden()
    assert texts(page) == before

    # Take it along, and look at it again.
    page.click("#link")
    assert page.locator("#outbox input").input_value().startswith(server.url)
    file = saved(page, "#trace", tmp_path)
    assert "</html>" not in file.read_text()
    assert "Plotly" in saved(page, "#report", tmp_path).read_text()
    page.goto(f"{server.url}?__theme={theme}")
    page.wait_for_selector(".duet-inbox[lang]")
    page.locator("#inbox input").set_input_files(file)
    finished(page)
    assert texts(page) == before

    # Learn, and change the language.
    page.get_by_role("tab", name=words("page.how_tab")).click()
    expect(page.locator(".duet-how.prose .katex").first).to_be_visible()
    other = language("zh" if words.code == "en" else "en")
    page.locator("#language").get_by_text(other("page.name"), exact=True).click()
    expect(page.get_by_role("tab", name=other("page.how_tab"))).to_be_visible()
    assert errors == []
    context.close()
