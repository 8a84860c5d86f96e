"""The grey line under the headline: what stands behind the choice at the step looked at."""

import math
from collections.abc import Iterator

from app.render.inspection import Inspection
from app.render.sentences.clauses import layer_name, named, put_ahead, rose_more
from app.render.sentences.numbers import early, weighed
from app.render.sentences.step import reason
from app.render.sentences.writing import TAIL, Part, capital, chance, joined, percent, say, with_settings
from dola_core.lanes import lane_text

ROUNDING = 1e-6
"""What float32 adds to an α of two decimals, in hundredths."""


def why_sentence(inspection: Inspection) -> list[Part]:
    """What stands behind the choice: the cut, what the early layer said, strength, penalty, dice, and the run."""
    sentences = [*_behind(inspection), *_penalty(inspection), *_dice(inspection), *_run(inspection)]
    sentences += _beams(inspection)
    return say(joined(inspection.words, sentences)) if sentences else []


def _behind(inspection: Inspection) -> Iterator[str]:
    """The explained lane's cut, its early layer's opinion, and what its strength makes of both."""
    words, lane, head = inspection.words, inspection.focus_lane, inspection.plausible_head
    if not lane.reads:
        return
    if not head.complete:
        exact = inspection.focus_step.exact_alpha
        key = "sentence.more_plausible" if exact <= 1 else "sentence.no_what_if"
        yield words(key, alpha=f"{min(1.0, math.ceil(100 * exact - ROUNDING) / 100):g}")
    else:
        key = "sentence.one_plausible" if head.size == 1 else "sentence.plausible_head"
        yield words(key, n=head.size, p=percent(words, head.mass))
        if head.size == 1:
            return
    pair, layer = weighed(inspection), inspection.contrast_layer(inspection.focus, inspection.step)
    beta = getattr(lane, "beta", 1.0)
    if beta == 0:
        yield words("sentence.no_strength")
        return
    if layer is not None:
        yield from _early(inspection, pair or (inspection.choices[inspection.focus],))
    if pair and not reason(inspection) and (rose := rose_more(inspection, *pair)):
        yield capital(rose) + words("sentence.stop")
    if pair and beta != 1 and (ahead := put_ahead(inspection, *pair)):
        yield words("sentence.strength", beta=f"{beta:g}", ahead=ahead)


def _early(inspection: Inspection, tokens: tuple[int, ...]) -> Iterator[str]:
    """How probable the early layer found the tokens, with a warning where that is noise."""
    words = inspection.words
    known = {one: log_q for one in tokens if (log_q := early(inspection, one)) is not None}
    if len(known) < len(tokens):
        return
    (first, most), *others = sorted(known.items(), key=lambda item: -item[1])
    said = {"layer": layer_name(inspection), "token": named(inspection, first, *tokens), "p": chance(words, most)}
    if not others:
        text = words("sentence.gave", **said)
    elif most < TAIL:
        text = words("sentence.gave_both", **said)
    else:
        (second, least), *_ = others
        text = words("sentence.gave_two", **said, other=named(inspection, second, *tokens), r=chance(words, least))
    yield capital(text) + words("sentence.tail" if min(known.values()) < TAIL else "sentence.stop")


def _penalty(inspection: Inspection) -> Iterator[str]:
    """That a repetition penalty lowers another lane's choice, where two lanes have different ones."""
    trace, first, second = inspection.trace, inspection.focus, inspection.reference
    penalties = {lane: inspection.lane(lane).decoding(trace.decoding).repetition_penalty for lane in (first, second)}
    lane, other = sorted(penalties, key=lambda number: -penalties[number])
    step, chosen = inspection.read_for(inspection.step, lane), inspection.choices[other]
    seen = chosen in step.tokens[step.seen].tolist()
    if seen and penalties[lane] > max(1.0, penalties[other]) and chosen != inspection.choices[lane]:
        yield inspection.words(
            "sentence.lowered",
            token=named(inspection, chosen),
            lane=inspection.names[lane],
            penalty=f"{penalties[lane]:g}",
        )


def _dice(inspection: Inspection) -> Iterator[str]:
    """That lanes which draw different tokens draw with the same dice."""
    if inspection.trace.decoding.samples and len(set(inspection.choices)) > 1:
        yield inspection.words("sentence.both_dice" if len(inspection.shown) == 2 else "sentence.all_dice")


def _run(inspection: Inspection) -> Iterator[str]:
    """What lanes that are now set otherwise picked in the run."""
    trace, words = inspection.trace, inspection.words
    for lane in inspection.shown:
        if inspection.is_as_run(lane):
            continue
        ran, choice = with_settings(trace.lanes[lane], words), inspection.step.choices[lane].id
        if not _known(inspection, lane):
            yield words("sentence.not_told", lane=with_settings(inspection.now[lane], words))
        elif choice == inspection.choices[lane]:
            yield words("sentence.ran_same", lane=ran)
        else:
            yield words("sentence.ran_other", lane=ran, token=named(inspection, choice, inspection.choices[lane]))


def _known(inspection: Inspection, lane: int) -> bool:
    """Whether the trace tells what a lane would choose at this step, as it is set now."""
    now, step = inspection.now[lane], inspection.read_for(inspection.step, lane)
    ran = lane_text(now) in map(lane_text, inspection.trace.lanes)
    return ran or (inspection.is_told(lane) and now.least_share >= step.exact_alpha)


def _beams(inspection: Inspection) -> Iterator[str]:
    """Beams that go on with another token than the lane would choose without its other beams."""
    step = inspection.step
    for lane, taken in zip(step.lanes, step.taken, strict=True):
        if lane in inspection.shown and taken != step.choices[lane].id:
            yield inspection.words("sentence.beam", lane=inspection.names[lane], token=named(inspection, taken))
