"""Several models on one page: the menu, what changes with the model, chats, and links from one model to another."""

import shutil
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import torch
from playwright.sync_api import Page, expect
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tests.browser.driving import LANES, as_tokens, compare, decoding, finished, texts
from tests.browser.test_sharing import saved
from tests.server import ROOT, Server, serve

ATLAS = ROOT / "assets" / "models" / "atlas-30l"
TEMPLATE = (
    "{{ 'Answer in one word. ' if not system and messages[0].role != 'system' }}"
    "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}"
    "{{ 'calm ' if calm }}{{ 'assistant:' if add_generation_prompt }}"
)
SECRET = "not-for-visitors"


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Atlas-30L, a random model of six layers with a chat template, and one that has gone since the page started."""
    folder = tmp_path_factory.mktemp(SECRET) / "six-layers"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(ATLAS / name, folder / name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = AutoConfig.from_pretrained(ATLAS)
    config.update({"num_hidden_layers": 6})
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    gone = shutil.copytree(folder, folder.with_name("gone"))
    models = ("atlas-30l", str(folder), str(gone))
    with serve(*(part for model in models for part in ("--model", model)), "--max-loaded", "1", DOLA_MODEL="") as page:
        shutil.rmtree(gone)
        yield page


@pytest.fixture
def server(two_models: Server) -> Server:
    """Instead of the page with one model."""
    return two_models


def choose(page: Page, title: str) -> None:
    """Choose a model from the menu."""
    page.click("#model input")
    page.click(f"[role=option]:has-text('{title}')")


def shown(page: Page, title: str) -> None:
    """Wait until the page shows a model."""
    expect(page.locator("#badge")).to_contain_text(title)


def prompt_of(page: Page) -> str:
    return page.locator("#prompt textarea").input_value()


def test_all_that_depends_on_the_model_changes_with_it(page):
    assert page.locator("#mode").count() == 0
    expect(page.locator(".lane.base .tag")).to_have_text("recorded")
    verdict = page.locator("#verdict").inner_text()
    choose(page, "six-layers")
    shown(page, "6 layers")
    expect(page.locator("#layer-2 input[type=range]")).to_have_attribute("max", "5")
    expect(page.locator("#mode")).to_be_visible()
    assert prompt_of(page) == "The capital of Australia is", "the prompt of a recorded run gives way"
    assert "mended" not in page.locator(".duet-chips").inner_text()
    expect(page.locator("#verdict")).not_to_have_text(verdict)
    expect(page.locator(".lane")).to_have_count(0)
    expect(page.locator(".duet-below")).to_be_hidden()
    page.click("[role=tab]:has-text('Choose')")
    expect(page.locator("#curve .main-svg")).to_have_count(0)
    page.click("[role=tab]:has-text('Compare')")
    compare(page, "Mine:")
    finished(page)
    choose(page, "Atlas")
    shown(page, "30 layers")
    expect(page.locator("#layer-2 input[type=range]")).to_have_attribute("max", "29")
    expect(page.locator("#mode")).to_be_hidden()
    expect(page.locator("#verdict")).to_have_text(verdict)
    assert prompt_of(page) == "Mine:", "what a visitor wrote stays"
    expect(page.locator(".lane")).to_have_count(0)
    page.locator(".duet-chips .chip").first.click()
    expect(page.locator(".lane")).to_have_count(2)
    choose(page, "six-layers")
    shown(page, "6 layers")
    choose(page, "Atlas")
    shown(page, "30 layers")
    expect(page.locator(".lane.base .tag")).to_have_text("recorded")  # it opens as at first


def test_a_run_under_way_is_not_shown_under_another_model(page):
    choose(page, "six-layers")  # whose random weights know no end
    shown(page, "6 layers")
    decoding(page, **{"new tokens": 256})
    compare(page, "Mine:")
    expect(page.locator(".lane.dola .t[data-index]").nth(3)).to_be_visible()
    choose(page, "Atlas")
    shown(page, "30 layers")
    expect(page.locator(".lane")).to_have_count(0)
    expect(page.locator("#compare")).to_be_visible()
    page.wait_for_timeout(3000)  # the former run's next updates would have come by now
    assert page.locator(".lane").count() == 0
    compare(page, "The capital of Japan is")
    finished(page)


def test_a_model_that_cannot_be_loaded_is_said_without_its_path_and_the_page_stays_as_it_was(page, server):
    choose(page, "gone")
    expect(page.locator(".duet-notice.error")).to_contain_text("cannot be loaded here")
    assert SECRET not in page.locator(".duet-notice.error").inner_text()
    expect(page.locator("#model input")).to_have_value("Atlas-30L")
    shown(page, "30 layers")
    compare(page, "The capital of Japan is")
    finished(page)
    server.log.clear()


def test_a_chat_folds_its_template_away_and_takes_a_system_prompt_and_arguments(page):
    choose(page, "six-layers")
    shown(page, "6 layers")
    compare(page, "Who are you?")
    finished(page)
    strip = page.locator(f"{LANES[0]} .strip")
    chip = page.locator(".lane .fold")
    expect(chip).to_have_count(1)  # the prompt is shown once
    expect(chip).to_contain_text("⟨prompt, ")
    assert "Who" not in strip.inner_text()
    chip.click()
    expect(strip).to_contain_text("Answer")
    expect(chip).to_have_attribute("aria-expanded", "true")
    chip.click()
    as_tokens(page)
    before = page.locator(f"{LANES[0]} .fold")
    expect(before.first).to_contain_text("template, ")
    assert "Answer" not in strip.inner_text()
    before.first.click()
    expect(strip).to_contain_text("Answer")
    page.locator("#decoding > button").click()
    page.fill("#system textarea, #system input", "Be a poet.")
    page.fill("#template-arguments input, #template-arguments textarea", '{"calm": true}')
    compare(page, "Who are you?")
    finished(page)
    for text in ("poet", "calm"):
        expect(strip).to_contain_text(text)
    assert "one word" not in strip.inner_text().replace("␣", " ")
    page.click("#link")
    url = page.locator("#outbox input").input_value()
    assert "model=six-layers" in url
    assert SECRET not in url
    page.fill("#template-arguments input, #template-arguments textarea", "calm")
    page.click("#compare")
    expect(page.locator(".duet-notice.error")).to_contain_text("JSON object")
    page.click("#mode label:has-text('Complete')")
    compare(page, "Who are you?")
    finished(page)
    expect(page.locator(f"{LANES[0]} .fold")).to_have_count(0)


def test_a_trace_of_another_model_of_the_menu_brings_its_model(page, tmp_path):
    choose(page, "six-layers")
    shown(page, "6 layers")
    compare(page, "Mine:")
    finished(page)
    file, before = saved(page, "trace", tmp_path), texts(page)
    choose(page, "Atlas")
    shown(page, "30 layers")
    page.locator("#inbox input").set_input_files(file)
    shown(page, "6 layers")
    finished(page)
    assert texts(page) == before
    assert prompt_of(page) == "Mine:"
    expect(page.locator(".lane.base .tag")).to_have_text("opened")


def test_a_link_across_models_loads_its_model_and_sets_what_it_says(page, server):
    page.goto(f"{server.url}?prompt={quote('Who?')}&j=4&a=0.3&new=5&chat=chat&system=Hm&model=six-layers")
    shown(page, "6 layers")
    expect(page.locator(".invitation")).to_contain_text("nothing was run yet")
    assert prompt_of(page) == "Who?"
    assert page.locator("#layer-2 input[type=number]").input_value() == "4"
    assert page.locator("#alpha-2 input[type=number]").input_value() == "0.3"
    expect(page.locator("#mode label.selected")).to_have_text("Chat")
    page.click(".invitation button")
    finished(page)
    expect(page.locator(f"{LANES[1]} h2")).to_contain_text("j* = 4")
    page.fill("#prompt textarea", "Mine:")
    choose(page, "Atlas")
    shown(page, "30 layers")
    choose(page, "six-layers")
    shown(page, "6 layers")
    assert prompt_of(page) == "Mine:", "a link counts once"


def test_a_link_to_a_model_that_is_not_here_says_so_and_keeps_its_settings(page, server):
    page.goto(f"{server.url}?prompt=x&j=7&a=0.3&new=5&model=owner%2Fother")
    expect(page.locator(".invitation")).to_contain_text("shared from the model owner/other")
    assert page.locator("#layer-2 input[type=number]").input_value() == "7"
    shown(page, "30 layers")
