"""The drawn steps of the guide: how one word of the shown run was chosen, as plain data.

First what the last layer proposes, then how far each token rose since the contrasted layer, then the cut and who picks
what. The browser draws each step as a card with bars.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from app.language import ENGLISH, Language
from app.render.figures.style import is_penalised, norm, small_number, times
from app.render.inspection import Inspection
from app.render.plausible_head import PlausibleHead
from app.render.sentences import Part, say, step_sentence
from app.render.sentences.clauses import named, put_ahead, rose_more
from app.render.sentences.numbers import early, place_of, rise
from app.render.sentences.writing import TAIL, capital, close, joined, part, percent
from app.ui.palette import SIDES
from dola_core.display import LANE_MARKS
from dola_core.lanes import DolaDynamic, DolaStatic
from dola_core.trace.token_text import own_part, running_text, token

ROWS = 5
"""Tokens in a step."""
CONTEXT = 70
"""Characters of the text before the word that are shown."""
LITTLE, CLEAR = 1.5, 5.0
"""How many times as probable as the second the first token is: up to these by a little, or clearly."""


def guide_steps(inspection: Inspection | None, words: Language = ENGLISH) -> dict[str, Any]:
    """The three steps of a word at which the lanes of the shown run differ.

    Without a run, or with none that contrasts one layer, a sentence says what to do; `words` is its language without a
    run.
    """
    if inspection is None:
        return {"title": words("guide.title"), "empty": words("guide.nothing")}
    there, words = _differing(inspection), inspection.words
    lane, layer = there.focus_lane, there.contrast_layer(there.focus, there.step)
    if layer is None or not isinstance(lane, DolaStatic | DolaDynamic):
        return {"title": words("guide.title"), "empty": words("guide.no_layer", lane=there.names[there.focus])}
    rows = _shown(there)
    return {
        "title": words("guide.title"),
        "empty": "",
        "where": words("guide.where", step=there.view.index + 1, lane=there.names[there.view.lane]),
        "before": _before(there),
        "options": _options(there),
        "steps": [_proposal(there, rows), _rise(there, rows, layer), _cut(there, rows)],
        "show": {"text": words("guide.show"), "lane": there.view.lane, "step": there.view.index + 1},
    }


def _differing(inspection: Inspection) -> Inspection:
    """The step looked at if choices differ there, else the first of its text at which they do, if there is one."""
    view, differing = inspection.view, inspection.differing[inspection.view.lane]
    if view.index in differing or not differing:
        return inspection
    return inspection.at(replace(view, index=differing[0])) or inspection


def _before(inspection: Inspection) -> str:
    """The end of the text before the word: of the prompt as the visitor wrote it, and of what the lane wrote."""
    trace, view = inspection.trace, inspection.view
    start, end = own_part(trace)
    asked, written = trace.prompt_ids[start:end], trace.lane_ids(view.lane)[: view.index]
    parts = ["".join(piece.plain for piece in running_text(trace, ids)) for ids in (asked, written)]
    text = ("\n" if trace.chat and not trace.begun else "").join(parts)
    return text if len(text) <= CONTEXT else f"…{text[-CONTEXT:]}"


def _options(inspection: Inspection) -> list[Part]:
    """What the compared and the explained lane choose, in their colours; once and in none if it is the same."""
    chosen, lanes = inspection.choices, sorted((inspection.reference, inspection.focus))
    if chosen[lanes[0]] == chosen[lanes[1]]:
        return say(named(inspection, chosen[lanes[0]]))
    return [part(named(inspection, chosen[lane], *chosen), SIDES[lane]) for lane in lanes]


def _shown(inspection: Inspection) -> list[int]:
    """Which entries of the plausible head's arrays have rows: the lanes' choices, and the most probable of the rest."""
    tokens = inspection.plausible_head.tokens
    chosen = dict.fromkeys(inspection.choices[lane] for lane in (inspection.focus, inspection.reference))
    places = [place for one in chosen if (place := place_of(tokens, one)) is not None]
    others = [place for place in range(len(tokens)) if place not in places]
    return sorted([*places, *others[: ROWS - len(places)]])


def _rows(inspection: Inspection, rows: list[int], row: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a step: the token's text, and what `row` says of its place in the plausible head's arrays."""
    tokens = inspection.plausible_head.tokens
    usual = {"value": "", "detail": "", "width": 0.0, "is_cut": False, "marks": []}
    return [usual | {"token": token(inspection.trace, int(tokens[place]))} | row(place) for place in rows]


def _proposal(inspection: Inspection, rows: list[int]) -> dict[str, Any]:
    """What the last layer says: the most probable tokens."""
    words, head = inspection.words, inspection.plausible_head
    first, second = (*np.sort(head.q_N)[::-1][:2], 0.0)[:2]
    lead = math.inf if second <= 0 else first / second
    key = "little" if lead <= LITTLE else "clear" if lead <= CLEAR else "far"
    best = named(inspection, int(head.tokens[head.q_N.argmax()]))
    return {
        "side": SIDES[0],
        "title": words("guide.proposal"),
        "said": say(words(f"guide.proposal_{key}", token=best)),
        "sub": words("guide.proposal_sub"),
        "rows": _rows(
            inspection,
            rows,
            lambda place: {"value": percent(words, float(head.q_N[place])), "width": float(head.q_N[place])},
        ),
        "notes": [words("chart.last_penalised")] if is_penalised(inspection, inspection.focus, "before") else [],
    }


def _rise(inspection: Inspection, rows: list[int], layer: int) -> dict[str, Any]:
    """What the contrasted layer had said of the same tokens, and by what factor each rose since."""
    words, head = inspection.words, inspection.plausible_head
    rises = {place: rise(inspection, int(head.tokens[place])) for place in rows}
    known = {place: nats for place, nats in rises.items() if nats is not None}
    least, most = min([0.0, *known.values()]), max(known.values(), default=0.0)

    def row(place: int) -> dict[str, Any]:
        nats, before = rises[place], early(inspection, int(head.tokens[place]))
        if nats is None or before is None:
            return {"value": words("chart.not_recorded")}
        return {
            "value": f"× {times(nats)}" if nats >= 0 else f"÷ {times(-nats)}",
            "detail": f"{_share(words, before)} → {_share(words, before + nats)}",
            "width": (nats - least) / (most - least) if most > least else 1.0,
        }

    return {
        "side": SIDES[inspection.focus],
        "title": words("guide.rise", layer=words("sentence.layer", layer=layer)),
        "said": say(_compared(inspection, known)),
        "sub": words("guide.rise_sub", layer=layer),
        "rows": _rows(inspection, rows, row),
        "notes": list(_rise_notes(inspection, rows)),
    }


def _compared(inspection: Inspection, known: dict[int, float]) -> str:
    """Which token rose further: one lane's choice or the other's; where they agree, it or the best riser beside it."""
    words, tokens = inspection.words, inspection.plausible_head.tokens
    own, other = inspection.choices[inspection.focus], inspection.choices[inspection.reference]
    if own == other:
        rises = {int(tokens[place]): nats for place, nats in known.items() if tokens[place] != own}
        other = max(rises, key=lambda one: rises[one], default=own)
    compared = rose_more(inspection, own, other) if own != other else ""
    sentences = [words("guide.rise_asks")] + ([capital(compared) + words("sentence.stop")] if compared else [])
    return joined(words, sentences)


def _rise_notes(inspection: Inspection, rows: list[int]) -> Iterator[str]:
    """How the layer was read, and that tiny probabilities are noise."""
    words, tokens = inspection.words, inspection.plausible_head.tokens
    if inspection.focus_lane.chooses_layer:
        yield words("guide.chosen_layer")
    yield norm(inspection, inspection.focus)
    before = [early(inspection, int(tokens[place])) for place in rows]
    if any(log_q is not None and log_q < TAIL for log_q in before):
        yield words("chart.unreliable")


def _cut(inspection: Inspection, rows: list[int]) -> dict[str, Any]:
    """Which tokens are too improbable, what the contrast makes of the others, and who picks what."""
    words, head, lane = inspection.words, inspection.plausible_head, inspection.focus_lane
    need = {"share": percent(words, lane.least_share), "alpha": f"{lane.least_share:g}"}
    key = "guide.cut_one" if head.size == 1 else "guide.cut_kept"
    kept = words(key, n=head.size) if head.complete else words("guide.cut_incomplete")
    rule = words("guide.cut_rule", threshold=_share(words, math.log(max(head.threshold, 1e-300))), **need)
    lead = joined(words, [rule, kept, ""])

    def row(place: int) -> dict[str, Any]:
        marks = [
            {"text": f"{LANE_MARKS[n]} {inspection.names[n]}", "side": SIDES[n]}
            for n in inspection.shown
            if inspection.choices[n] == head.tokens[place]
        ]
        if _is_cut(head, place):
            share = _share(words, float(inspection.focus_step.log_q_table[place, -1]))
            return {"value": words("guide.cut_value", p=share), "is_cut": True, "marks": marks}
        if not head.kept[place]:
            return {"value": words("chart.not_recorded"), "marks": marks}
        p = float(head.p_hat[place])
        return {"value": percent(words, p), "width": p, "marks": marks}

    return {
        "side": SIDES[inspection.focus],
        "title": words("guide.cut"),
        "said": [*say(lead), *_picks(inspection)],
        "sub": words("guide.cut_sub"),
        "rows": _rows(inspection, rows, row),
        "notes": list(_cut_notes(inspection, rows)),
    }


def _picks(inspection: Inspection) -> list[Part]:
    """Who picks what, without the reason that stands in the step before already."""
    words, chosen = inspection.words, (inspection.choices[inspection.focus], inspection.choices[inspection.reference])
    rose = rose_more(inspection, *chosen) if chosen[0] != chosen[1] else ""
    again = close(words, words("sentence.because", why=rose)) if rose else ""
    return [part(one["text"].replace(again, ""), one["side"]) for one in step_sentence(inspection)]


def _cut_notes(inspection: Inspection, rows: list[int]) -> Iterator[str]:
    """What the cut prevents, and what strength, a penalty after the contrast, and sampling change of the rule."""
    words, beta, head = inspection.words, getattr(inspection.focus_lane, "beta", 1.0), inspection.plausible_head
    chosen = inspection.choices[inspection.focus], inspection.choices[inspection.reference]
    cut = [int(head.tokens[place]) for place in rows if _is_cut(head, place)]
    known = {one: nats for one in cut if (nats := rise(inspection, one)) is not None}
    own = rise(inspection, chosen[0])
    if known and own is not None and max(known.values()) > own:
        yield words("guide.prevented", token=named(inspection, max(known, key=lambda one: known[one]), *chosen))
    if beta == 0:
        yield words("sentence.no_strength")
    elif beta != 1 and chosen[0] != chosen[1] and (ahead := put_ahead(inspection, *chosen)):
        yield words("sentence.strength", beta=f"{beta:g}", ahead=ahead)
    if is_penalised(inspection, inspection.focus, "after"):
        yield words("guide.penalty_after")
    if inspection.trace.decoding.samples:
        yield words("guide.sampled")


def _is_cut(head: PlausibleHead, place: int) -> bool:
    """Whether a token is known to be too improbable."""
    return not head.kept[place] and (head.complete or bool(head.q_N[place] < head.threshold))


def _share(words: Language, log_q: float) -> str:
    """A probability in per cents, or as a small number below one."""
    q = math.exp(min(0.0, log_q))
    if q < 0.01:
        return small_number(log_q)
    return words("sentence.percent", n=f"{100 * q:.2g}") if q < 0.1 else percent(words, q)
