"""Rows as a page: in a real browser, sorted, filtered, opened, and nothing in them read as markup."""

import pytest
from playwright.sync_api import expect

from dola_core.many_prompts.rows import PromptRow
from dola_core.many_prompts.table import table_page

EVIL = "<img src=x onerror=\"document.title='evil'\"><script>document.title='evil'</script></td></tr>"


def row(number: int, **more: object) -> PromptRow:
    usual = {"settings": "s", "prompt": f"prompt {number}", "texts": {"Baseline": f"a{number}", "DoLa": f"b{number}"}}
    return PromptRow(**(usual | {"number": number, "ends": {}, "digest": "d"} | more))


ROWS = [
    row(1, differing=10, first_difference=3, mean_divergence=0.25),
    row(2, differing=9, first_difference=12, mean_divergence=0.5, prompt=EVIL),
    row(3, texts={}, error="The prompt is empty; type something to complete."),
    row(4, differing=0, texts={"Baseline": "x" * 5000, "DoLa": EVIL}),
]


@pytest.fixture
def page(browser, tmp_path):
    file = tmp_path / "runs.html"
    file.write_text(
        table_page("Atlas <b>", ROWS, lambda number: f"<p>view {number}</p>" if number != 4 else None), "utf-8"
    )
    context = browser.new_context(offline=True)
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    errors = []
    opened.on("pageerror", lambda error: errors.append(error))
    opened.goto(file.as_uri())
    yield opened
    assert errors == []
    assert opened.title() == "Atlas <b>"
    context.close()


def numbers(page) -> list[str]:
    return page.locator("tr.row:visible td:first-child").all_inner_texts()


def test_it_is_sorted_by_numbers_where_there_are_numbers(page):
    assert numbers(page) == ["1", "2", "3", "4"]
    head = page.get_by_role("columnheader", name="differing")
    head.get_by_role("button").click()
    assert numbers(page)[:2] == ["1", "2"]
    expect(head).to_have_attribute("aria-sort", "descending")
    head.get_by_role("button").click()
    assert numbers(page)[-2:] == ["2", "1"]
    page.get_by_role("columnheader", name="first difference").get_by_role("button").click()
    assert numbers(page)[:2] == ["2", "1"]


def test_it_is_filtered_by_any_text(page):
    page.get_by_role("searchbox").fill("b1")
    assert numbers(page) == ["1"]
    expect(page.locator("#shown")).to_have_text("1 of 4")
    page.get_by_role("searchbox").fill("")
    assert len(numbers(page)) == 4


def test_a_row_opens_its_comparison_by_click_and_by_key(page):
    first = page.locator("tr.row").first
    first.click()
    expect(page.get_by_text("view 1")).to_be_visible()
    first.click()
    expect(page.get_by_text("view 1")).to_be_hidden()
    second = page.locator("tr.row").nth(1)
    second.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("view 2")).to_be_visible()
    page.locator("tr.row").last.click()
    expect(page.get_by_text("No comparison was kept of this prompt.").last).to_be_visible()
    page.get_by_role("columnheader", name="differing").get_by_role("button").click()
    expect(page.get_by_text("view 2")).to_be_visible()


def test_nothing_is_read_as_markup_and_long_texts_are_cut(page):
    expect(page.locator("tr.row").nth(1).locator("td").nth(1)).to_contain_text("<img src=x")
    assert page.locator("img").count() == 0
    assert len(page.locator("tr.row").last.locator("td").nth(5).inner_text()) <= 400
    expect(page.locator("tr.row").nth(2)).to_contain_text("The prompt is empty")
