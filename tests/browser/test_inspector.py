"""Reading a comparison: what-ifs, the keyboard, the charts and their clicks, in a real browser."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.test_page import compare, finished, set_slider

PROMPT = "The capital of Australia is"
expect.set_options(timeout=30_000)


@pytest.fixture
def run(page: Page) -> Page:
    """A page after a comparison."""
    compare(page, PROMPT)
    finished(page)
    return page


def drawn(page: Page, chart: str) -> Locator:
    """A chart, in sight and drawn of what the page says."""
    page.locator(f"{chart} .plot").scroll_into_view_if_needed()
    plot = page.locator(f"{chart} .plot:not([aria-busy])")
    expect(plot).to_be_visible()
    return plot


def click_point(page: Page, chart: str, x: float, y: float) -> None:
    """Click into a chart at the place of its data coordinates (a category of y by its number)."""
    plot = drawn(page, chart)
    place = plot.evaluate(
        """(plot, [x, y]) => {
            const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
            return [box.x + xaxis._offset + xaxis.l2p(x), box.y + yaxis._offset + yaxis.l2p(y)];
        }""",
        [x, y],
    )
    page.mouse.move(*place)
    page.mouse.click(*place)


def layer(page: Page) -> str:
    return page.locator("#layer input[type=number]").input_value()


def test_at_alpha_one_dola_agrees_and_the_strip_says_what_would_change(run):
    different = run.locator(".lane.dola .t.d").count()
    set_slider(run, "alpha", 1)
    expect(run.locator(".lane.dola .t.d")).to_have_count(0)
    expect(run.locator(".lane.dola .t.w")).to_have_count(different)
    if different:
        expect(run.locator(".lane.dola .t.dim").first).to_be_visible()
        expect(run.locator(".duet-row").first).to_contain_text("would change")
    expect(run.locator("#changed-by-layer .sub")).to_contain_text("at α = 1")
    expect(run.locator("#divergence")).to_be_visible()


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
    set_slider(run, "layer", 5)
    set_slider(run, "alpha", 0.5)
    run.wait_for_timeout(1500)
    expect(run.locator("#changed-by-layer .sub")).to_contain_text("at α = 0.5")
    expect(run.locator("#plausible-head .sub")).to_contain_text("q_5")


def test_the_whole_page_is_driven_by_keys(run):
    page = run
    page.locator(".lane.dola .t[data-index='0']").click()
    expect(page.locator(".duet-say.block")).to_contain_text("Step 1.")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".duet-say.block")).to_contain_text("Step 2.")
    page.keyboard.press("End")
    last = page.locator(".lane.dola .t[data-index]").count()
    expect(page.locator(".duet-say.block")).to_contain_text(f"Step {last}.")
    page.keyboard.press("Home")
    expect(page.locator(".duet-say.block")).to_contain_text("Step 1.")
    before = int(layer(page))
    page.keyboard.press("[")
    expect(page.locator("#layer input[type=number]")).to_have_value(str(before - 1))
    expect(page.locator("#plausible-head .sub")).to_contain_text(f"q_{before - 1}")
    page.keyboard.press("]")
    expect(page.locator("#layer input[type=number]")).to_have_value(str(before))
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


def test_differences_are_walked_by_button_and_by_key(page):
    set_slider(page, "layer", 12)
    set_slider(page, "alpha", 0.01)
    compare(page, PROMPT)
    finished(page)
    differ = page.locator(".lane.dola .t.d").evaluate_all("nodes => nodes.map(n => +n.dataset.index + 1)")
    assert differ
    tokens = page.locator(".lane.dola .t[data-index]")
    tokens.last.click()
    expect(page.locator("#step input[type=number]")).to_have_value(str(tokens.count()))  # the page is there by now
    page.click("#previous")
    inside = [d for d in differ if d < page.locator(".lane.dola .t[data-index]").count()]
    expect(page.locator("#step input[type=number]")).to_have_value(str(inside[-1]))
    page.keyboard.press("Home")
    expect(page.locator("#step input[type=number]")).to_have_value("1")
    page.evaluate("document.activeElement.blur()")
    after = [d for d in differ if d > 1]
    if after:
        page.keyboard.press("n")
        expect(page.locator("#step input[type=number]")).to_have_value(str(after[0]))


def test_a_cell_of_the_heatmap_leads_to_its_step_and_layer(run):
    shown = drawn(run, "#heat-base").evaluate("plot => plot.data[0].x")
    step = next(x for x in shown if run.locator("#step input[type=number]").input_value() != str(x))
    click_point(run, "#heat-base", step, 9)
    expect(run.locator("#layer input[type=number]")).to_have_value("9")
    expect(run.locator("#step input[type=number]")).to_have_value(str(step))
    expect(run.locator(".lane.base .t.sel")).to_have_attribute("data-index", str(step - 1))
    expect(run.locator("#layers .plot")).to_contain_text("j* = 9")


def test_a_cell_of_the_map_and_a_bar_of_the_sweep_become_the_setting(run):
    click_point(run, "#map", 5, 7)
    expect(run.locator("#layer input[type=number]")).to_have_value("5")
    expect(run.locator("#alpha input[type=number]")).to_have_value("0.5")
    expect(run.locator("#changed-by-layer .sub")).to_contain_text("at α = 0.5")


def test_a_token_of_the_head_is_pinned_into_the_layer_chart(run):
    expect(run.locator("#layers .legendtext")).to_have_count(2)
    # The bar of q_N of the third token, however short, begins at 0.
    click_point(run, "#plausible-head", 0.0001, 2 - 0.27)
    expect(run.locator("#layers .legend")).to_contain_text("■")
    run.locator("#layer-kind").get_by_text("rank", exact=True).click()
    expect(run.locator("#layers .sub")).to_contain_text("a pinned token's rank")
    expect(run.locator("#layers .legend")).to_contain_text("■")
    expect(run.locator("#layers .scatterlayer .trace")).to_have_count(3)


DRAWN = """plot => [...plot.querySelectorAll('.shapelayer path, .annotation-text')].map(mark => {
    const { x, y, width, height } = mark.getBoundingClientRect(), here = plot.getBoundingClientRect();
    return [x - here.x, y - here.y, width, height].map(Math.round).concat(mark.textContent);
})"""


def test_marks_that_move_alone_stand_where_a_chart_drawn_anew_has_them(run):
    """A heatmap whose marks alone move is not drawn again."""
    plot = run.locator("#heat-dola .plot")
    plot.scroll_into_view_if_needed()
    before, moved = plot.evaluate(DRAWN), 5 if layer(run) != "5" else 6
    set_slider(run, "layer", moved)
    expect(run.locator("#heat-dola .plot")).to_be_visible()
    run.wait_for_function(
        "layer => document.querySelector('#heat-dola .plot').layout.shapes[0].y0 === layer", arg=moved
    )
    run.wait_for_timeout(500)
    after = plot.evaluate(DRAWN)
    assert after != before
    plot.evaluate("plot => Plotly.newPlot(plot, plot.data, plot.layout)")
    assert plot.evaluate(DRAWN) == after


@pytest.mark.parametrize(
    ("switch", "option", "chart", "said"),
    [
        ("plausible-head-kind", "log-ratio F", "#plausible-head", "a log-ratio and no probability"),
        ("layer-kind", "rank", "#layers", "rank in every layer"),
        ("heat-kind", "entropy", "#heat-dola", "entropy, nats"),
        ("heat-kind", "p(chosen)", "#heat-base", "probability of the lane's choice"),
        ("heat-kind", "rank", "#heat-dola", "rank of the lane's choice"),
    ],
)
def test_switches_change_what_a_chart_shows(run, switch, option, chart, said):
    run.locator(f"#{switch}").get_by_text(option, exact=True).click()
    expect(run.locator(f"{chart} .sub")).to_contain_text(said)


def test_an_overlay_tints_the_tokens(run):
    expect(run.locator(".t.tint")).to_have_count(0)
    run.locator("#overlay").get_by_text("probability", exact=True).click()
    expect(run.locator(".lane.base .t.tint").first).to_be_visible()
    assert re.search(r"probability 0|probability 1", run.locator(".lane.base .t.tint").first.get_attribute("title"))
