"""Links, traces, reports and branches, in a real browser."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.test_inspector import click_point, drawn
from tests.browser.test_page import LANES, compare, decoding, finished, set_slider, stop_once_it_writes

PROMPT = "The capital of Australia is"
expect.set_options(timeout=30_000)


def texts(page):
    return ["".join(page.locator(f"{lane} .t[data-index]").all_inner_texts()) for lane in LANES]


def saved(page, button, folder: Path) -> Path:
    """What a button of the page's corner saves."""
    with page.expect_download() as download:
        page.click(button)
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_a_link_opened_in_a_fresh_profile_fills_the_page_waits_and_gives_the_same_text(page, browser, server):
    set_slider(page, "layer", 12)
    decoding(page, **{"new tokens": 9, "temperature": 0.5})
    compare(page, f"{PROMPT} ${{alert(1)}}")
    finished(page)
    page.click("#link")
    url = page.locator("#outbox input").input_value()
    assert url.startswith(server.url)
    assert "j=12" in url
    other = browser.new_context().new_page()
    other.set_default_timeout(60_000)
    other.goto(url)
    expect(other.locator(".duet-notice")).to_contain_text("come from a link")
    assert other.locator(".lane.dola .t[data-index]").count() == 0, "nothing runs before Compare is pressed"
    assert other.locator("#prompt textarea").input_value() == f"{PROMPT} ${{alert(1)}}"
    assert other.locator("#layer input[type=number]").input_value() == "12"
    other.click("#compare")
    expect(other.locator(".duet-notice")).to_contain_text("Same text as shared.")
    assert texts(other) == texts(page)
    other.context.close()


@pytest.mark.parametrize(
    "query",
    ["prompt=%24%7Balert(1)%7D&j=1e99&a=nan&k=-5", "j=<script>alert(1)</script>", "prompt=&new=99999999999&at=x"],
)
def test_a_hostile_link_is_clamped(page, server, query):
    page.goto(f"{server.url}?{query}")
    page.wait_for_selector(".duet-inbox[lang]")
    compare(page, PROMPT)
    finished(page)


def test_a_trace_saved_and_dropped_gives_the_same_page(page, server, tmp_path):
    set_slider(page, "layer", 9)
    compare(page, PROMPT)
    finished(page)
    before, sentence = texts(page), page.locator(".duet-say .duet-sentence").inner_text()
    file = saved(page, "#trace", tmp_path)
    assert json.loads(file.read_text())["schema"] == 2
    text = file.read_text(encoding="utf-8")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be"):  # as editors save it again
        file.write_bytes(text.encode(encoding))
        page.goto(server.url)
        page.wait_for_selector(".duet-inbox[lang]")
        page.locator("#inbox input").set_input_files(file)
        expect(page.locator(".duet-notice")).to_contain_text("Nothing was run here")
        finished(page)
        assert texts(page) == before
        assert page.locator(".duet-say .duet-sentence").inner_text() == sentence
        assert page.locator("#layer input[type=number]").input_value() == "9"


def test_a_trace_is_chosen_by_a_button(page):
    button = page.get_by_role("button", name="Open trace")
    expect(button).to_be_visible()
    with page.expect_file_chooser():
        button.click()


def test_a_spoiled_trace_gets_a_sentence_and_changes_nothing(page, tmp_path):
    compare(page, PROMPT)
    finished(page)
    before = texts(page)
    for content, said in (
        ("", "empty or no text"),
        ("{", "not a trace"),
        ('{"schema": 3}', "another version"),
        ("a" * 10_000_001, "larger than"),
    ):
        (tmp_path / "spoiled.json").write_text(content)
        page.locator("#inbox input").set_input_files(tmp_path / "spoiled.json")
        expect(page.locator(".duet-notice.error")).to_contain_text(said)
    assert texts(page) == before


def test_markup_in_a_dropped_trace_is_only_text(page, tmp_path):
    compare(page, PROMPT)
    finished(page)
    document = json.loads(saved(page, "#trace", tmp_path).read_text())
    nasty = "<img src=x onerror=alert(1)>${alert(1)}{{x}}</script>"
    document["pieces"] = dict.fromkeys(document["pieces"], nasty)
    document["lanes"][0]["name"] = document["prompt"] = document["texts"][0] = nasty
    (tmp_path / "nasty.json").write_text(json.dumps(document))
    page.locator("#inbox input").set_input_files(tmp_path / "nasty.json")
    expect(page.locator(".lane.base h2")).to_contain_text("${alert(1)}")
    expect(page.locator("#plausible-head .plot")).to_contain_text("onerror")
    assert page.locator(".duet-strips img, .duet-chart img, .duet-strips script").count() == 0


def test_a_report_opens_by_itself_without_any_request(page, browser, tmp_path):
    compare(page, PROMPT)
    finished(page)
    file = saved(page, "#report", tmp_path)
    context = browser.new_context(offline=True)
    alone = context.new_page()
    errors, requests = [], []
    alone.on("pageerror", lambda error: errors.append(str(error)))
    alone.on("request", lambda request: requests.append(request.url))
    alone.goto(file.as_uri())
    expect(alone.locator(".main-svg").first).to_be_visible()
    assert texts(alone) == texts(page)
    assert alone.locator(".duet-chart").count() == 7
    alone.locator(".lane.base .t[data-index='1']").click()
    expect(alone.locator(".lane.base .ghost")).to_contain_text("step 2")
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def test_a_pinned_token_is_forced_and_the_crumbs_lead_back(page):
    compare(page, PROMPT)
    finished(page)
    page.locator(".lane.dola .t[data-index='1']").click()
    expect(page.locator("#step input[type=number]")).to_have_value("2")
    expect(page.locator("#force")).to_be_hidden()
    before = texts(page)
    token = drawn(page, "#plausible-head").evaluate("plot => plot.data[0].customdata[2][0]")
    click_point(page, "#plausible-head", 0.0001, 2 - 0.27)
    expect(page.locator("#force")).to_contain_text("Continue both from")
    page.click("#force")
    expect(page.locator(".duet-crumbs")).to_contain_text("step 2 →")
    finished(page)
    prompt = page.locator(".lane.base .t.p").all_inner_texts()
    assert prompt[-1] == token.replace("&lt;", "<").replace("&amp;", "&")
    page.locator(".duet-crumbs button").first.click()
    expect(page.locator(".duet-crumbs")).to_be_hidden()
    expect(page.locator(".lane.base .t.p")).to_have_count(len(prompt) - 2)
    assert texts(page) == before


@pytest.mark.parametrize(("step", "layer", "alpha"), [(1, 5, 0.02), (2, 17, 0.3), (3, 28, 0.05)])
def test_running_on_writes_what_the_what_if_said(page, step, layer, alpha):
    compare(page, PROMPT)
    finished(page)
    page.locator(f".lane.dola .t[data-index='{step - 1}']").click()
    expect(page.locator("#step input[type=number]")).to_have_value(str(step))
    set_slider(page, "layer", layer)
    set_slider(page, "alpha", alpha)
    expect(page.locator("#changed-by-layer .sub")).to_contain_text(f"at α = {alpha:g}")
    expect(page.locator("#layers .plot")).to_contain_text(f"j* = {layer}")
    said = [page.locator(f".duet-say .voice.{side}") for side in ("dola", "base")]
    expected = next(voice.inner_text() for voice in said if voice.count())
    page.click("#run-on")
    expect(page.locator(".duet-crumbs")).to_contain_text(f"step {step}")
    finished(page)
    expect(page.locator(".lane.dola h2")).to_contain_text(f"j* = {layer} · α = {alpha:g}")
    assert page.locator(".lane.dola .t[data-index='0']").inner_text() == expected


def test_a_stopped_run_is_shared_without_the_mark_of_its_result(page, endless):
    page.goto(endless.url)
    page.wait_for_selector(".duet-inbox[lang]")
    decoding(page, **{"new tokens": 200})
    compare(page, PROMPT)
    finished(page)
    page.click("#link")
    expect(page.locator("#outbox input")).to_have_value(re.compile("hash="))
    compare(page, PROMPT)
    stop_once_it_writes(page)
    expect(page.locator(".lane.dola .end")).to_have_text("stopped by you")
    page.click("#link")
    expect(page.locator("#outbox input")).not_to_have_value(re.compile("hash="))


def test_without_a_run_there_is_nothing_to_take_along(page):
    for button in ("#trace", "#report"):
        page.click(button)
        expect(page.locator(".duet-notice.error")).to_contain_text("press Compare first")
