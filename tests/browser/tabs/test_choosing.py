"""The tab where j* is chosen, in a real browser."""

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from app.inputs.known_model import KnownModel
from app.language import ENGLISH
from app.render.search_summary import opening, take_label
from dola_core.layer_search.questions.dataset import Item, write_items
from dola_core.models.loading import load_model
from tests.browser.driving import click_point, compare, drawn, finished, set_slider

expect.set_options(timeout=30_000)
CAPITALS = {"Japan": "Tokyo", "Chile": "Santiago", "Kenya": "Nairobi", "Peru": "Lima", "Iran": "Tehran"}


@pytest.fixture
def tab(page: Page) -> Page:
    """The page with the tab open."""
    page.get_by_role("tab", name=ENGLISH("search.tab")).click()
    expect(page.locator("#curve .main-svg").first).to_be_visible()
    return page


def upload(page: Page, file) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=ENGLISH("search.upload")).click()
    chooser.value.set_files(file)


def test_the_shipped_search_is_there_at_once_and_a_point_sets_the_comparison(tab):
    loaded = load_model(device="cpu", dtype="float32")
    found = KnownModel.of(loaded.info).search
    said = opening(loaded.preset, found, ENGLISH)
    expect(tab.locator(".duet-say.block:visible .duet-sentence")).to_have_text(said.first)
    expect(tab.locator(".duet-why.block:visible .duet-sentence")).to_have_text(said.more)
    metric = next(name for name in found.curves if name != found.asked.metric)
    tab.locator("#metric input").click()
    tab.get_by_role("option", name=ENGLISH(f"metric.{metric}"), exact=True).click()
    expect(tab.locator("#curve h3")).to_contain_text(ENGLISH(f"metric.{metric}"))
    layer, alpha = found.layers[4], found.asked.alphas[-1]
    click_point(tab, "#curve", layer, found.curves[metric].settings[4][-1][0])
    expect(tab.locator(".duet-notice:visible")).to_contain_text(f"j* = {layer}, α = {alpha:g} is set")
    expect(tab.locator("#layer-2 input[type=number]")).to_have_value(str(layer))
    expect(tab.locator("#alpha-2 input[type=number]")).to_have_value(f"{alpha:g}")


def test_a_wrong_item_is_opened_in_the_comparison(tab):
    row = tab.locator("#harmed button").first
    asked = row.inner_text()
    row.click()
    expect(tab.locator("#prompt textarea")).to_be_visible()
    expect(tab.locator("#prompt textarea")).to_have_value(asked)
    expect(tab.locator(".duet-notice:visible").first).to_contain_text("press Compare")


def written(folder, name, items):
    write_items(folder / name, items)
    return folder / name


def items_of(*domains, wrong="Paris", mark=""):
    return [
        Item(prompt=f"{mark}The capital of {name} is", answers=(city,), wrong=("Ouagadougou", wrong), domain=domain)
        for domain in domains
        for name, city in list(CAPITALS.items()) * 4
    ]


def test_a_file_is_measured_and_its_curve_becomes_the_setting(tab, tmp_path):
    upload(tab, written(tmp_path, "mine.jsonl", items_of("x")))
    expect(tab.locator("#curve .sub")).to_contain_text("mine.jsonl: 20 of 20 questions")
    expect(tab.locator("#curve h3")).to_contain_text(ENGLISH("metric.accuracy"))
    expect(tab.locator("#domains .duet-rows")).to_be_hidden()
    expect(tab.locator(".duet-why.block:visible .duet-sentence")).to_contain_text("of one domain")
    tab.click("#shipped-questions")
    expect(tab.locator("#curve .sub")).to_contain_text("validation.jsonl")
    upload(tab, written(tmp_path, "again.jsonl", items_of("x")))
    expect(tab.locator("#curve .sub")).to_contain_text("again.jsonl: 20 of 20 questions")
    click_point(tab, "#curve", 7, drawn(tab, "#curve").evaluate("plot => plot.data.at(-1).y[6]"))
    expect(tab.locator("#layer-2 input[type=number]")).to_have_value("7")


def test_a_search_is_stopped_and_the_next_one_is_measured(tab, tmp_path):
    upload(tab, written(tmp_path, "many.jsonl", items_of(*"abcdefghijklmnopqrst")))
    expect(tab.locator(".duet-notice:visible")).to_contain_text("measuring every layer")
    tab.click("#stop-search")
    upload(tab, written(tmp_path, "mine.jsonl", items_of("x")))
    expect(tab.locator("#curve .sub")).to_contain_text("mine.jsonl: 20 of 20 questions")
    expect(tab.locator(".duet-why.block:visible .duet-sentence")).to_contain_text("of one domain")


def test_a_search_that_was_stopped_while_it_waited_measures_nothing(tab, browser, server, tmp_path):
    shown = tab.locator("#curve .sub").inner_text()
    ahead = browser.new_context().new_page()
    ahead.goto(server.url)
    ahead.wait_for_selector(".duet-inbox[lang]")
    ahead.get_by_role("tab", name=ENGLISH("search.tab")).click()
    ahead.locator("#question-limit input").fill("500")
    ahead.locator("#question-limit input").blur()
    upload(ahead, written(tmp_path, "many.jsonl", items_of(*map(str, range(200)))))
    expect(ahead.locator(".duet-notice:visible")).to_contain_text("measuring every layer")
    upload(tab, written(tmp_path, "mine.jsonl", items_of("x")))
    expect(tab.locator(".duet-notice:visible")).to_contain_text(ENGLISH("page.waiting"))
    tab.click("#stop-search")
    ahead.click("#stop-search")
    expect(ahead.locator(".duet-notice:visible")).to_contain_text("Stopped")
    expect(tab.locator(".duet-notice:visible")).to_have_count(0)
    assert tab.locator("#curve .sub").inner_text() == shown
    ahead.context.close()


def test_of_a_large_file_as_many_questions_are_drawn_as_the_field_says(tab, tmp_path):
    tab.locator("#question-limit input").fill("25")
    tab.locator("#question-limit input").blur()
    upload(tab, written(tmp_path, "large.jsonl", items_of("x") * 3))
    expect(tab.locator("#curve .sub")).to_contain_text("large.jsonl: 25 of 25 questions")
    expect(tab.locator(".duet-why.block:visible .duet-sentence")).to_contain_text("random sample of 25 of 60 questions")


def test_forty_of_the_pages_own_questions_are_tried_with_one_click(tab):
    button = tab.locator("#try-questions")
    expect(button).to_contain_text(re.compile(r"Try 40 questions \(about \d+ (s|min)\)"))
    button.click()
    expect(tab.locator("#curve .sub")).to_contain_text("validation.jsonl: 40 of 40 questions")
    expect(tab.locator(".duet-why.block:visible .duet-sentence")).to_contain_text("sample of 40 of 1,842 questions")
    expect(tab.locator("#take-best")).to_be_visible()


def test_of_too_few_questions_no_layer_is_marked_or_offered(tab, tmp_path):
    upload(tab, written(tmp_path, "few.jsonl", items_of("x")[:5]))
    expect(tab.locator("#curve .sub")).to_contain_text("few.jsonl: 5 of 5 questions")
    expect(tab.locator(".duet-say.block:visible .duet-sentence")).to_contain_text("Too few questions")
    expect(tab.locator("#take-best")).to_be_hidden()
    assert not drawn(tab, "#curve").evaluate("plot => plot.layout.shapes?.length || 0")


def test_what_was_chosen_is_taken_by_keyboard(tab):
    found = KnownModel.of(load_model(device="cpu", dtype="float32").info).search
    chosen = found.chosen
    tab.get_by_role("tab", name=ENGLISH("page.compare_tab")).click()
    set_slider(tab, "layer-2", 3)
    tab.get_by_role("tab", name=ENGLISH("search.tab")).click()
    expect(tab.locator("#take-best")).to_have_text(take_label(found, ENGLISH))
    tab.locator("#take-best").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator(".duet-notice:visible")).to_contain_text(f"j* = {chosen.layer}, α = {chosen.alpha:g} is set")
    expect(tab.locator("#layer-2 input[type=number]")).to_have_value(str(chosen.layer))


def test_the_comparison_follows_a_point_of_the_curve(page):
    compare(page, "The capital of Japan is")
    finished(page)
    page.get_by_role("tab", name=ENGLISH("search.tab")).click()
    expect(page.locator("#curve .main-svg").first).to_be_visible()
    line = drawn(page, "#curve").evaluate("plot => plot.data.findLast(line => line.name?.startsWith('α'))")
    click_point(page, "#curve", 4, line["y"][3])
    expect(page.locator("#plausible-head .key")).to_contain_text("layer 4")
    expect(page.locator("#layers .plot")).to_contain_text("j* = 4")


def test_a_spoiled_file_is_told_in_a_sentence_and_changes_nothing(tab, tmp_path):
    shown = ("#curve .sub", ".duet-say.block:visible .duet-sentence", "#harmed .duet-rows", "#mended .duet-rows")
    before = [tab.locator(part).inner_text() for part in shown]
    (tmp_path / "spoiled.jsonl").write_text(json.dumps({"prompt": "<img src=x onerror=alert(1)>", "answers": []}))
    upload(tab, tmp_path / "spoiled.jsonl")
    expect(tab.locator(".duet-notice.error:visible")).to_contain_text("spoiled.jsonl, line 1: answers")
    assert [tab.locator(part).inner_text() for part in shown] == before


def test_markup_in_questions_is_only_text(tab, tmp_path):
    nasty = "<img src=x onerror=alert(1)>${alert(1)}{{x}}"
    upload(tab, written(tmp_path, "nasty.jsonl", items_of(f"{nasty}1", f"{nasty}2", wrong=nasty, mark=nasty)))
    expect(tab.locator("#domains td").first).to_have_text(f"{nasty}1")
    assert tab.locator(".duet-rows img, .duet-chart img").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_in_the_tab(page, server, theme):
    page.goto(f"{server.url}?__theme={theme}")
    page.wait_for_selector(".duet-inbox[lang]")
    page.get_by_role("tab", name=ENGLISH("search.tab")).click()
    expect(page.locator("#curve .main-svg").first).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_tab_follows_the_language(tab):
    tab.locator("#language").get_by_text("中文", exact=True).click()
    expect(tab.locator("#curve .more")).to_contain_text("自助法")
    said = tab.locator(".duet-say.block:visible .duet-sentence").inner_text()
    assert re.search(r"[\u4e00-\u9fff]", said)
    assert not re.search(r"\b(the|of|layer)\b", said)
