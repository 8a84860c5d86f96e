"""An image before the prompt: chosen, pasted, dropped and taken away again; what the page shows of it, and keeps."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.driving import arrive, as_tokens, compare, finished
from tests.browser.test_models import choose, shown
from tests.dola_core.models.images.families import picture, save
from tests.server import Server, serve


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page keeps its temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[Server]:
    """A model that reads images, beside one that reads none."""
    folder = save("smolvlm", tmp_path_factory.mktemp("models") / "seeing")
    how = {"DOLA_MODEL": "", "GRADIO_TEMP_DIR": str(temporary)}
    with serve("--model", str(folder), "--model", "atlas-30l", **how) as page:
        yield page


@pytest.fixture
def server(seeing: Server) -> Server:
    """Instead of the page with one model."""
    return seeing


def png(seed: int = 1, size: tuple[int, int] = (40, 28)) -> bytes:
    file = BytesIO()
    picture(seed, size).save(file, "PNG")
    return file.getvalue()


def put(page: Page, content: bytes, name: str = "cat.png", kind: str = "image/png") -> None:
    """Choose a file as the image."""
    page.locator("#image input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})


def run(page: Page, prompt: str = "What is this?") -> None:
    compare(page, prompt)
    finished(page)


def thumbnail(page: Page) -> str:
    return page.locator(".duet-strips img.image").first.get_attribute("src")


def test_a_run_sees_the_image_and_a_third_lane_does_not(page):
    expect(page.locator("#image .add")).to_be_visible()
    put(page, png())
    expect(page.locator("#image .picture img")).to_be_visible()
    page.click("#image .without")
    expect(page.locator(".duet-pane")).to_have_count(3)
    page.click("#image .without")
    run(page)
    expect(page.locator(".duet-pane")).to_have_count(3)
    assert thumbnail(page).startswith("data:image/jpeg;base64,/9j/")
    third = page.locator(".lane").nth(2)
    expect(third).to_contain_text("without the image")
    as_tokens(page)
    expect(page.locator(".fold:has(img)").first).to_contain_text("image, 19 tokens")
    page.locator(".lane").first.locator(".t[data-index]").first.click()
    expect(page.locator(".duet-sentence", has_text="without the image").first).to_be_visible()
    first = thumbnail(page)
    put(page, png(2))
    run(page, "What is it now?")
    assert thumbnail(page) != first
    page.click("#image .drop")
    expect(page.locator("#image .add")).to_be_visible()
    compare(page, "What is gone?")
    expect(page.locator(".duet-notice", has_text="needs an image before the prompt")).to_be_visible()
    page.click("#remove-lane")
    run(page, "What is gone?")
    assert page.locator(".duet-strips img.image").count() == 0


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_no_violation_and_the_keyboard_is_enough(page, server, width, theme):
    page.set_viewport_size({"width": width, "height": 900})
    arrive(page, f"{server.url}?__theme={theme}&lang=zh")
    assert Axe().run(page).violations_count == 0
    put(page, png())
    expect(page.locator("#image .picture img")).to_be_visible()
    page.locator("#image .without").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".duet-pane")).to_have_count(3)
    run(page)
    as_tokens(page)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.locator("#image .drop").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#image .add")).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_run_goes_on_from_a_step_with_the_image_alone(page):
    put(page, png())
    run(page)
    page.locator(".lane").first.locator(".t[data-index]").nth(3).click()
    page.click("#run-on")
    expect(page.locator(".duet-crumbs")).to_be_visible()
    finished(page)
    page.click("#image .drop")
    page.locator(".lane").first.locator(".t[data-index]").nth(2).click()
    page.click("#run-on")
    expect(page.locator(".duet-notice", has_text="choose the same image again")).to_be_visible()


def test_it_can_be_pasted_and_dropped(page):
    file = """async (bytes) => new File([new Uint8Array(bytes)], 'cat.png', {type: 'image/png'})"""
    for event in ("paste", "drop"):
        page.evaluate(
            f"""async ([bytes, name]) => {{
                const file = await ({file})(bytes);
                const data = new DataTransfer();
                data.items.add(file);
                const how = {{bubbles: true, cancelable: true}};
                const event = name === 'paste'
                    ? new ClipboardEvent('paste', {{...how, clipboardData: data}})
                    : new DragEvent('drop', {{...how, dataTransfer: data}});
                document.querySelector('#prompt textarea').dispatchEvent(event);
            }}""",
            [list(png()), event],
        )
        expect(page.locator("#image .picture img")).to_be_visible()
        page.click("#image .drop")


def test_what_is_no_image_is_said_at_once_and_replaces_nothing(page):
    put(page, png())
    expect(page.locator("#image .picture img")).to_be_visible()
    before = page.locator("#image .picture img").get_attribute("src")
    put(page, b"<html>not an image</html>")
    expect(page.locator("#image .said")).to_have_text("This is no image that can be read.")
    put(page, b'<svg xmlns="http://www.w3.org/2000/svg"/>', "cat.svg", "image/svg+xml")
    expect(page.locator("#image .said")).to_have_text("This is no image that can be read.")
    put(page, png() + b"\0" * 8_000_000)
    expect(page.locator("#image .said")).to_have_text("The image has more than 8 MB; make it smaller.")
    assert page.locator("#image .picture img").get_attribute("src") == before


def test_an_image_that_the_browser_reads_and_the_server_does_not_ends_in_a_sentence(page):
    frames, file = [picture(seed, (20, 20)) for seed in range(3)], BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    put(page, file.getvalue(), "cat.gif", "image/gif")
    expect(page.locator("#image .picture img")).to_be_visible()
    compare(page, "What is this?")
    expect(page.locator(".duet-notice", has_text="The image moves; give one that stands still")).to_be_visible()
    expect(page.locator("#compare")).to_be_visible()


def test_what_was_asked_for_last_counts(page):
    large = png(3, (1500, 1500))
    put(page, large, "large.png")
    put(page, png(4), "small.png")
    page.wait_for_timeout(3000)
    assert page.locator("#image .picture img").evaluate("img => img.naturalWidth") == 40
    put(page, large, "large.png")
    page.click("#image .drop")
    page.wait_for_timeout(3000)
    expect(page.locator("#image .add")).to_be_visible()


def test_the_small_picture_can_be_left_out(page, tmp_path):
    put(page, png())
    page.click("#image .keep")
    expect(page.locator("#image .keep")).to_have_text("small picture: not kept")
    run(page)
    expect(page.locator(".duet-strips .image").first).to_contain_text("image, 40 × 28")
    assert page.locator(".duet-strips img.image").count() == 0


def test_text_that_comes_with_a_picture_is_pasted_as_text(page):
    taken = page.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], 'cell.png', {type: 'image/png'}));
            data.setData('text/plain', 'a cell');
            const event = new ClipboardEvent('paste', {bubbles: true, cancelable: true, clipboardData: data});
            document.querySelector('#prompt textarea').dispatchEvent(event);
            return event.defaultPrevented;
        }""",
        list(png()),
    )
    assert not taken
    expect(page.locator("#image .add")).to_be_visible()


def test_the_field_follows_the_model_and_keeps_the_image(page):
    put(page, png())
    expect(page.locator("#image .picture img")).to_be_visible()
    choose(page, "Atlas-30L")
    shown(page, "30 layers")
    expect(page.locator("#image .picture img")).to_be_hidden()
    run(page, "The capital of Australia is")
    assert page.locator(".duet-strips img.image").count() == 0
    choose(page, "seeing")
    expect(page.locator("#image .picture img")).to_be_visible()
    page.click("#language label:has-text('中文')")
    expect(page.locator("#image .without")).to_have_text("＋ 不看图片")
    expect(page.locator("#image .picture img")).to_be_visible()


def test_a_link_says_that_it_does_not_hold_the_image(page, server):
    put(page, png())
    run(page)
    page.click("#link")
    expect(page.locator(".duet-outbox")).to_contain_text("it does not hold the image")
    link = page.locator(".duet-outbox input").input_value()
    assert len(link) < 500
    page.goto(link)
    expect(page.locator(".duet-strips")).to_contain_text("There was an image before the prompt")
    put(page, png())
    compare(page)
    finished(page)
    expect(page.locator(".duet-notice", has_text="same text").first).to_be_visible()


def test_a_saved_trace_shows_its_image_again_and_nothing_lies_on_the_disk(page, temporary, tmp_path):
    put(page, png())
    run(page)
    before = thumbnail(page)
    page.click("#save summary")
    with page.expect_download() as download:
        page.locator("#save .items button").first.click()
    saved = tmp_path / "trace.json"
    download.value.save_as(saved)
    document = json.loads(saved.read_text())
    assert [*document["images"][0]] == ["sha256", "width", "height", "thumbnail"]
    page.reload()
    page.wait_for_selector(".duet-inbox[lang]")
    page.locator("#inbox input[type=file]").set_input_files(saved)
    expect(page.locator(".duet-strips img.image").first).to_be_visible()
    assert thumbnail(page) == before
    held = [file.read_bytes()[:8] for file in temporary.rglob("*") if file.is_file()]
    assert not [begin for begin in held if begin.startswith((b"\x89PNG", b"\xff\xd8", b"GIF8", b"RIFF"))]
