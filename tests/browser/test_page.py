"""What a person does, in a real browser."""

import json
import re
import urllib.request

import pytest
from playwright.sync_api import expect

from tests.browser.driving import (
    LANES,
    arrive,
    as_tokens,
    at_step,
    compare,
    decoding,
    ending,
    finished,
    set_number,
    set_slider,
    stop_once_it_writes,
)


def test_compare_move_the_layer_click_a_token_and_read_the_candidates(page):
    compare(page, "The capital of Australia is")
    finished(page)
    for lane in LANES:
        assert page.locator(f"{lane} .t[data-index]").count() >= 2
    layer = page.locator("#layer-2 input[type=number]").input_value()
    expect(page.locator("#plausible-head .key")).to_contain_text(f"layer {layer}")

    set_slider(page, "layer-2", 12)
    expect(page.locator("#plausible-head .key")).to_contain_text("layer 12")
    expect(page.locator("#layers .plot")).to_contain_text("j* = 12")

    second = page.locator(".lane.dola .t[data-index='1']")
    second.click()
    expect(second).to_have_class(re.compile(r"\bsel\b"))
    at_step(page, 2)
    for label in ("final layer", "layer 12", "DoLa"):
        expect(page.locator("#plausible-head .key")).to_contain_text(label)
    assert page.locator("#plausible-head .plot .bars .point").count() >= 3


def test_the_lanes_stream_token_by_token(page, endless):
    """What the page showed is noted within the page: a look from outside may come when the run is over."""
    arrive(page, endless.url)
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
    expect(ending(page)).to_be_visible()
    seen = page.evaluate("window.seen")
    assert seen == sorted(seen)
    assert len({*seen}) >= 4
    assert seen[-1] < 120


def test_the_first_difference_is_marked_and_opened(page):
    set_slider(page, "layer-2", 12)
    set_slider(page, "alpha-2", 0.01)
    decoding(page, **{"new tokens": 60})
    compare(page, "The capital of Australia is")
    finished(page)
    as_tokens(page)
    assert page.locator(".fork").count() == 2
    after_fork = page.locator(".lane.dola .fork + .t")
    expect(after_fork).to_have_class(re.compile(r"\bd\b.*\bsel\b"))
    expect(after_fork).to_have_attribute("title", re.compile("Plain would say"))
    expect(page.locator(".duet-say .voice.base")).to_be_visible()
    expect(page.locator(".duet-say .voice.dola")).to_be_visible()


def test_tokens_are_walked_with_the_keyboard_and_keep_the_focus(page):
    compare(page, "The capital of Japan is")
    finished(page)
    page.locator(".lane.dola .t[data-index='0']").click()
    page.keyboard.press("ArrowRight")
    at_step(page, 2)
    expect(page.locator(".lane.dola .t[data-index='1']")).to_be_focused()
    page.keyboard.press("End")
    expect(page.locator(".lane.dola .t[data-index]").last).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".lane.base .t.sel")).to_be_focused()


def test_stop_keeps_the_text_says_so_and_the_next_run_works(page, endless):
    arrive(page, endless.url)
    decoding(page, **{"new tokens": 256})
    compare(page, "The")
    stop_once_it_writes(page, 8)
    for lane in LANES:
        expect(ending(page, lane)).to_have_text("stopped by you")
        assert 9 <= page.locator(f"{lane} .t[data-index]").count() < 256
    expect(page.locator("#plausible-head .main-svg").first).to_be_visible()
    set_number(page, "new tokens", 5)
    compare(page, "The capital of Japan is")
    expect(ending(page)).to_have_text("length limit")
    assert page.locator(".lane.dola .t[data-index]").count() == 5


def test_stop_ends_a_beam_search_within_a_step(page, endless):
    arrive(page, endless.url)
    decoding(page, **{"new tokens": 256, "beams": 8})
    compare(page, "The")
    expect(page.locator(".duet-notice.busy")).to_contain_text("searching beams of Plain: step")
    page.click("#stop")
    expect(page.locator("#compare")).to_be_visible()
    set_number(page, "beams", 1)
    set_number(page, "new tokens", 4)
    compare(page, "The capital of Japan is")
    expect(ending(page)).to_have_text("length limit")


PRESS_STOP = """() => {
    const stop = document.querySelector("#stop");
    stop?.click();
    return Boolean(stop);
}"""
"""Within the page: a click from outside may come when the run is over."""


def test_stop_right_after_compare_does_no_harm(page):
    for prompt in (None, "The capital of Japan is"):
        compare(page, prompt)
        page.wait_for_function(PRESS_STOP)
        expect(page.locator("#compare")).to_be_enabled()
    compare(page, "The capital of Chile is")
    finished(page)
    expect(page.locator(".strip .p", has_text="Chile").first).to_be_visible()


def test_enter_while_something_runs_asks_for_the_next_run_whose_word_counts(page, endless):
    """A refusal of the second run is not wiped out by the end of the first."""
    arrive(page, endless.url)
    decoding(page, **{"new tokens": 120})
    compare(page, "The")
    expect(page.locator("#stop")).to_be_visible()
    page.fill("#prompt textarea", "   ")
    page.locator("#prompt textarea").press("Enter")
    expect(page.locator(".duet-notice.error")).to_contain_text("The prompt is empty")
    finished(page)
    expect(page.locator(".duet-notice.error")).to_contain_text("The prompt is empty")


def test_two_people_at_once_both_get_their_own_text(page, browser, server):
    other = browser.new_context().new_page()
    other.set_default_timeout(60_000)
    arrive(other, server.url)
    compare(page, "The capital of Japan is")
    compare(other, "The capital of France is")
    finished(page)
    finished(other)
    for mine, country, foreign in ((page, "Japan", "France"), (other, "France", "Japan")):
        prompts = " ".join(mine.locator(".strip .p").all_inner_texts())
        assert country in prompts
        assert foreign not in prompts
    other.context.close()


def test_the_slider_ranges_come_from_the_model(page):
    layer = page.locator("#layer-2 input[type=range]")
    assert (layer.get_attribute("min"), layer.get_attribute("max")) == ("1", "29")
    expect(page.locator("#badge")).to_have_text("Atlas-30L · 30 layers")


def test_out_of_range_by_api_is_answered_with_a_sentence(server):
    """Raw HTTP, past the sliders."""
    config = json.load(urllib.request.urlopen(f"{server.url}config"))
    layer = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "layer-2")
    prompt = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "prompt")
    run = next(d for d in config["dependencies"] if {layer, prompt} <= {*d["inputs"]} and layer in d["outputs"])
    component = {c["id"]: c for c in config["components"]}
    for wrong in (0, 30, -5, 10**9, 22.5):
        data = [
            wrong if component[i]["props"].get("elem_id") == "layer-2" else component[i]["props"].get("value")
            for i in run["inputs"]
        ]
        answer = _answer(server.url, run["id"], data)
        assert re.search(r"the page takes numbers from 1 to 29 there|A lane is written like", answer), answer
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


def test_the_page_can_be_used_before_its_charts_can_be_drawn(page, server):
    """Plotly takes a while to come, and may not come at the first try."""
    asked = []
    page.route("**/plotly-*", lambda route: asked.append(route))
    arrive(page, server.url)
    expect(page.locator("#plausible-head .plot")).to_have_attribute("aria-busy", "true")
    compare(page, "The capital of Australia is")
    for lane in LANES:
        expect(ending(page, lane)).to_be_visible()
    expect(page.locator("#plausible-head .plot")).to_have_attribute("aria-busy", "true")
    page.wait_for_timeout(1500)  # by now the page has asked for it by itself as well
    assert len(asked) == 1
    asked[0].abort()
    page.wait_for_function("!document.querySelector('script[src*=plotly]')")
    page.unroute_all()
    set_slider(page, "layer-2", 20)
    finished(page)
    page.errors.clear()  # of the request that was broken off


@pytest.mark.parametrize(
    ("prompt", "said"),
    [("", "The prompt is empty"), ("   ", "The prompt is empty"), ("long text " * 10_000, "Shorten it")],
    ids=["empty", "blank", "100 kB"],
)
def test_a_bad_prompt_gets_a_sentence_and_keeps_what_is_there(page, prompt, said):
    compare(page, "The capital of Japan is")
    finished(page)
    compare(page, prompt)
    expect(page.locator(".duet-notice.error")).to_contain_text(said)
    assert page.locator("#prompt textarea").input_value() == prompt
    expect(page.locator(".lane.base .end")).to_be_visible()
    compare(page, "The capital of Peru is")
    finished(page)
    expect(page.locator(".strip .p", has_text="Peru").first).to_be_visible()
    expect(page.locator(".duet-notice.error")).to_have_count(0)


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
    as_tokens(page)
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
    expect(page.locator(".duet-notice.error")).to_contain_text("Beam search does not sample")


def test_no_request_leaves_the_machine(page, server):
    compare(page)
    finished(page)
    assert page.requests
    assert [url for url in page.requests if not url.startswith((server.url, "data:", "blob:"))] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_charts_follow_the_theme(page, server, theme):
    arrive(page, f"{server.url}?__theme={theme}")
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
