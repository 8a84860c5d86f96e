"""A trace in a notebook: whole, safe against markup, and bounded."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.trace.html_view import MAX_LANE, MAX_SHOWN_LANES, MAX_SHOWN_PROMPT, html_view
from dola_core.trace.schema import Trace
from tests.dola_core.tiny import prompt, recorded

MARKUP = st.text(alphabet="<>&\"'/=`{}ab \n\x00\x1b\u202e", max_size=12) | st.sampled_from(
    ["</style>", "<script>", "<!--", "-->", "]]>", "&lt;", "&#60;", '" onload="x', "' x='", "<img src=x onerror=y>"]
)


class Seen(HTMLParser):
    """The tags, attributes and texts of a view."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[tuple[str, str]] = set()
        self.titles: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes |= {(tag, name) for name, _ in attrs}
        self.titles += [value or "" for name, value in attrs if name == "title"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += "" if self.open[-1:] == ["style"] else data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def test_it_shows_every_lanes_text_and_marks_what_differs(trace):
    seen = Seen(html_view(trace))
    for text in ("baseline", "dola", "j* = 22", "length limit"):
        assert text in seen.text
    differing = [
        step for lane in (0, 1) for step in trace.lane_steps(lane) if len({choice.id for choice in step.choices}) > 1
    ]
    assert seen.tags.count("u") == len(differing) > 0
    assert [title.split(" · ")[0] for title in seen.titles] == [f"step {step.index + 1}" for step in differing]


@given(data=st.data())
def test_nothing_that_a_trace_holds_becomes_markup(trace, data):
    usual = Seen(html_view(trace))
    drawn = data.draw(st.fixed_dictionaries(dict.fromkeys(sorted(trace.pieces), MARKUP)))
    lanes = tuple(lane.model_copy(update={"name": data.draw(MARKUP)}) for lane in trace.lanes)
    model = trace.model.model_copy(update={"name": data.draw(MARKUP)})
    hostile = trace.model_copy(update={"pieces": drawn, "lanes": lanes, "model": model, "ends": ("eos", "eos")})
    seen = Seen(html_view(hostile))
    assert (seen.tags, seen.attributes, seen.open) == (usual.tags, usual.attributes, [])
    assert all(c.isprintable() or c == "\n" for c in seen.text + "".join(seen.titles))


def test_it_asks_no_address_and_needs_no_script(trace):
    html = html_view(trace)
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img|\son\w+=", html)
    assert trace._repr_html_() == html


def test_its_styles_reach_nothing_else(trace):
    [style] = re.findall("<style>(.*?)</style>", html_view(trace))
    rules = re.sub(r"@media\([^)]*\)\{(.*?\})\}", r"\1", style)
    selectors = [one for rule in re.findall(r"([^{}]+)\{[^{}]*\}", rules) for one in rule.split(",")]
    assert len(selectors) > 8
    assert all(".dola-trace" in selector for selector in selectors)


@pytest.mark.parametrize("piece", ["<" * 1000, "\u202e" * 1000, "x" * 1000, "\n" * 1000, "<0xE2>"])
def test_its_size_is_bounded_whatever_is_in_a_file(readout, piece):
    lanes = [Baseline(name="&" * 100), *(DolaStatic(name="<" * 100, layer=n) for n in range(1, 12))]
    trace = recorded(readout, prompt(7), lanes, DecodingConfig(max_new_tokens=2))
    steps = [step for step in trace.steps if step.index == 0][:1]
    everyone = tuple(range(len(lanes)))
    first = steps[0].model_copy(update={"lanes": everyone, "taken": (steps[0].taken[0],) * len(lanes)})
    two = first.tokens.tolist()[:2]
    choices = tuple(choice.model_copy(update={"id": two[n % 2]}) for n, choice in enumerate(first.choices))
    first = first.model_copy(update={"choices": choices})
    long: Trace = trace.model_copy(
        update={
            "steps": tuple(first.model_copy(update={"index": n}) for n in range(3000)),
            "pieces": dict.fromkeys(trace.pieces, piece),
            "prompt_ids": trace.prompt_ids * 1000,
        }
    )
    html = html_view(long)
    assert "more tokens" in html
    assert f"{len(lanes) - MAX_SHOWN_LANES} more lanes are not shown." in html
    beside = 6 * MAX_SHOWN_PROMPT + 5_000  # each of its characters may be an entity
    assert len(html) < MAX_SHOWN_LANES * (MAX_LANE + beside) < 700_000


def test_a_trace_without_steps_and_one_that_runs_are_shown(trace):
    empty = trace.model_copy(update={"steps": (), "ends": (None, None)})
    assert Seen(html_view(empty)).text.count("0 tokens: still running") == 2


def test_its_repr_is_one_short_line(trace):
    assert repr(trace).startswith(f"<Trace of {trace.model.name}: ")
    assert len(repr(trace)) < 700
