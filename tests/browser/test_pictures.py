"""Each chart saves itself as a picture, with everything that the page writes beside it."""

import re
import struct
from html import unescape

import pytest
from playwright.sync_api import expect

from tests.browser.driving import compare, drawn, finished

PROMPT = "The capital of Australia <b>is & was"
CHARTS = ("plausible-head", "layers", "map")


@pytest.fixture
def ran(page):
    """A page that shows a run of its own."""
    compare(page, PROMPT)
    finished(page)
    for chart in CHARTS:
        drawn(page, f"#{chart}")
    return page


def picture(page, chart: str, kind: str, folder) -> tuple[str, bytes]:
    """The name and the content of the picture that a chart saves."""
    page.click(f"#{chart} .picture summary")
    with page.expect_download() as download:
        page.locator(f"#{chart} .picture button", has_text=kind).click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file.name, file.read_bytes()


@pytest.mark.parametrize("chart", CHARTS)
def test_a_picture_has_title_key_and_settings(ran, chart, tmp_path):
    title, sub = (ran.locator(f"#{chart} {part}").first.inner_text() for part in ("h3", ".sub"))
    keys = ran.locator(f"#{chart} .key li").all_inner_texts()
    headers = ran.locator("#texts .lane h2 span").all_inner_texts()
    name, svg = picture(ran, chart, "SVG", tmp_path)
    said = " ".join(unescape(re.sub(r"<[^>]+>", " ", svg.decode())).split())
    for text in (title, sub, *keys, PROMPT, "step 1 of", "DoLa-static", "α ="):
        assert all(word in said for word in text.split()), (text, said)
    assert headers
    assert re.fullmatch(r"dola-duet-[\w-]+\.svg", name)
    name, png = picture(ran, chart, "PNG", tmp_path)
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    plot = ran.locator(f"#{chart} .plot").bounding_box()
    assert width == pytest.approx(2 * plot["width"], abs=2), "twice the page's pixels"
    assert height > 2 * plot["height"]
    assert name.endswith(".png")


def test_the_menu_works_by_keys_and_closes(ran):
    menu = ran.locator("#layers .picture .menu")
    handle = ran.locator("#layers .picture summary")
    expect(handle).to_have_attribute("aria-label", re.compile("^save this chart: "))
    handle.focus()
    ran.keyboard.press("Enter")
    expect(menu).to_be_visible()
    ran.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    handle.focus()
    ran.keyboard.press("Enter")
    ran.locator("#plausible-head .picture summary").focus()
    expect(menu).to_be_hidden()
