"""What a person does, in a real browser."""

import json
import re
import urllib.request

import pytest
from playwright.sync_api import Page, expect

LANES = (".lane.base", ".lane.dola")
CHARTS = ("#divergence", "#plausible-head", "#layers", "#heat-base", "#heat-dola", "#map", "#changed-by-layer")
expect.set_options(timeout=30_000)


def compare(page: Page, prompt: str | None = None) -> None:
    """Type a prompt and press Compare."""
    if prompt is not None:
        page.fill("#prompt textarea", prompt)
    page.click("#compare")


def finished(page: Page) -> None:
    """Wait until both lanes say why they ended and the charts are drawn."""
    for lane in LANES:
        expect(page.locator(f"{lane} .end")).to_be_visible()
    for chart in CHARTS:
        expect(page.locator(f"{chart} .main-svg").first).to_be_visible()


def set_slider(page: Page, name: str, value: float) -> None:
    field = page.locator(f"#{name} input[type=number]")
    field.fill(str(value))
    field.press("Enter")


def decoding(page: Page, **values: float) -> None:
    """Open the Decoding section and set sliders by their label."""
    page.get_by_role("button", name="Decoding").click()
    expect(page.get_by_label("number input for beams")).to_be_visible()
    for label, value in values.items():
        set_number(page, label, value)


def set_number(page: Page, label: str, value: float) -> None:
    """Set a slider of the open Decoding section by its number field."""
    field = page.get_by_label(re.compile(f"number input for {label}")).first
    slider = page.get_by_label(re.compile(f"range slider for {label}")).first
    for patience in (2_000, 2_000, 30_000):  # a section that has just been opened may still be put together
        field.fill(str(value))
        field.press("Enter")
        try:
            expect(slider).to_have_value(str(value), timeout=patience)
        except AssertionError:
            if patience == 30_000:
                raise
        else:
            return


def stop_once_it_writes(page: Page, token: int = 0) -> None:
    """Press Stop within the page as soon as a token is there: a click from outside may come when the run is over."""
    page.wait_for_function(
        """token => document.querySelector(".lane.dola .caret")
            && document.querySelector(`.lane.dola .t[data-index='${token}']`)
            && (document.querySelector("#stop").click(), true)""",
        arg=token,
    )


def test_compare_move_the_layer_click_a_token_and_read_the_head(page):
    compare(page, "The capital of Australia is")
    finished(page)
    for lane in LANES:
        assert page.locator(f"{lane} .t[data-index]").count() >= 2
    layer = page.locator("#layer input[type=number]").input_value()
    expect(page.locator("#plausible-head .sub")).to_contain_text(f"q_{layer}")

    set_slider(page, "layer", 12)
    expect(page.locator("#plausible-head .sub")).to_contain_text("q_12")
    expect(page.locator("#layers .plot")).to_contain_text("j* = 12")

    second = page.locator(".lane.dola .t[data-index='1']")
    second.click()
    expect(second).to_have_class(re.compile(r"\bsel\b"))
    expect(page.locator(".duet-say.block")).to_contain_text("Step 2.")
    expect(page.locator("#step input[type=number]")).to_have_value("2")
    chart = page.locator("#plausible-head .plot")
    for label in ("q_N", "q_12", "p̂ DoLa", "α·max"):
        expect(chart).to_contain_text(label)
    assert page.locator("#plausible-head .plot .bars .point").count() >= 6


def test_the_lanes_stream_token_by_token(page, endless):
    """What the page showed is noted within the page: a look from outside may come when the run is over."""
    page.goto(endless.url)
    page.wait_for_selector(".duet-inbox[lang]")
    decoding(page, **{"new tokens": 120})
    page.evaluate(
        """() => {
            window.seen = [];
            const note = () => {
                const lane = document.querySelector(".lane.dola");
                if (lane?.querySelector(".caret")) window.seen.push(lane.querySelectorAll(".t[data-index]").length);
            };
            new MutationObserver(note).observe(document.querySelector(".duet-strips"), { childList: true });
        }"""
    )
    compare(page, "Question: What is")
    expect(page.locator(".lane.dola .end")).to_be_visible()
    seen = page.evaluate("window.seen")
    assert seen == sorted(seen)
    assert len({*seen}) >= 4
    assert seen[-1] < 120


def test_the_first_difference_is_marked_and_opened(page):
    set_slider(page, "layer", 12)
    set_slider(page, "alpha", 0.01)
    decoding(page, **{"new tokens": 60})
    compare(page, "The capital of Australia is")
    finished(page)
    assert page.locator(".fork").count() == 2
    after_fork = page.locator(".lane.dola .fork + .t")
    expect(after_fork).to_have_class(re.compile(r"\bd\b.*\bsel\b"))
    expect(page.locator(".lane.dola .ghost")).to_contain_text("Baseline would say")
    expect(page.locator(".duet-row").first).to_contain_text("the first at step")


def test_the_step_slider_and_the_lane_switch_move_the_selection(page):
    compare(page, "The capital of Japan is")
    finished(page)
    set_slider(page, "step", 2)
    expect(page.locator(".lane.dola .t.sel")).to_have_attribute("data-index", "1")
    page.locator("#lane").get_by_text("Baseline", exact=True).click()
    expect(page.locator(".lane.base .t.sel")).to_have_attribute("data-index", "1")


def test_tokens_are_walked_with_the_keyboard_and_keep_the_focus(page):
    compare(page, "The capital of Japan is")
    finished(page)
    page.locator(".lane.dola .t[data-index='0']").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".duet-say.block")).to_contain_text("Step 2.")
    expect(page.locator(".lane.dola .t[data-index='1']")).to_be_focused()
    page.keyboard.press("End")
    expect(page.locator(".lane.dola .t[data-index]").last).to_be_focused()


def test_stop_keeps_the_text_says_so_and_the_next_run_works(page, endless):
    page.goto(endless.url)
    page.wait_for_selector(".duet-inbox[lang]")
    decoding(page, **{"new tokens": 256})
    compare(page, "The")
    stop_once_it_writes(page, 8)
    for lane in LANES:
        expect(page.locator(f"{lane} .end")).to_have_text("stopped by you")
        assert 9 <= page.locator(f"{lane} .t[data-index]").count() < 256
    expect(page.locator("#plausible-head .main-svg").first).to_be_visible()
    set_number(page, "new tokens", 5)
    compare(page, "The capital of Japan is")
    expect(page.locator(".lane.dola .end")).to_have_text("length limit")
    assert page.locator(".lane.dola .t[data-index]").count() == 5


def test_stop_ends_a_beam_search_within_a_step(page, endless):
    page.goto(endless.url)
    page.wait_for_selector(".duet-inbox[lang]")
    decoding(page, **{"new tokens": 256, "beams": 8})
    compare(page, "The")
    expect(page.locator(".duet-notice")).to_contain_text("searching beams of Baseline: step")
    page.click("#stop")
    expect(page.locator(".duet-notice")).to_be_hidden()
    set_number(page, "beams", 1)
    set_number(page, "new tokens", 4)
    compare(page, "The capital of Japan is")
    expect(page.locator(".lane.dola .end")).to_have_text("length limit")


def test_stop_before_any_run_and_right_after_compare_does_no_harm(page):
    page.click("#stop")
    compare(page)
    page.click("#stop")
    compare(page, "The capital of Japan is")
    page.click("#stop")
    expect(page.locator("#compare")).to_be_enabled()
    compare(page, "The capital of Chile is")
    expect(page.locator(".t.p", has_text="Chile").first).to_be_visible()
    finished(page)


def test_two_people_at_once_both_get_their_own_text(page, browser, server):
    other = browser.new_context().new_page()
    other.set_default_timeout(60_000)
    other.goto(server.url)
    other.wait_for_selector(".duet-inbox[lang]")
    compare(page, "The capital of Japan is")
    compare(other, "The capital of France is")
    finished(page)
    finished(other)
    for mine, country, foreign in ((page, "Japan", "France"), (other, "France", "Japan")):
        prompts = " ".join(mine.locator(".t.p").all_inner_texts())
        assert country in prompts
        assert foreign not in prompts
    other.context.close()


@pytest.mark.parametrize(
    ("prompt", "said"),
    [("", "The prompt is empty"), ("   ", "The prompt is empty"), ("long text " * 10_000, "Shorten it")],
    ids=["empty", "blank", "100 kB"],
)
def test_a_bad_prompt_gets_a_sentence_and_keeps_what_is_there(page, prompt, said):
    compare(page, "The capital of Japan is")
    finished(page)
    compare(page, prompt)
    expect(page.locator(".duet-notice")).to_contain_text(said)
    assert page.locator("#prompt textarea").input_value() == prompt
    expect(page.locator(".lane.base .end")).to_be_visible()
    compare(page, "The capital of Peru is")
    expect(page.locator(".t.p", has_text="Peru").first).to_be_visible()
    finished(page)
    expect(page.locator(".duet-notice")).to_be_hidden()


@pytest.mark.parametrize(
    "prompt",
    [
        "${alert(1)} {{value}} `x`",
        "<script>alert(1)</script><img src=x onerror=alert(1)></script>",
        "مرحبا 😀👍🏽 \u202e\u0007 end",
    ],
    ids=["templates", "markup", "scripts of the world"],
)
def test_hostile_and_unusual_text_is_only_text(page, prompt):
    compare(page, prompt)
    finished(page)
    shown = "".join(page.locator(".lane.base .t.p").all_inner_texts()).replace("…", "")
    assert shown.replace("␣", " ").removeprefix("<s>").startswith(prompt[:6])
    assert page.locator(".duet-strips img, .duet-strips script").count() == 0


def test_beams_show_progress_and_open_like_any_text(page):
    decoding(page, beams=4)
    compare(page, "The capital of Japan is")
    finished(page)
    expect(page.locator(".lane.base h2")).to_contain_text("4 beams")


def test_beams_with_sampling_are_refused_in_a_sentence(page):
    decoding(page, beams=4, temperature=1)
    compare(page)
    expect(page.locator(".duet-notice")).to_contain_text("Beam search does not sample")


def test_no_request_leaves_the_machine(page, server):
    compare(page)
    finished(page)
    assert page.requests
    assert [url for url in page.requests if not url.startswith((server.url, "data:", "blob:"))] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_charts_follow_the_theme(page, server, theme):
    page.goto(f"{server.url}?__theme={theme}")
    page.wait_for_selector(".duet-inbox[lang]")
    compare(page)
    finished(page)
    blue = page.locator("#layers .scatterlayer .trace path.js-line").first.evaluate("n => getComputedStyle(n).stroke")
    assert blue == {"light": "rgb(0, 114, 178)", "dark": "rgb(90, 180, 240)"}[theme]
    assert page.locator("#layers .main-svg").first.evaluate("n => n.style.background") == "rgba(0, 0, 0, 0)"


def test_a_phone_keeps_both_lanes_and_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 390, "height": 844})
    compare(page, "The capital of Australia is")
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [page.locator(lane).bounding_box() for lane in LANES]
    assert boxes[1]["y"] > boxes[0]["y"] + boxes[0]["height"] - 1
    assert all(box["width"] > 330 for box in boxes)


def test_the_slider_ranges_come_from_the_model(page):
    layer = page.locator("#layer input[type=range]")
    assert (layer.get_attribute("min"), layer.get_attribute("max")) == ("1", "29")
    expect(page.locator(".duet-head")).to_contain_text("Atlas-30L · 30 layers")


def test_out_of_range_by_api_is_answered_with_a_sentence(server):
    """Raw HTTP, past the sliders."""
    config = json.load(urllib.request.urlopen(f"{server.url}config"))
    layer = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "layer")
    prompt = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "prompt")
    run = next(d for d in config["dependencies"] if {layer, prompt} <= {*d["inputs"]} and layer in d["outputs"])
    component = {c["id"]: c for c in config["components"]}
    for wrong in (0, 30, -5, 10**9, 22.5):
        data = [
            wrong if component[i]["props"].get("elem_id") == "layer" else component[i]["props"].get("value")
            for i in run["inputs"]
        ]
        answer = _answer(server.url, run["id"], data)
        assert re.search(r"(less|greater) than (minimum|maximum) value|layer: Input should be", answer), answer
        assert "figure" not in answer
        assert "Traceback" not in answer


def _answer(url: str, function: int, data: list) -> str:
    session = f"test{function}"
    body = json.dumps({"data": data, "fn_index": function, "session_hash": session}).encode()
    request = urllib.request.Request(f"{url}gradio_api/queue/join", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).read()
    with urllib.request.urlopen(f"{url}gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream:
            if b"process_completed" in line or b"duet-notice" in line or b'"tone": "error"' in line:
                return line.decode()
    return ""


def test_what_draws_the_charts_comes_by_itself(page):
    assert not page.evaluate("Boolean(window.Plotly)")
    page.wait_for_function("window.Plotly")


def test_the_page_can_be_used_before_its_charts_can_be_drawn(page, server):
    """Plotly takes a while to come, and may not come at the first try."""
    asked = []
    page.route("**/plotly-*", lambda route: asked.append(route))
    page.goto(server.url)
    page.wait_for_selector(".duet-inbox[lang]")
    assert not asked
    compare(page, "The capital of Australia is")
    for lane in LANES:
        expect(page.locator(f"{lane} .end")).to_be_visible()
    expect(page.locator("#plausible-head .plot")).to_have_attribute("aria-busy", "true")
    assert len(asked) == 1
    asked[0].abort()
    page.wait_for_function("!document.querySelector('script[src*=plotly]')")
    page.unroute_all()
    set_slider(page, "layer", 20)
    finished(page)
    page.errors.clear()  # of the request that was broken off
