"""What a visitor sees when others use the page as well, and when the model fails."""

import re
from collections.abc import Iterator

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.driving import compare, ending, finished
from tests.server import Server

PROMPT = "Here are some facts"


@pytest.fixture
def page(faulty: Server, browser: Browser) -> Iterator[Page]:
    """The page in a fresh profile."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.goto(faulty.url)
    opened.wait_for_selector(".duet-inbox[lang]")
    opened.fill("#prompt textarea", PROMPT)
    yield opened
    context.close()


def notice(page: Page) -> Locator:
    """The notice that is shown."""
    return page.locator(".duet-notice:visible").first


def test_numbers_that_break_leave_the_text_and_name_the_step(page, failing):
    with failing("numbers"):
        compare(page)
        expect(notice(page)).to_contain_text("At step 4 the model's numbers were no longer finite")
    for lane in (".lane.base", ".lane.dola"):
        expect(page.locator(f"{lane} .t[data-index]")).to_have_count(3)
        expect(ending(page, lane)).to_contain_text("numbers that are not finite")
    expect(page.locator("#plausible-head .main-svg").first).to_be_visible()


def test_memory_that_runs_out_is_reported_and_the_next_press_works(page, failing):
    with failing("memory"):
        compare(page)
        expect(notice(page)).to_contain_text("The model ran out of memory")
    compare(page)
    finished(page)


def test_a_prompt_that_is_too_long_for_the_page_gets_the_limit(page):
    compare(page, "gold and silver " * 30)
    expect(notice(page)).to_contain_text(re.compile(r"has \d+ tokens; this page takes at most 40\. Shorten it"))


def test_a_waiting_visitor_sees_the_queue_and_can_stop_waiting(page, faulty, failing):
    with failing("hold"):
        other = Client(faulty.url, verbose=False).submit(PROMPT, max_new_tokens=1, api_name="/compare")
        page.wait_for_timeout(500)  # until the other is inside the model
        compare(page)
        expect(notice(page)).to_contain_text("waiting: 1 run is before yours")
        page.click("#stop")
        expect(page.locator(".duet-notice:visible")).to_have_count(0)
    assert list(other)[-1]["type"] == "trace"
    compare(page)
    finished(page)


def test_a_text_keeps_its_link_while_the_next_run_waits(page, faulty, failing):
    def link() -> str:
        page.click("#link")
        return page.input_value("#outbox input")

    compare(page)
    finished(page)
    whole = link()
    assert "&hash=" in whole
    with failing("hold"):
        other = Client(faulty.url, verbose=False).submit(PROMPT, max_new_tokens=1, api_name="/compare")
        page.wait_for_timeout(500)
        compare(page)
        expect(notice(page)).to_contain_text("waiting: 1 run is before yours")
        page.locator("#outbox .duet-outbox").evaluate("root => root.replaceChildren()")
        assert link() == whole
        page.click("#stop")
        expect(page.locator(".duet-notice:visible")).to_have_count(0)
    assert list(other)[-1]["type"] == "trace"


def test_a_full_queue_is_reported(page, faulty, failing):
    with failing("hold"):
        others = [
            Client(faulty.url, verbose=False).submit(PROMPT, max_new_tokens=1, api_name="/compare") for _ in range(2)
        ]
        page.wait_for_timeout(700)
        compare(page)
        expect(notice(page)).to_contain_text("The queue is full, with 1 waiting; try again in a minute.")
    assert [list(other)[-1]["type"] for other in others] == ["trace", "trace"]
