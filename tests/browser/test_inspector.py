"""Reading a comparison: what-ifs, the keyboard, the charts and their clicks, in a real browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.driving import (
    at_step,
    click_point,
    compare,
    drawn,
    finished,
    set_slider,
    step_of,
    unfold,
)

PROMPT = "The capital of Australia is"


@pytest.fixture
def run(page: Page) -> Page:
    """A page after a comparison, with everything unfolded."""
    compare(page, PROMPT)
    finished(page)
    unfold(page)
    return page


def layer(page: Page) -> str:
    return page.locator("#layer-2 input[type=number]").input_value()


def test_at_alpha_one_dola_agrees_and_the_texts_say_what_would_change(run):
    different = run.locator(".lane.dola .t.d").count()
    set_slider(run, "alpha-2", 1)
    expect(run.locator(".lane.dola .t.d")).to_have_count(0)
    expect(run.locator(".lane.dola .t.w")).to_have_count(different)
    if different:
        expect(run.locator(".lane.dola .t.dim").first).to_be_visible()
    expect(run.locator(".duet-bar .what-if")).to_contain_text("α = 1 (run: ")
    expect(run.locator(".duet-bar")).to_contain_text("no choice differs")


FIRST_LATE = """() => {
    const { fetch } = window;
    let late = true;
    window.fetch = async (...asked) => {
        const wait = late;
        late = false;
        const answer = await fetch(...asked);
        if (wait) await new Promise(done => setTimeout(done, 1000));
        return answer;
    };
}"""


def test_a_late_answer_to_one_slider_does_not_undo_the_other(run):
    run.evaluate(FIRST_LATE)
    set_slider(run, "layer-2", 5)
    set_slider(run, "alpha-2", 0.2)
    run.wait_for_timeout(1500)
    expect(run.locator(".duet-bar .what-if")).to_contain_text("j* = 5")
    expect(run.locator(".duet-bar .what-if")).to_contain_text("α = 0.2")
    expect(run.locator("#plausible-head .key")).to_contain_text("layer 5")


def test_the_whole_page_is_driven_by_keys(run):
    page = run
    page.locator(".lane.dola .t[data-index='0']").click()
    at_step(page, 1)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    at_step(page, 2)
    page.keyboard.press("End")
    last = page.locator(".lane.dola .t[data-index]").count()
    at_step(page, last)
    page.keyboard.press("Home")
    at_step(page, 1)
    before = int(layer(page))
    page.keyboard.press("[")
    expect(page.locator("#layer-2 input[type=number]")).to_have_value(str(before - 1))
    expect(page.locator("#plausible-head .key")).to_contain_text(f"layer {before - 1}")
    page.keyboard.press("]")
    expect(page.locator("#layer-2 input[type=number]")).to_have_value(str(before))
    page.keyboard.press("?")
    expect(page.locator("dialog.duet-help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.duet-help")).to_be_hidden()


def test_keys_in_a_field_are_only_text(run):
    field = run.locator("#prompt textarea")
    before = layer(run)
    field.fill("")
    field.press_sequentially("[n?]")
    assert field.input_value() == "[n?]"
    assert layer(run) == before
    expect(run.locator("dialog.duet-help")).to_be_hidden()


def test_differences_are_walked_by_key(page):
    set_slider(page, "layer-2", 12)
    set_slider(page, "alpha-2", 0.01)
    compare(page, PROMPT)
    finished(page)
    differ = page.locator(".lane.dola .t.d").evaluate_all("nodes => nodes.map(n => +n.dataset.index + 1)")
    assert differ
    page.locator(".lane.dola .t[data-index]").last.click()
    at_step(page, page.locator(".lane.dola .t[data-index]").count())  # the page is there by now
    page.keyboard.press("p")
    inside = [d for d in differ if d < page.locator(".lane.dola .t[data-index]").count()]
    at_step(page, inside[-1])
    page.keyboard.press("Home")
    at_step(page, 1)
    page.evaluate("document.activeElement.blur()")
    after = [d for d in differ if d > 1]
    if after:
        page.keyboard.press("n")
        at_step(page, after[0])


def test_a_cell_of_the_heatmap_leads_to_its_step_and_layer(run):
    shown = drawn(run, "#heat-base").evaluate("plot => plot.data[0].x")
    step = next(x for x in shown if step_of(run) != x)
    click_point(run, "#heat-base", step, 9)
    expect(run.locator("#layer-2 input[type=number]")).to_have_value("9")
    at_step(run, step)
    expect(run.locator(".lane.base .t.sel")).to_have_attribute("data-index", str(step - 1))
    expect(run.locator("#layers .plot")).to_contain_text("j* = 9")


def test_a_cell_of_the_map_and_a_bar_of_the_sweep_become_the_setting(run):
    click_point(run, "#map", 5, 5)
    expect(run.locator("#layer-2 input[type=number]")).to_have_value("5")
    expect(run.locator("#alpha-2 input[type=number]")).to_have_value("0.2")
    expect(run.locator(".duet-bar .what-if")).to_contain_text("α = 0.2")


def test_a_candidate_is_pinned_into_the_layer_chart(run):
    expect(run.locator("#layers .key")).not_to_contain_text("■")
    last = drawn(run, "#plausible-head").evaluate("plot => plot.data[0].y.length - 1")  # a cut one
    click_point(run, "#plausible-head", 0.00001, last - 0.27)
    expect(run.locator("#layers .key")).to_contain_text("■")
    run.locator("#layer-kind").get_by_text("rank", exact=True).click()
    expect(run.locator("#layers .sub")).to_contain_text("rank")
    expect(run.locator("#layers .key")).to_contain_text("■")


DRAWN = """plot => [...plot.querySelectorAll('.shapelayer path, .annotation-text')].map(mark => {
    const { x, y, width, height } = mark.getBoundingClientRect(), here = plot.getBoundingClientRect();
    return [x - here.x, y - here.y, width, height].map(Math.round).concat(mark.textContent);
})"""


def test_marks_that_move_alone_stand_where_a_chart_drawn_anew_has_them(run):
    """A heatmap whose marks alone move is not drawn again."""
    plot = run.locator("#heat-dola .plot")
    plot.scroll_into_view_if_needed()
    before, moved = plot.evaluate(DRAWN), 5 if layer(run) != "5" else 6
    set_slider(run, "layer-2", moved)
    expect(run.locator("#heat-dola .plot")).to_be_visible()
    run.wait_for_function(
        "layer => document.querySelector('#heat-dola .plot').layout.shapes[0].y0 === layer - 0.5", arg=moved
    )
    run.wait_for_timeout(500)
    after = plot.evaluate(DRAWN)
    assert after != before
    plot.evaluate("plot => Plotly.newPlot(plot, plot.data, plot.layout)")
    assert plot.evaluate(DRAWN) == after


@pytest.mark.parametrize(
    ("switch", "option", "chart"),
    [
        ("plausible-head-kind", 1, "#plausible-head"),
        ("layer-kind", 1, "#layers"),
        ("layer-kind", 2, "#layers"),
        ("heat-kind", 1, "#heat-base"),
        ("heat-kind", 2, "#heat-base"),
        ("heat-kind", 3, "#heat-base"),
    ],
)
def test_switches_change_what_a_chart_shows(run, switch, option, chart):
    before = run.locator(f"{chart} .sub").first.inner_text()
    run.locator(f"#{switch} label").nth(option).click()
    expect(run.locator(f"{chart} .sub").first).not_to_have_text(before)


def test_all_candidates_are_shown_on_demand(run):
    few = drawn(run, "#plausible-head").evaluate("plot => plot.data[0].y.length")
    run.locator("#candidates label").nth(1).click()
    run.wait_for_function("few => document.querySelector('#plausible-head .plot').data[0].y.length > few", arg=few)
    assert few <= 9


def test_what_a_chart_cannot_say_in_a_line_is_behind_a_button(run):
    about = run.locator("#layers .about, #layers [aria-expanded]").first
    assert about.get_attribute("aria-expanded") == "false"
    before = run.locator("#layers").inner_text()
    about.click()
    expect(about).to_have_attribute("aria-expanded", "true")
    assert len(run.locator("#layers").inner_text()) > len(before) + 40


def test_an_overlay_tints_the_tokens(run):
    expect(run.locator(".t.tint")).to_have_count(0)
    run.locator("#overlay").get_by_text("probability", exact=True).click()
    expect(run.locator(".lane.base .t.tint").first).to_be_visible()
    assert re.search(r"probability 0|probability 1", run.locator(".lane.base .t.tint").first.get_attribute("title"))
