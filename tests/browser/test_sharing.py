"""Links, traces, reports and branches, in a real browser."""

import csv
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.driving import (
    arrive,
    as_tokens,
    at_step,
    click_point,
    compare,
    decoding,
    drawn,
    ending,
    finished,
    mark_shown,
    set_slider,
    stop_once_it_writes,
    texts,
)

PROMPT = "The capital of Australia is"
SAVES = ("trace", "report", "step_table", "run_table")


def saved(page, what: str, folder: Path) -> Path:
    """What an item of the menu in the page's corner saves."""
    page.click("#save summary")
    with page.expect_download() as download:
        page.locator("#save .items button").nth(SAVES.index(what)).click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_a_step_and_all_steps_are_saved_as_tables(page, tmp_path):
    compare(page, PROMPT)
    finished(page)
    every = list(csv.DictReader(saved(page, "run_table", tmp_path).read_text(encoding="utf-8-sig").splitlines()))
    for lane, text in enumerate(texts(page)):
        rows = [row for row in every if row["lane"] == str(lane)]
        assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
        assert text.strip().startswith(rows[0]["token"].strip())
    page.keyboard.press("Home")
    at_step(page, 1)
    step = list(csv.DictReader(saved(page, "step_table", tmp_path).read_text(encoding="utf-8-sig").splitlines()))
    assert {row["step"] for row in step} == {"1"}
    assert len(step) > 5
    assert any(row["token_id"] == every[0]["token_id"] for row in step)


def test_a_link_opened_in_a_fresh_profile_fills_the_page_waits_and_gives_the_same_text(page, browser, server):
    set_slider(page, "layer-2", 12)
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
    expect(other.locator(".invitation")).to_contain_text("This link leads to a result")
    assert other.locator(".lane.dola .t[data-index]").count() == 0, "nothing runs before Compare is pressed"
    assert other.locator("#prompt textarea").input_value() == f"{PROMPT} ${{alert(1)}}"
    assert other.locator("#layer-2 input[type=number]").input_value() == "12"
    other.click(".invitation button")
    expect(other.get_by_text("Same text as shared.")).to_be_visible()
    assert texts(other) == texts(page)
    other.context.close()


@pytest.mark.parametrize(
    "query",
    ["prompt=%24%7Balert(1)%7D&j=1e99&a=nan&k=-5", "j=<script>alert(1)</script>", "prompt=&new=99999999999&at=x"],
)
def test_a_hostile_link_is_clamped(page, server, query):
    arrive(page, f"{server.url}?{query}")
    compare(page, PROMPT)
    finished(page)


def test_a_trace_saved_and_dropped_gives_the_same_page(page, server, tmp_path):
    set_slider(page, "layer-2", 9)
    compare(page, PROMPT)
    finished(page)
    before, sentence = texts(page), page.locator(".duet-say .duet-sentence").inner_text()
    file = saved(page, "trace", tmp_path)
    assert json.loads(file.read_text())["schema"] == 2
    text = file.read_text(encoding="utf-8")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be"):  # as editors save it again
        file.write_bytes(text.encode(encoding))
        arrive(page, server.url)
        page.locator("#inbox input").set_input_files(file)
        expect(page.get_by_text("Nothing was run here")).to_be_visible()
        expect(page.locator(".lane.base .tag")).to_have_text("opened")
        finished(page)
        assert texts(page) == before
        assert page.locator(".duet-say .duet-sentence").inner_text() == sentence
        assert page.locator("#layer-2 input[type=number]").input_value() == "9"
        assert page.locator("#prompt textarea").input_value() == PROMPT


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
    document = json.loads(saved(page, "trace", tmp_path).read_text())
    nasty = "<img src=x onerror=alert(1)>${alert(1)}{{x}}</script>"
    document["pieces"] = dict.fromkeys(document["pieces"], nasty)
    document["lanes"][0]["name"] = document["prompt"] = document["texts"][0] = nasty
    (tmp_path / "nasty.json").write_text(json.dumps(document))
    page.locator("#inbox input").set_input_files(tmp_path / "nasty.json")
    expect(page.locator(".lane.base")).to_have_attribute("aria-label", re.compile(r"\$\{alert\(1\)\}"))
    expect(page.locator("#plausible-head .plot")).to_contain_text("<img")
    assert page.locator(".duet-strips img, .duet-chart img, .duet-strips script").count() == 0


def test_a_report_opens_by_itself_without_any_request(page, browser, tmp_path):
    compare(page, PROMPT)
    finished(page)
    file = saved(page, "report", tmp_path)
    context = browser.new_context(offline=True)
    alone = context.new_page()
    errors, requests = [], []
    alone.on("pageerror", lambda error: errors.append(str(error)))
    alone.on("request", lambda request: requests.append(request.url))
    alone.goto(file.as_uri())
    expect(alone.locator(".main-svg").first).to_be_visible()
    assert texts(alone) == texts(page)
    assert alone.locator(".duet-chart").count() == 7
    assert PROMPT in alone.locator("body").inner_text()
    assert "click" not in alone.locator("body").inner_text().lower()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def test_a_pinned_token_is_forced_and_the_crumbs_lead_back(page):
    compare(page, PROMPT)
    finished(page)
    as_tokens(page)
    page.locator(".lane.dola .t[data-index='1']").click()
    at_step(page, 2)
    expect(page.locator("#force")).to_be_hidden()
    before = texts(page)
    prompt_before = page.locator(".lane.base .t.p").count()
    last = drawn(page, "#plausible-head").evaluate("plot => plot.data[0].y.length - 1")
    token = drawn(page, "#plausible-head").evaluate("plot => plot.data[0].customdata.at(-1)[0]")
    click_point(page, "#plausible-head", 0.00001, last - 0.27)
    expect(page.locator("#force")).to_contain_text("Make both say")
    mark_shown(page)
    page.click("#force")
    expect(page.locator(".duet-crumbs")).to_contain_text("step 2 →")
    finished(page)
    prompt = page.locator(".lane.base .t.p").all_inner_texts()
    assert prompt[-1] == token.replace("&lt;", "<").replace("&amp;", "&")
    page.locator(".duet-crumbs button").first.click()
    expect(page.locator(".duet-crumbs")).to_be_hidden()
    expect(page.locator(".lane.base .t.p")).to_have_count(prompt_before)
    assert texts(page) == before


@pytest.mark.parametrize(("step", "layer", "alpha"), [(1, 5, 0.02), (2, 9, 0.3), (3, 28, 0.05)])
def test_running_on_writes_what_the_what_if_said(page, step, layer, alpha):
    compare(page, PROMPT)
    finished(page)
    page.locator(f".lane.dola .t[data-index='{step - 1}']").click()
    at_step(page, step)
    set_slider(page, "layer-2", layer)
    set_slider(page, "alpha-2", alpha)
    expect(page.locator(".duet-bar .what-if")).to_contain_text(f"j* = {layer}")
    expect(page.locator(".duet-bar .what-if")).to_contain_text(f"α = {alpha:g}")
    expect(page.locator("#layers .plot")).to_contain_text(f"j* = {layer}")
    again = page.locator(f".lane.dola .t[data-index='{step - 1}']")
    said = re.search(r"it would say (\S+)", again.get_attribute("title"))
    as_tokens(page)
    expected = said[1] if said else again.inner_text()
    mark_shown(page)
    page.click("#run-on")
    expect(page.locator(".duet-crumbs")).to_contain_text(f"step {step}")
    finished(page)
    expect(page.locator(".lane.dola h2")).to_contain_text(f"j* = {layer} · α = {alpha:g}")
    assert page.locator(".lane.dola .t[data-index='0']").inner_text() == expected


def test_a_stopped_run_is_shared_without_the_mark_of_its_result(page, endless):
    arrive(page, endless.url)
    decoding(page, **{"new tokens": 200})
    compare(page, PROMPT)
    finished(page)
    page.click("#link")
    expect(page.locator("#outbox input")).to_have_value(re.compile("hash="))
    assert "stop=" not in page.locator("#outbox input").input_value()
    compare(page, PROMPT)
    stop_once_it_writes(page)
    expect(ending(page)).to_have_text("stopped by you")
    page.click("#link")
    expect(page.locator("#outbox input")).not_to_have_value(re.compile("hash="))


def test_without_a_run_there_is_nothing_to_take_along(page, endless):
    arrive(page, endless.url)
    for number in range(len(SAVES)):
        page.click("#save summary")
        page.locator("#save .items button").nth(number).click()
        expect(page.locator(".duet-notice.error")).to_contain_text("press Compare first")


def test_a_link_to_a_recorded_run_shows_it_at_its_step(page, browser, server):
    """The page opens with a recorded run, whose link brings it back without running anything."""
    page.get_by_role("button", name="next step").click()
    at_step(page, 2)
    page.click("#link")
    expect(page.locator("#outbox input")).to_have_value(re.compile("hash="))
    url = page.locator("#outbox input").input_value()
    other = browser.new_context().new_page()
    other.set_default_timeout(60_000)
    arrive(other, url)
    expect(other.locator(".lane.base .tag")).to_have_text("recorded")
    at_step(other, 2)
    assert texts(other) == texts(page)
    # The mark of a recorded run with another prompt is no recorded run.
    arrive(other, url.replace("prompt=", "prompt=Really%3A+"))
    expect(other.locator(".invitation")).to_be_visible()
    other.context.close()


def test_a_link_lands_on_the_step_that_was_shared(page, browser, server):
    compare(page, PROMPT)
    finished(page)
    page.locator(".lane.dola .t[data-index='1']").click()
    at_step(page, 2)
    page.click("#link")
    url = page.locator("#outbox input").input_value()
    other = browser.new_context().new_page()
    other.set_default_timeout(60_000)
    arrive(other, url)
    if other.locator(".invitation").count():
        other.click(".invitation button")
    finished(other)
    at_step(other, 2)
    other.context.close()


def test_a_file_that_is_dragged_over_the_page_shows_where_it_can_be_dropped(page):
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["{}"], "trace.json"));
            document.dispatchEvent(new DragEvent("dragover", { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    expect(page.locator(".duet-drop")).to_be_visible()
    page.evaluate("() => document.dispatchEvent(new DragEvent('dragleave', { bubbles: true }))")
    expect(page.locator(".duet-drop")).to_be_hidden()
