"""The tab that completes many prompts, in a real browser."""

import csv
import json
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from app.language import ENGLISH, language
from dola_core.many_prompts.rows import PromptRow

expect.set_options(timeout=30_000)
PROMPTS = ["The capital of Australia is", "The largest city of Kenya is", "<b>Bold</b> ${7*7} is"]


@pytest.fixture
def tab(page: Page) -> Page:
    """The page with the tab open."""
    page.get_by_role("tab", name=ENGLISH("prompts.tab")).click()
    expect(page.locator("#prompts textarea")).to_be_visible()
    return page


def complete(tab: Page, prompts: list[str]) -> None:
    tab.locator("#prompts textarea").fill("\n".join(prompts))
    tab.locator("#complete-prompts").click()
    expect(tab.locator("#prompt-rows tr")).to_have_count(len(prompts) + 1)
    expect(tab.locator("#stop-prompts")).to_be_hidden()


def numbers(tab: Page) -> list[int]:
    return [int(text.split()[0]) for text in tab.locator("#prompt-rows button").all_inner_texts()]


def saved(tab: Page, button: str) -> str:
    with tab.expect_download() as download:
        tab.locator(button).click()
    return Path(download.value.path()).read_text(encoding="utf-8-sig")


def test_prompts_fill_a_table_that_is_sorted_saved_and_opened(tab):
    complete(tab, PROMPTS)
    assert numbers(tab) == [1, 2, 3]
    expect(tab.locator("#prompt-rows button").nth(2)).to_have_text(f"3 · {PROMPTS[2]}")
    assert tab.locator("#prompt-rows b").count() == 0
    rows = [PromptRow.model_validate_json(line) for line in saved(tab, "#prompts-jsonl").splitlines()]
    assert [row.prompt for row in rows] == PROMPTS
    assert [row["number"] for row in csv.DictReader(saved(tab, "#prompts-csv").splitlines())] == ["1", "2", "3"]

    tab.locator("#prompt-order input").click()
    tab.get_by_role("option", name=ENGLISH("prompts.by_differing"), exact=True).click()
    ordered = [row.number for row in sorted(rows, key=lambda row: (-row.differing, row.number))]
    expect(tab.locator("#prompt-rows button").first).to_have_text(re.compile(rf"^{ordered[0]} "))
    assert numbers(tab) == ordered

    tab.locator("#prompt-rows button").first.click()
    expect(tab.locator("#prompt textarea")).to_have_value(PROMPTS[ordered[0] - 1])
    first = next(row for row in rows if row.number == ordered[0])
    expect(tab.locator(".duet-strips").first).to_contain_text(list(first.texts.values())[1].strip().split()[0])


def test_a_file_is_completed_and_the_tab_speaks_the_language_that_is_picked(tab, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS[:2]), encoding="utf-8")
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name=ENGLISH("prompts.upload")).click()
    chooser.value.set_files(file)
    expect(tab.locator("#prompt-rows tr")).to_have_count(3)
    expect(tab.locator("#stop-prompts")).to_be_hidden()
    tab.get_by_text("中文", exact=True).click()
    expect(tab.locator("#prompt-rows h3")).to_have_text(language("zh")("prompts.table"))
    expect(tab.locator("#complete-prompts")).to_have_text(language("zh")("prompts.complete"))


def test_an_empty_box_ends_in_one_sentence(tab):
    tab.locator("#complete-prompts").click()
    expect(tab.locator(".duet-notice:visible")).to_have_text(ENGLISH("prompts.none"))
    expect(tab.locator("#stop-prompts")).to_be_hidden()


def test_stop_keeps_the_rows_that_are_done(tab):
    tab.locator("#prompts textarea").fill("\n".join(PROMPTS[:1] * 60))
    tab.locator("#complete-prompts").click()
    expect(tab.locator("#prompt-rows tr").nth(2)).to_be_visible()
    tab.locator("#stop-prompts").click()
    expect(tab.locator(".duet-notice:visible")).to_contain_text(re.compile(r"^Stopped: \d+ of 60"))
    assert 2 <= tab.locator("#prompt-rows button").count() < 60


def test_other_prompts_take_the_place_of_those_that_are_still_being_completed(tab):
    tab.locator("#prompts textarea").fill("\n".join(PROMPTS[:1] * 60))
    tab.locator("#complete-prompts").click()
    expect(tab.locator("#prompt-rows tr").nth(1)).to_be_visible()
    tab.locator("#prompts textarea").fill(PROMPTS[1])
    tab.locator("#complete-prompts").click()
    expect(tab.locator("#prompt-rows button")).to_have_text([f"1 · {PROMPTS[1]}"])
    expect(tab.locator("#stop-prompts")).to_be_hidden()
    expect(tab.locator("#prompt-rows button")).to_have_text([f"1 · {PROMPTS[1]}"])
    expect(tab.locator(".duet-notice:visible")).to_have_count(0)


def test_the_tab_has_no_accessibility_fault(tab):
    complete(tab, PROMPTS)
    found = Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
