"""The page before its scripts: what it says is what the trace says, and it is only text."""

import re
from html import unescape

import pytest

from app.language import language
from app.render.first_paint import first_paint
from app.render.sentences import step_sentence, why_sentence
from tests.app.looking import inspecting

LEAD = {"title": "Same model", "text": "Two ways <of> picking & choosing."}


def words_of(html: str) -> str:
    """The text of some HTML, without white space."""
    shown = re.sub(r"<script>[\s\S]*?</script>|<[^>]+>", "", html)
    return "".join(unescape(shown).split())


def test_it_holds_the_lead_the_prompt_both_texts_and_the_sentence(forked):
    inspection = inspecting(forked)
    shown = words_of(first_paint(inspection, LEAD))
    said = [part["text"] for part in (*step_sentence(inspection), *why_sentence(inspection))]
    for text in (*LEAD.values(), forked.prompt, "".join(said)):
        assert "".join(text.split()) in shown
    for lane in (0, 1):
        pieces = [forked.pieces[token] for token in forked.lane_ids(lane)]
        pieces = pieces[:-1] if forked.ends[lane] == "eos" else pieces
        assert "".join("".join(pieces).split()) in shown


def test_what_differs_is_underlined(forked):
    inspection = inspecting(forked)
    underlined = sum(map(len, inspection.differing))
    assert first_paint(inspection, LEAD).count('class="t d"') == underlined > 0


@pytest.mark.parametrize("nasty", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "${x}{{y}} & <b>"])
def test_whatever_a_trace_holds_is_only_text(forked, nasty):
    trace = forked.model_copy(
        update={
            "pieces": dict.fromkeys(forked.pieces, nasty),
            "prompt": nasty,
            "lanes": tuple(lane.model_copy(update={"name": nasty}) for lane in forked.lanes),
        }
    )
    html = first_paint(inspecting(trace), LEAD)
    assert nasty not in html
    assert html.count("<script>") == 1, "our own"
    assert "<img" not in html
    assert "".join(nasty.split()) in words_of(html)


def test_it_speaks_the_language_of_the_visitor(forked):
    words = language("zh")
    assert "".join(words("strips.recorded").split()) in words_of(first_paint(inspecting(forked, words=words), LEAD))
