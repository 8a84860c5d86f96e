"""The headline about the step looked at."""

from collections.abc import Iterator

from app.render.inspection import Inspection
from app.render.sentences.clauses import SAME, named, put_ahead, rose_more, rose_most
from app.render.sentences.numbers import gained, groups, is_cut, is_end, must_agree, probability, top_riser
from app.render.sentences.writing import Part, close, gap, joined, listed, part, percent, say
from app.ui.palette import SIDES


def step_sentence(inspection: Inspection) -> list[Part]:
    """Who picks what at the step looked at, and what made the explained lane pick it; its charts in words."""
    words, found = inspection.words, groups(inspection)
    stop, why = words("sentence.stop"), reason(inspection)
    if len(found) == 1:
        lanes = words("sentence.both" if len(inspection.shown) == 2 else "sentence.all")
        text = _picks(inspection, found[0], lanes, "_many") + why + stop
        return say(joined(words, [text, *_alone(inspection)]))
    parts = []
    for lane, *others in found:
        own, names = _picks(inspection, [lane], inspection.names[lane]), [inspection.names[n] for n in others]
        like = words("sentence.like", lanes=listed(words, names)) if names else ""
        if lane == found[-1][0]:
            parts += [part(own, SIDES[lane]), part(close(words, like + why + stop))]
        elif like:
            parts += [part(own, SIDES[lane]), part(close(words, like + stop + gap(words)))]
        else:
            parts += [part(own + stop, SIDES[lane]), part(gap(words))]
    return [one for one in parts if one["text"]]


def _picks(inspection: Inspection, lanes: list[int], name: str, many: str = "") -> str:
    """`Plain picks “Sydney” (36 %)`; with `_many`, of several lanes. They may read the last layer differently."""
    words, trace, token_id = inspection.words, inspection.trace, inspection.choices[lanes[0]]
    shares = {None if p is None else percent(words, p) for p in (probability(inspection, lane) for lane in lanes)}
    share = shares.pop() if len(shares) == 1 else None
    p = "" if share is None else words("sentence.share", p=share)
    verb = "ends" if is_end(trace, token_id) else "draws" if trace.decoding.samples else "picks"
    if trace.decoding.num_beams > 1:
        verb = "alone_ends" if verb == "ends" else "alone"
    elif lanes[0] not in inspection.step.lanes and not many:
        verb = f"would_{verb}"
    token = named(inspection, token_id, *inspection.choices)
    return close(words, words(f"sentence.{verb}{many}", lane=name, token=token, p=p))


def reason(inspection: Inspection) -> str:
    """What made the explained lane choose what it did, after a colon; empty if the numbers do not tell."""
    words, x, y = inspection.words, inspection.choices[inspection.focus], inspection.choices[inspection.reference]
    lane, layer, why = inspection.focus_lane, inspection.contrast_layer(inspection.focus, inspection.step), ""
    if not lane.reads:
        return ""
    if x == y:
        if len(set(inspection.choices)) == 1 and inspection.plausible_head.size > 1 and top_riser(inspection) == x:
            why = rose_most(inspection, x)
    elif is_cut(inspection, y):
        why = words("sentence.was_cut", token=named(inspection, y, x))
    elif layer is not None and gained(inspection, x, y) > SAME:
        why = rose_more(inspection, x, y)
    elif layer is None and not lane.chooses_layer:
        why = put_ahead(inspection, x, y)
    return words("sentence.because", why=why) if why else ""


def _alone(inspection: Inspection) -> Iterator[str]:
    """That all choose the same because one token alone is plausible."""
    head = inspection.plausible_head
    if not inspection.focus_lane.reads or not head.complete or head.size != 1:
        return
    agree = "sentence.both_must" if len(inspection.shown) == 2 else "sentence.all_must"
    key = agree if must_agree(inspection) else "sentence.only"
    yield inspection.words(key, token=named(inspection, int(head.tokens[head.kept][0])))
