"""The report of a search: whole, safe, and what the result says."""

import re
from html.parser import HTMLParser

import pytest

from dola_core.layer_search.dataset import Item
from dola_core.layer_search.html_report import html_report
from dola_core.layer_search.result import Asked
from dola_core.layer_search.search import layer_search
from dola_core.models.loading import load_model

NASTY = '<img src=x onerror=alert(1)>"&'
ITEMS = [
    Item(prompt=f"The capital of {name} is", answers=(right,), wrong=(wrong, NASTY), domain=f"{domain}{NASTY}")
    for domain in ("a", "b")
    for name, right, wrong in (
        ("Japan", "Tokyo", "Osaka"), ("Pakistan", "Islamabad", "Karachi"), ("Australia", "Canberra", "Sydney"),
    )
    for _ in range(8)
]  # fmt: skip


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.opened, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag != "meta":
            self.opened.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attributes)

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag


@pytest.fixture(scope="module")
def found():
    loaded = load_model(device="cpu", dtype="float32")
    return layer_search(loaded, ITEMS, Asked(strategy="grid", alphas=(0.05, 0.5)), name=NASTY, sha256="ab" * 32)


def test_it_is_one_whole_page_without_script_or_request(found):
    page = html_report(found)
    tags = Tags()
    tags.feed(page)
    assert tags.opened == []
    assert not {"script", "img", "link"} & {*tags.tags}
    assert tags.tags.count("svg") == len(found.curves)
    assert tags.tags.count("polyline") == len(found.curves) * 2
    assert "http" not in page


def test_it_says_what_the_result_says(found):
    text = re.sub(r"<[^>]+>", " ", html_report(found))
    assert f"j* = {found.chosen.layer}, α = {found.chosen.alpha:g}" in text
    assert text.count("the deciding token") == len(found.errors)
    for domain in found.domains:
        assert f"{domain.items:,}" in text
    assert "Interrupted" not in text
    assert "Interrupted" in html_report(found.model_copy(update={"complete": False}))
