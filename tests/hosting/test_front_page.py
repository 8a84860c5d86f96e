"""What the address of the page answers: its first paint, and what it is called where it is shared."""

import gzip
import re

import pytest

from app.language import language
from app.server.front_page import social_tags
from app.ui.components import PREVIEW


def page_of(target, query: str = "", **headers: str) -> str:
    answer = target.http.get(f"/{query}", headers={"accept-encoding": "identity", **headers})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)
    return answer.text


def tags_of(page: str) -> dict[str, list[str]]:
    """{name of a social tag: all that the page gives it}"""
    found: dict[str, list[str]] = {}
    for name, content in re.findall(r'<meta\s+(?:property|name)="((?:og|twitter):\w+)"\s+content="([^"]*)"', page):
        found.setdefault(name, []).append(content)
    return found


def test_a_shared_address_shows_this_page_and_not_the_tool_that_it_is_made_with(target):
    tags = tags_of(page_of(target))
    assert tags["og:title"] == tags["twitter:title"] == ["DoLa Duet"]
    assert tags["og:description"][0].startswith("Same model, two ways to pick the next word.")
    assert not any("Gradio" in value or "gradio.app" in value for values in tags.values() for value in values)
    (image,) = tags["og:image"]
    picture = target.http.get(image)
    assert picture.headers["content-type"] == "image/png"
    assert image.endswith(PREVIEW)


@pytest.mark.parametrize(
    ("query", "accepted", "code"), [("", "en-GB", "en"), ("", "zh-CN", "zh"), ("?lang=zh", "", "zh")]
)
def test_the_first_paint_is_in_the_visitors_language(target, query, accepted, code):
    page = page_of(target, query, **{"accept-language": accepted})
    first = page[page.index('<div id="duet-first">') :]
    assert language(code)("page.lead") in first
    assert tags_of(page)["og:description"][0].startswith(language(code)("page.lead"))


def test_the_page_comes_packed_where_the_browser_can_unpack_it(target):
    with target.http.stream("GET", "/", headers={"accept-encoding": "br, gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) == len(raw)
        assert "accept-encoding" in answer.headers["vary"].lower()
    unpacked = gzip.decompress(raw).decode("utf-8")
    assert '<div id="duet-first">' in unpacked
    assert len(raw) < len(unpacked) / 4


@pytest.mark.parametrize("query", ["?prompt=x", "?j=5", "?hash=abc&prompt=", "?lanes=plain", "?anything=1"])
def test_where_a_link_asks_for_something_nothing_else_is_painted(target, query):
    assert '<div id="duet-first">' not in page_of(target, query)


@pytest.mark.parametrize("query", ["?__theme=dark", "?lang=en", "?logs=container", "?lang=<script>"])
def test_what_says_nothing_of_a_comparison_leaves_it_there(target, query):
    page = page_of(target, query)
    assert page.count('<div id="duet-first">') == 1
    assert "<script>>" not in page


def test_a_host_that_is_markup_stays_text(target):
    page = target.http.get("/", headers={"host": 'x"><script>alert(1)</script>'}).text
    assert "<script>alert(1)</script>" not in page


def test_tags_escape_what_they_are_given():
    assert '"><' not in social_tags('a"><b', 'c"><d', 'e"><f')
    assert "image" not in social_tags("a", "b", "")


def test_other_addresses_are_not_touched(target):
    for path in ("/config", "/gradio_api/info", "/theme.css"):
        assert "duet-first" not in target.http.get(path).text.split("css")[0]
    assert target.http.head("/").status_code in (200, 405)


def test_events_of_the_page_note_no_progress_and_the_first_answer_is_small(target):
    private = [event for event in target.events.values() if event["api_visibility"] == "private"]
    assert len(private) > 30
    assert {str(event["show_progress_on"]) for event in private} == {"[]"}
    arrival = next(event for event in private if any(how == "load" for _, how in event["targets"]))
    assert len(arrival["outputs"]) <= 2, "each place for an output costs the browser time"
