"""The HTML report of a search: well-formed, safe against markup in names, and complete."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.report.html_report import html_report
from dola_core.layer_search.result import Candidate, ErrorCase
from dola_core.layer_search.search import search_layers
from dola_core.layer_search.search_config import SearchConfig

NASTY = '<img src=x onerror=alert(1)>"&'
ITEMS = [
    Item(prompt=f"The capital of {name} is", answers=(right,), wrong=(wrong, NASTY), domain=f"{domain}{NASTY}")
    for domain in ("a", "b")
    for name, right, wrong in (
        ("Japan", "Tokyo", "Osaka"), ("Pakistan", "Islamabad", "Karachi"), ("Australia", "Canberra", "Sydney"),
    )
    for _ in range(8)
]  # fmt: skip


class TagChecker(HTMLParser):
    """Collects the tags of a page; checks that they are balanced and that no attribute runs code or loads a file."""

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
def result(atlas):
    config = SearchConfig(strategy="grid", alphas=(0.05, 0.5))
    return search_layers(atlas, ITEMS, config, name=NASTY, sha256="ab" * 32)


def test_the_report_is_well_formed_without_scripts_or_requests(result):
    page = html_report(result)
    tags = TagChecker()
    tags.feed(page)
    assert tags.opened == []
    assert not {"script", "img", "link"} & {*tags.tags}
    assert tags.tags.count("svg") == len(result.curves)
    assert tags.tags.count("polyline") == len(result.curves) * 2
    assert "http" not in page


def test_the_report_contains_what_the_result_contains(result):
    text = re.sub(r"<[^>]+>", " ", html_report(result))
    assert f"j* = {result.chosen.layer}, α = {result.chosen.alpha:g}" in text
    assert text.count("the deciding token") == len(result.errors)
    for domain in result.domains:
        assert f"{domain.items:,}" in text
    assert "Interrupted" not in text
    assert "Interrupted" in html_report(result.model_copy(update={"complete": False}))


@pytest.mark.parametrize("long", ["&<" * 5000, "a\n" * 5000, "e" + "\u0301" * 9000], ids=["markup", "lines", "marks"])
def test_no_text_of_a_question_fills_the_report(result, long):
    token = (Candidate(text=long, p=0.5),)
    texts = {"prompt": long, "answers": (long, long), "wrong": long, "common": long, "domain": long}
    case = ErrorCase(item=3, right="dola", q_N=token, q_J=token, **texts)
    domains = tuple(domain.model_copy(update={"name": long}) for domain in result.domains)
    page = html_report(result.model_copy(update={"errors": (case,), "domains": domains}))
    shown = [unescape(text) for text in re.split(r"<[^>]+>", page.partition("</style>")[2])]
    assert max(map(len, shown)) < 2200
    assert "…" in "".join(shown)
    TagChecker().feed(page)
