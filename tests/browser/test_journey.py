"""One visit from beginning to end, as people of both languages make it, in light and in dark."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from app.language import language
from app.ui.palette import DARK, LIGHT
from tests.browser.driving import (
    arrive,
    at_step,
    click_point,
    compare,
    drawn,
    finished,
    mark_shown,
    set_slider,
    texts,
    unfold,
)
from tests.browser.test_sharing import saved


def english_in(page: Page) -> list[str]:
    """What the page says in English, of what it says itself."""
    said = page.evaluate(
        """() => [...document.querySelectorAll(
                'h3, .sub, .duet-sentence, button, label > span, .duet-bar, .duet-notice, .lane h2')]
            .filter(n => n.checkVisibility() && !n.closest('.duet-chips, .duet-model')).map(n => n.textContent)"""
    )
    own = [re.sub("“[^”]*”", "", text) for text in said]  # without the tokens that are quoted
    return [text for text in own if re.search(r"\b(the|of|and|step|layer|token|would)\b", text)]


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
    arrive(page, f"{server.url}?__theme={theme}")

    # A recorded run, before any model has run.
    expect(page.locator(".lane.base .tag")).to_have_text(words("strips.recorded"))
    finished(page)
    unfold(page)
    differ = page.locator(".lane.dola .t.d").evaluate_all("nodes => nodes.map(n => +n.dataset.index)")
    assert differ
    hint = words("strips.would_say", lane=words("lane.plain"), token="").strip()
    expect(page.locator(".lane.dola .t.d").first).to_have_attribute("title", re.compile(re.escape(hint)))
    assert ink(page, "#plausible-head") == ink(page, "#heat-dola") == (DARK if theme == "dark" else LIGHT)["ink"]

    # Read the texts, walk the steps.
    page.locator("#overlay").get_by_text(words("option.entropy"), exact=True).click()
    expect(page.locator(".t.tint").first).to_be_visible()
    page.locator(".lane.dola .t[data-index='0']").click()
    at_step(page, 1)
    page.keyboard.press("End")
    at_step(page, page.locator(".lane.dola .t[data-index]").count())

    page.keyboard.press("Home")
    at_step(page, 1)

    # Every layer at every step: to a cell, and its token pinned.
    click_point(page, "#heat-base", 2, 29)
    expect(page.locator("#layer-2 input[type=number]")).to_have_value("29")
    at_step(page, 2)
    expect(page.locator("#layers .plot")).to_contain_text("j* = 29")
    click_point(page, "#heat-base", 2, 29)
    expect(page.locator("#force")).to_be_visible()
    page.wait_for_timeout(500)  # the charts below the new button have moved and been drawn
    click_point(page, "#heat-base", 2, 29)
    expect(page.locator("#force")).to_be_hidden()

    # What if, by the map and by the slider.
    click_point(page, "#map", 5, 5)
    expect(page.locator("#alpha-2 input[type=number]")).to_have_value("0.2")
    set_slider(page, "alpha-2", 1)
    expect(page.locator(".duet-bar .what-if")).to_contain_text("α = 1")
    if locale.startswith("zh"):
        assert english_in(page) == []

    # Run, force a token, and go back.
    set_slider(page, "layer-2", 12)
    set_slider(page, "alpha-2", 0.05)
    compare(page, "The capital of Australia is")
    finished(page)
    before = texts(page)
    page.locator(".lane.dola .t[data-index='1']").click()
    at_step(page, 2)
    last = drawn(page, "#plausible-head").evaluate("plot => plot.data[0].y.length - 1")
    click_point(page, "#plausible-head", 0.00001, last - 0.27)
    expect(page.locator("#force")).to_be_visible()
    mark_shown(page)
    page.locator("#force").click()
    expect(page.locator(".duet-crumbs")).to_be_visible()
    finished(page)
    page.locator(".duet-crumbs button").first.click()
    expect(page.locator(".duet-crumbs")).to_be_hidden()
    assert texts(page) == before

    # Take it along, and look at it again.
    page.click("#link")
    assert page.locator("#outbox input").input_value().startswith(server.url)
    file = saved(page, "trace", tmp_path)
    assert "</html>" not in file.read_text()
    assert "Plotly" in saved(page, "report", tmp_path).read_text()
    arrive(page, f"{server.url}?__theme={theme}")
    mark_shown(page)
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
