"""The page in both its languages."""

import re

from playwright.sync_api import expect

from app.language import ENGLISH, language
from tests.browser.driving import compare, finished, set_slider
from tests.browser.test_journey import english_in

CHINESE = language("zh")


def test_a_chinese_browser_gets_the_page_in_chinese_and_the_switch_leads_back(browser, server):
    context = browser.new_context(locale="zh-CN", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    expect(page.locator("#compare")).to_have_text(CHINESE("controls.compare"))
    assert english_in(page) == [], "what is seen first is Chinese already"
    compare(page, "The capital of Australia is")
    finished(page)
    expect(page.locator(".lane.dola .end")).to_have_text(
        re.compile("|".join(CHINESE(f"strips.{end}") for end in ("eos", "length")))
    )
    expect(page.locator("#plausible-head h3")).to_have_text(CHINESE("chart.candidates"))
    set_slider(page, "alpha-2", 1)
    expect(page.locator(".duet-bar .what-if")).to_contain_text("假设：")
    assert english_in(page) == []
    page.locator("#language").get_by_text(ENGLISH("page.name"), exact=True).click()
    expect(page.locator("#compare")).to_have_text(ENGLISH("controls.compare"))
    expect(page.locator("#plausible-head h3")).to_have_text(ENGLISH("chart.candidates"))
    expect(page.locator("#alpha-2 input[type=number]")).to_have_value("1")
    assert errors == []
    context.close()


def test_the_guide_follows_the_language(page):
    page.locator("#language").get_by_text(CHINESE("page.name"), exact=True).click()
    page.get_by_role("tab", name=CHINESE("page.how_tab")).click()
    expect(page.locator(".duet-how.prose")).to_contain_text("为什么要减去一层")
    expect(page.locator(".duet-how.prose .katex").first).to_be_visible()


def test_an_error_is_told_in_the_language_of_the_page(page):
    compare(page, "The capital of Japan is")
    finished(page)
    page.locator("#language").get_by_text(CHINESE("page.name"), exact=True).click()
    expect(page.locator("#link")).to_have_text(CHINESE("controls.link"))
    page.locator("#inbox input").set_input_files({"name": "x.json", "mimeType": "application/json", "buffer": b"{"})
    expect(page.locator(".duet-notice.error")).to_contain_text("不是运行记录")
