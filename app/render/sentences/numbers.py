"""What the sentences about a step are about: who chooses which token, how probable it is, and how far it rose."""

import math

import numpy as np

from app.render.inspection import Inspection
from dola_core.lanes import lane_text
from dola_core.trace.schema import Trace


def groups(inspection: Inspection) -> list[list[int]]:
    """The lanes by the token that they choose at the step looked at.

    The group of the lane that the charts compare with is first; that of the lane they explain is last, if it is
    another. Within a group these two lanes are first.
    """
    chosen, first, last = inspection.choices, inspection.reference, inspection.focus
    lanes = dict.fromkeys([first, last, *inspection.shown])
    tokens = dict.fromkeys([chosen[first], *(one for one in chosen if one != chosen[last]), chosen[last]])
    return [[lane for lane in lanes if chosen[lane] == one] for one in tokens]


def probability(inspection: Inspection, lane: int) -> float | None:
    """The last layer's probability of what a lane chooses, as it reads that layer; None where that is not recorded."""
    trace, now, chosen = inspection.trace, inspection.lane(lane), inspection.choices[lane]
    if now.reading(trace.decoding) in trace.readings:
        step = inspection.read_for(inspection.step, lane)
        place = place_of(step.tokens, chosen)
        return None if place is None else math.exp(min(0.0, step.log_q_table[place, -1]))
    ran = zip(trace.lanes, inspection.step.choices, strict=True)
    alike = (choice.p for one, choice in ran if lane_text(one) == lane_text(now) and choice.id == chosen)
    return next(alike, None) if not now.reads else None


def early(inspection: Inspection, token_id: int) -> float | None:
    """`log q_j(x)` of the one layer that the explained lane contrasts with; None if there is none, or no number."""
    step, layer = inspection.focus_step, inspection.contrast_layer(inspection.focus, inspection.step)
    place = place_of(step.tokens, token_id)
    if layer is None or place is None:
        return None
    if layer:
        return float(step.log_q_table[place, layer - 1])
    return float(step.embedding_log_q[place]) if place < len(step.embedding_log_q) else None


def rise(inspection: Inspection, token_id: int) -> float | None:
    """`log q_N(x) − log q_j(x)` of the same layer."""
    place, before = place_of(inspection.focus_step.tokens, token_id), early(inspection, token_id)
    return None if place is None or before is None else float(inspection.focus_step.log_q_table[place, -1]) - before


def lead(inspection: Inspection, token_id: int, other: int) -> float | None:
    """By how many nats the explained lane scores a token above another; None where a score is not known."""
    head = inspection.plausible_head
    places = [place_of(head.tokens, one) for one in (token_id, other)]
    if None in places:
        return None
    difference = float(head.F[places[0]] - head.F[places[1]])
    return difference if math.isfinite(difference) else None


def is_cut(inspection: Inspection, token_id: int) -> bool:
    """Whether a token is known to be too improbable for the explained lane."""
    head = inspection.plausible_head
    place = place_of(head.tokens, token_id)
    return place is not None and bool(head.q_N[place] < head.threshold)


def top_riser(inspection: Inspection) -> int | None:
    """The plausible token that rose most since the explained lane's layer; None if that is not known."""
    head = inspection.plausible_head
    rises = {int(one): rise(inspection, int(one)) for one in head.tokens[head.kept]} if head.complete else {}
    known = {one: value for one, value in rises.items() if value is not None}
    return max(known, key=lambda one: known[one], default=None)


def place_of(tokens: np.ndarray, token_id: int) -> int | None:
    """Where a step recorded a token, if it did."""
    places = np.flatnonzero(tokens == token_id)
    return int(places[0]) if len(places) else None


def must_agree(inspection: Inspection) -> bool:
    """Whether the lanes could not choose otherwise, since one token is plausible for all of them.

    It is the most probable one, which a plain lane with the same penalty takes, too, unless it draws.
    """
    decoding, focus = inspection.trace.decoding, inspection.focus_lane
    lanes = [inspection.lane(number) for number in inspection.shown]
    return not decoding.samples and all(
        lane.reading(decoding).penalty == focus.reading(decoding).penalty
        and (not lane.reads or lane.least_share >= focus.least_share)
        for lane in lanes
    )


def is_end(trace: Trace, token_id: int) -> bool:
    """Whether a token ended a text of the trace."""
    ids = [trace.lane_ids(lane) for lane, end in enumerate(trace.ends) if end == "eos"]
    return any(written[-1:] == [token_id] for written in ids)


def weighed(inspection: Inspection) -> tuple[int, int] | None:
    """The explained lane's token and the one to weigh it against: the other lane's, or one that rose further.

    None where that was cut, or where there is none.
    """
    x, y = inspection.choices[inspection.focus], inspection.choices[inspection.reference]
    if x == y:
        risen = top_riser(inspection)
        return None if risen is None or risen == x else (x, risen)
    return None if is_cut(inspection, y) else (x, y)


def gained(inspection: Inspection, token_id: int, other: int) -> float:
    """By how many nats a token rose further than another since the explained lane's layer; 0 if not known."""
    first, second = rise(inspection, token_id), rise(inspection, other)
    return 0.0 if first is None or second is None else first - second
