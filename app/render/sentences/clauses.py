"""Clauses about the tokens of a step: which rose further, and which one a lane scores above another."""

from app.render.inspection import Inspection
from app.render.sentences.numbers import is_end, lead, rise
from app.render.sentences.writing import times
from dola_core.display import cut
from dola_core.trace.schema import Trace
from dola_core.trace.token_text import BYTES, token

SAME = 0.05
"""Nats: what differs by less is alike, to the decimal that is written."""


def named(inspection: Inspection, token_id: int, *beside: int) -> str:
    """A token in quotes, without the space that most begin with; white space that would not be seen is marked,
    and `…` stands for bytes that are no whole character.

    With all its marks if it would look like one of those `beside` it. The end of the text is called so.
    """
    trace = inspection.trace
    if is_end(trace, token_id):
        return inspection.words("sentence.end")
    text = _plain(trace, token_id)
    alike = any(_plain(trace, other) == text for other in beside if other != token_id)
    return f"“{token(trace, token_id) if alike else text}”"


def _plain(trace: Trace, token_id: int) -> str:
    text = trace.pieces.get(token_id, f"#{token_id}").removeprefix(" ")
    if BYTES.fullmatch(text):
        return "…"
    seen = text and text == text.strip() and text.isprintable()
    return cut(text) if seen else token(trace, token_id)


def layer_name(inspection: Inspection) -> str:
    """The one layer that the explained lane contrasts with, in words; for one that it chose here, that too."""
    layer = inspection.contrast_layer(inspection.focus, inspection.step)
    key = "sentence.chosen_layer" if inspection.focus_lane.chooses_layer else "sentence.layer"
    return inspection.words(key, layer=layer)


def rose_most(inspection: Inspection, token_id: int) -> str:
    """That a token which all choose also rose most among the plausible ones, or fell least."""
    key = "sentence.most" if (rise(inspection, token_id) or 0) >= 0 else "sentence.least"
    return inspection.words(key, layer=layer_name(inspection))


def rose_more(inspection: Inspection, token_id: int, other: int) -> str:
    """Which of two tokens rose further since the explained lane's layer, and by what factor; empty if not known."""
    first, second = rise(inspection, token_id), rise(inspection, other)
    if first is None or second is None:
        return ""
    if first < second:
        return rose_more(inspection, other, token_id)
    names = {"token": named(inspection, token_id, other), "other": named(inspection, other, token_id)}
    factor = times(inspection.words, first - second)
    if first - second <= SAME:
        key = "sentence.alike"
    else:
        key = "sentence.rose" if second >= 0 else "sentence.parted" if first >= 0 else "sentence.fell"
    return inspection.words(key, layer=layer_name(inspection), **names, times=factor)


def put_ahead(inspection: Inspection, token_id: int, other: int) -> str:
    """By what factor the explained lane scores one of two tokens above the other; empty if not known, or alike."""
    nats = lead(inspection, token_id, other)
    if nats is None or abs(nats) <= SAME:
        return ""
    if nats < 0:
        return put_ahead(inspection, other, token_id)
    names = {"token": named(inspection, token_id, other), "other": named(inspection, other, token_id)}
    return inspection.words("sentence.ahead", **names, times=times(inspection.words, nats))
