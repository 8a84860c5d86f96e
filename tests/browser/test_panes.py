"""Any decoder in any pane: menus, sliders, further panes, and what of them travels, in a real browser."""

import json

import pytest
from playwright.sync_api import Browser, Page, expect

from dola_core.trace.schema import Trace
from tests.browser.driving import (
    arrive,
    choose,
    click_point,
    compare,
    decoding,
    drawn,
    finished,
    set_slider,
    step_of,
    unfold,
)
from tests.browser.test_sharing import saved

PROMPT = "The capital of Australia is"


def chosen_layers(page: Page, side: str) -> list[float]:
    """The step line over a lane's heatmap, at the middle of each step."""
    plot = drawn(page, f"#heat-{side}")
    return plot.evaluate("plot => plot.data.find(trace => trace.name === 'M_t').y.slice(1, -1)")


def test_each_decoder_brings_its_own_sliders_and_a_dynamic_lane_is_shown_layer_by_layer(page, tmp_path):
    for kind, fields in {
        "Plain": (), "Plain + penalty": ("penalty",), "DoLa-dynamic": ("alpha", "beta", "bucket"), "custom": ("text",),
        "DoLa-static": ("layer", "alpha", "beta"),
    }.items():  # fmt: skip
        choose(page, "kind-2", kind)
        for field in ("layer", "alpha", "beta", "bucket", "penalty", "text"):
            expect(page.locator(f"#bar #{field}-2")).to_have_count(int(field in fields))
    choose(page, "kind-2", "DoLa-dynamic")
    compare(page, PROMPT)
    finished(page)
    unfold(page, "heat")
    trace = Trace.model_validate_json(saved(page, "trace", tmp_path).read_text(encoding="utf-8"))
    assert [lane.kind for lane in trace.lanes] == ["plain", "dynamic"]
    layers = [step.choices[1].layer for step in trace.lane_steps(1)]
    shown = len(chosen_layers(page, "dola"))
    assert chosen_layers(page, "dola") == layers[:shown]
    assert chosen_layers(page, "base"), "a plain lane shows the layer that the other would choose on its text"
    at = step_of(page) - 1
    expect(page.locator(".duet-say, .duet-why").get_by_text(f"layer {layers[at]}").first).to_be_visible()
    expect(page.locator("#layers .plot")).to_contain_text(f"M_t = {layers[at]}")
    # Another bucket, another strength: read from the trace.
    choose(page, "bucket-2", "lower third")
    other = trace.lanes[1].model_copy(update={"bucket": "lower"}).fitted(30, tied=False)
    now = trace.lane_steps(1)[at].contrasted(other)
    expect(page.locator("#layers .plot")).to_contain_text(f"M_t = {now}")
    expect(page.locator(".duet-bar .what-if")).to_contain_text("j ∈ lower (run: high)")
    set_slider(page, "beta-2", 0)
    expect(page.locator(".duet-bar .what-if")).to_contain_text("β = 0 (run: 1)")
    expect(page.locator(".lane.dola .t.d")).to_have_count(0)  # without strength it is the baseline


def test_a_decoder_changed_after_the_run_is_a_what_if_or_asks_for_another_run(page):
    compare(page, PROMPT)
    finished(page)
    choose(page, "kind-2", "DoLa-dynamic")
    expect(page.locator(".duet-bar .what-if")).to_contain_text("DoLa-dynamic, j ∈ high")
    expect(page.locator(".lane.dola h2 b")).to_be_visible()  # the text is still the one of DoLa-static
    choose(page, "kind-2", "Plain + penalty")
    expect(page.locator(".duet-bar .what-if")).to_contain_text("press Compare")
    choose(page, "kind-2", "DoLa-static")
    expect(page.locator(".duet-bar")).to_contain_text("as run")
    expect(page.locator(".lane.dola h2 b")).to_be_hidden()
    # A bucket of the map, and a cell of it.
    click_point(page, "#map", 1, 0, axes="2")
    expect(page.locator("#bucket-2 input")).to_have_value("high")
    click_point(page, "#map", 5, 5)
    expect(page.locator("#layer-2 input[type=number]")).to_have_value("5")
    expect(page.locator("#kind-2 input")).to_have_value("DoLa-static")


def test_a_third_and_a_fourth_lane_are_added_run_shared_saved_opened_and_taken_away(page, browser, tmp_path):
    decoding(page, **{"new tokens": 6})
    page.click("#add-lane")
    page.click("#add-lane")
    expect(page.locator("#add-lane")).to_be_hidden()
    expect(page.locator("#penalty-4 input[type=number]")).to_have_value("1.2")
    choose(page, "kind-3", "custom")
    page.fill("#text-3 input, #text-3 textarea", "linear:10=-0.3,22=-0.3,alpha=0.2")
    page.locator("#text-3 input, #text-3 textarea").blur()
    compare(page, PROMPT)
    finished(page)
    unfold(page, "heat")
    for side in ("base", "dola", "third", "fourth"):
        expect(page.locator(f".lane.{side} .end")).to_be_visible()
        expect(page.locator(f"#heat-{side} .plot")).to_be_attached()
    page.locator(".lane.third .t[data-index]").first.click()
    expect(page.locator("#layers .plot")).to_contain_text("22")
    expect(page.locator(".lane.third .t.sel")).to_have_count(1)
    file = saved(page, "trace", tmp_path)
    lanes = json.loads(file.read_text(encoding="utf-8"))["lanes"]
    assert [lane["kind"] for lane in lanes] == ["plain", "static", "linear", "plain"]
    page.click("#link")
    url = page.locator("#outbox input").input_value()
    other = browser.new_context().new_page()
    other.set_default_timeout(60_000)
    other.goto(url)
    expect(other.locator(".invitation")).to_contain_text("This link leads to a result")
    expect(other.locator("#text-3 input, #text-3 textarea")).to_have_value("linear:10=-0.3,22=-0.3,alpha=0.2")
    expect(other.locator("#penalty-4 input[type=number]")).to_have_value("1.2")
    other.click(".invitation button")
    expect(other.get_by_text("Same text as shared.")).to_be_visible()
    other.context.close()
    page.click("#remove-lane")
    page.click("#remove-lane")
    expect(page.locator(".lane")).to_have_count(2)
    expect(page.locator("#heat-third")).to_be_hidden()
    expect(page.locator("#remove-lane")).to_be_hidden()
    page.locator(".duet-inbox input[type=file]").set_input_files(file)
    expect(page.locator(".lane")).to_have_count(4)
    expect(page.locator("#kind-3 input")).to_have_value("custom")
    expect(page.locator("#penalty-4 input[type=number]")).to_have_value("1.2")


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "static:99,alpha=0", "${alert(1)}"])
def test_a_text_that_is_no_lane_ends_in_one_sentence(page, text):
    choose(page, "kind-2", "custom")
    page.fill("#text-2 input, #text-2 textarea", text)
    page.locator("#text-2 input, #text-2 textarea").press("Enter")
    expect(page.locator(".duet-notice.error")).to_contain_text("A lane is written like static:22,alpha=0.1")
    compare(page, PROMPT)
    expect(page.locator(".duet-notice.error", has_text="of layers up to 29")).to_have_count(2)  # at the bar, and above
    page.click("#link")  # such a lane is refused there, too, or is one of a larger model
    expect(page.locator("#outbox input:visible, .duet-notice.error:visible").first).to_be_visible()


@pytest.mark.parametrize("lanes", [2, 3])
def test_on_a_phone_two_lanes_stand_below_each_other_and_more_are_swiped(browser: Browser, server, lanes):
    page = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True).new_page()
    page.set_default_timeout(60_000)
    arrive(page, server.url)
    if lanes == 3:
        page.click("#add-lane")
    compare(page, PROMPT)
    finished(page)
    heads, texts = (
        [page.locator(f"{kind}.{side}").bounding_box() for side in ("base", "dola", "third")[:lanes]]
        for kind in (".duet-pane", ".lane")
    )
    for head, text in zip(heads, texts, strict=True):
        assert head["x"] == text["x"]
        assert abs(head["y"] + head["height"] - text["y"]) < 2, "a text stands under its header"
    if lanes == 2:
        assert heads[1]["y"] > texts[0]["y"]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    else:
        assert heads[0]["y"] == heads[1]["y"] == heads[2]["y"]
        panes = page.locator(".duet-panes")
        assert panes.evaluate("node => node.scrollWidth > node.clientWidth")
        panes.evaluate("node => { node.scrollLeft = node.scrollWidth; }")
        page.wait_for_timeout(500)
        last = page.locator(".lane.third").bounding_box()
        assert last["x"] >= 0
        assert last["x"] + last["width"] <= 391
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()
