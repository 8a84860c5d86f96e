"""What is there at second zero, on one screen, and how it answers."""

import re
from itertools import pairwise

from playwright.sync_api import expect

from tests.browser.driving import (
    CHARTS,
    LANES,
    arrive,
    as_tokens,
    at_step,
    compare,
    decoding,
    ending,
    finished,
    mark_shown,
    set_slider,
    step_of,
    texts,
    unfold,
)


def test_the_page_opens_with_a_finished_comparison_in_one_screen(page, server):
    """Nothing has run: it was recorded, says so, and can be explored at once."""
    page.set_viewport_size({"width": 1440, "height": 900})
    arrive(page, server.url)
    expect(page.locator(".duet-lead .title")).to_have_text("Same model, two ways to pick the next word.")
    for lane in LANES:
        expect(page.locator(f"{lane} .end")).to_be_visible()
    expect(page.locator(".lane.base .tag")).to_have_text("recorded")
    expect(page.locator(".duet-say .duet-sentence")).to_contain_text("picks")
    for chart in CHARTS:
        box = page.locator(f"{chart} .main-svg").first.bounding_box()
        assert box["y"] + box["height"] <= 900, chart
    assert page.evaluate("scrollY") == 0
    prompt = page.locator("#prompt textarea").input_value()
    assert page.locator(".lane.base .strip .p").inner_text().strip() == prompt
    before = page.locator(".duet-bar").inner_text()
    set_slider(page, "layer-2", 3)
    expect(page.locator(".duet-bar")).not_to_have_text(before)
    expect(page.locator(".duet-bar .what-if")).to_contain_text("j* = 3 (run: ")


def test_the_texts_and_the_sentence_are_read_before_any_script_has_run(browser, server):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server.url)
    first = page.locator("#duet-first")
    expect(first.locator(".title")).to_be_visible()
    expect(first.locator(".lane.base .strip")).to_be_visible()
    expect(first.locator(".duet-say")).to_contain_text("picks")
    context.close()


def test_the_first_paint_says_what_the_page_says_and_gives_way_to_it(page, server):
    static = page.context.browser.new_context(java_script_enabled=False)
    first = static.new_page()
    first.goto(server.url)
    expect(page.locator("#duet-first")).to_have_count(0)
    for part in (".lane.base .strip", ".lane.dola .strip", ".duet-say", ".duet-why", ".duet-lead"):
        shown = ["".join(one.locator(part).first.inner_text().split()) for one in (first, page)]
        assert shown[0] == shown[1], part
    static.close()


def test_a_link_has_no_first_paint_of_something_else(browser, server):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.url}?prompt=Hello&j=5")
    assert page.locator("#duet-first").count() == 0
    context.close()


def test_the_texts_are_read_as_text_or_token_by_token_and_the_browser_remembers_which(page, server):
    expect(page.locator(".strip.text")).to_have_count(2)
    reading = page.locator(".lane.dola .strip").inner_text()
    assert "␣" not in reading
    as_tokens(page)
    expect(page.locator(".strip.tokens")).to_have_count(2)
    assert "␣" in page.locator(".lane.dola .strip").inner_text()
    arrive(page, server.url)
    expect(page.locator(".strip.tokens")).to_have_count(2)
    page.locator(".views button").first.click()
    assert page.locator(".lane.dola .strip").inner_text() == reading


def test_what_was_unfolded_is_open_the_next_time(page, server):
    expect(page.locator("#fold-heat")).to_be_hidden()
    unfold(page, "heat")
    arrive(page, server.url)
    expect(page.locator("#fold-heat")).to_be_visible()
    expect(page.locator("#fold-changed")).to_be_hidden()
    expect(page.locator("#heat-dola .main-svg").first).to_be_visible()


def test_chips_open_what_is_recorded_and_run_the_rest(page):
    assert page.locator(".duet-chips button").count() == 5, "four, and the one that shows more"
    boxes = [one.bounding_box() for one in page.locator(".duet-chips button").all()]
    assert len({round(box["y"]) for box in boxes}) == 1, "on one line"
    before = texts(page)
    mark_shown(page)
    page.locator(".duet-chips button").nth(1).click()
    expect(ending(page)).to_be_visible()
    expect(page.locator(".lane.base .tag")).to_have_text("recorded")
    shown = texts(page)
    assert shown != before
    compare(page)  # the next run is what is shown
    finished(page)
    expect(page.locator(".lane.base .tag")).to_have_count(0)
    assert texts(page) == shown
    page.click(".duet-chips .more")
    last = page.locator(".duet-chips .chip").last
    prompt = last.inner_text()
    last.click()
    expect(page.locator("#stop")).to_be_visible()
    finished(page)
    assert page.locator("#prompt textarea").input_value()[:20] in prompt
    expect(page.locator(".lane.base .tag")).to_have_count(0)


def test_the_bar_stays_in_sight_while_the_page_scrolls(page):
    unfold(page)
    page.locator("#divergence").scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    box = page.locator("#bar").bounding_box()
    assert 0 <= box["y"] < 40
    set_slider(page, "layer-2", 3)
    expect(page.locator("#changed-by-layer .plot")).to_contain_text("j* = 3")


def test_a_reset_puts_slider_and_page_back_to_the_run(page):
    ran = page.locator("#layer-2 input[type=number]").input_value()
    for button in ("#layer-2 .head button", ".duet-bar .back"):
        set_slider(page, "layer-2", 3)
        expect(page.locator(".duet-bar .what-if")).to_contain_text("j* = 3")
        expect(page.locator("#layers .plot")).to_contain_text("j* = 3")
        page.click(button)
        expect(page.locator("#layer-2 input[type=number]")).to_have_value(ran)
        expect(page.locator("#layers .plot")).to_contain_text(f"j* = {ran}")
        expect(page.locator(".duet-bar")).to_contain_text("as run")


def test_the_bar_steps_through_a_text_and_over_the_differences_of_both(page):
    step_of_first = step_of(page)
    page.get_by_role("button", name="next step").click()
    at_step(page, step_of_first + 1)
    page.get_by_role("button", name="previous step").click()
    at_step(page, step_of_first)
    differ = page.locator(".lane .t.d").evaluate_all("nodes => nodes.map(n => [+n.dataset.lane, +n.dataset.index])")
    assert differ
    for _ in range(len(differ) + 1):
        page.get_by_role("button", name="previous difference").click()
        page.wait_for_timeout(100)
    where = "() => { const { lane, index } = document.querySelector('.t.sel').dataset; return [+lane, +index]; }"
    first = sorted(differ)[0]
    page.wait_for_function(f"first => String(({where})()) === String(first)", arg=first)
    expect(page.locator(".t.sel")).to_have_class(re.compile(r"\bd\b"))


def test_on_a_phone_the_first_words_of_a_run_come_into_sight(page):
    page.set_viewport_size({"width": 390, "height": 500})
    page.evaluate("scrollTo(0, 0)")
    compare(page, "The capital of Australia is")
    finished(page)
    page.wait_for_function("() => document.querySelector('.lane.base').getBoundingClientRect().top < innerHeight - 40")


def test_compare_becomes_stop_while_something_runs_and_the_old_charts_are_dim(page, endless):
    arrive(page, endless.url)
    assert page.locator("#stop").count() == 0
    compare(page, "The capital of Japan is")
    finished(page)
    decoding(page, **{"new tokens": 256})
    compare(page, "The")
    expect(page.locator("#stop")).to_be_visible()
    expect(page.locator("#compare")).to_have_count(0)
    expect(page.locator(".duet-below")).to_have_css("opacity", "0.45")
    page.click("#stop")
    expect(page.locator("#compare")).to_be_visible()
    expect(page.locator("#stop")).to_have_count(0)
    expect(page.locator(".duet-below")).to_have_css("opacity", "1")


def test_on_a_phone_the_parts_of_the_bar_stand_below_each_other(page):
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator("#bar .duet-bar")).to_be_visible()
    fields, where = (page.locator(f"#bar {part}").bounding_box() for part in (".duet-fields.dola", ".duet-bar"))
    assert fields["width"] > 300
    assert fields["y"] + fields["height"] <= where["y"]


def test_on_a_phone_the_buttons_of_the_head_stand_beside_each_other_and_are_swiped(page):
    page.set_viewport_size({"width": 390, "height": 844})
    shown = page.locator(".duet-head button:visible, .duet-head summary:visible")
    expect(page.locator(".duet-head .duet-share")).to_be_visible()
    boxes = sorted((box["x"], box["x"] + box["width"]) for each in shown.all() if (box := each.bounding_box()))
    assert len(boxes) >= 3
    assert all(end <= begin for (_, end), (begin, _) in pairwise(boxes)), boxes
