"""The page before its scripts have loaded: what it is, and the texts and the sentence of the recorded run, as HTML.

Everything that is written into it is escaped. The scripts take it away when they have drawn the page itself.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from app.render.inspection import Inspection
from app.render.sentences import step_sentence, why_sentence
from app.render.token_strips import token_strips

# Gradio learns of the theme when its scripts have loaded.
THEME = """<script>(first => {
  const asked = new URLSearchParams(location.search).get("__theme");
  const dark = asked ? asked === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  first.classList.toggle("dark", dark);
})(document.getElementById("duet-first"))</script>"""


def first_paint(inspection: Inspection, lead: Mapping[str, str]) -> str:
    """The parts of the page that are read first; `lead` has a `title` and a `text`."""
    strips = token_strips(inspection, label=inspection.words("strips.recorded"))
    own = strips["prompt"][slice(*strips["own"])]
    prompt = strips["chip"] or "".join(piece["plain"] for piece in own)
    lanes = "".join(_lane(lane, prompt, number, strips) for number, lane in enumerate(strips["lanes"]))
    return (
        '<div id="duet-first"><div class="frame"><h1>Do<b>La</b> <i>Duet</i></h1>'
        f'<div class="duet-lead"><p class="title">{escape(lead["title"])}</p><p>{escape(lead["text"])}</p></div>'
        f'<p class="asked">{escape(inspection.trace.prompt)}</p>'
        f'<div class="duet-strips">{lanes}</div>'
        f'<div class="duet-say"><p class="duet-sentence">{_sentence(step_sentence(inspection))}</p></div>'
        f'<div class="duet-why"><p class="duet-sentence">{_sentence(why_sentence(inspection))}</p></div>'
        f"</div></div>{THEME}"
    )


def _lane(lane: Mapping[str, Any], prompt: str, number: int, strips: Mapping[str, Any]) -> str:
    before = "" if strips["chip"] and number else f'<span class="p">{escape(prompt)}</span>'
    label = "" if number else f'<span class="tag">{escape(strips["label"])}</span>'
    return (
        f'<section class="lane {lane["side"]}"><h2><b>{escape(lane["name"])}</b>{label}'
        f"<span>{escape(lane['subtitle'])}</span></h2>"
        f'<div class="strip text">{before}{_text(lane["tokens"], strips["words"])}</div></section>'
    )


def _text(tokens: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> str:
    """Running text with the choices underlined that differ."""
    parts = []
    for token in tokens:
        text = f" {words['stops']}" if token.get("stops") else token["plain"]
        parts.append(f'<span class="t d">{escape(text)}</span>' if token["differs"] else escape(text))
    return "".join(parts).replace("\n\n", "\n")


def _sentence(parts: Sequence[Mapping[str, str]]) -> str:
    return "".join(
        f'<span class="voice {part["side"]}">{escape(part["text"])}</span>' if part["side"] else escape(part["text"])
        for part in parts
    )
