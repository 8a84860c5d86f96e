"""The two token strips: trace → plain data that the browser draws with `textContent`."""

import math
from typing import Any

from app.render.inspection import Inspection
from app.render.token_text import own_part, running_text, token
from dola_core.contrast import LN_2
from dola_core.display import format_number, visible_token
from dola_core.trace.step import Step
from dola_core.trace.what_if import DOLA

SIDES = ("base", "dola")
FOLDED = 3
"""Tokens of a chat template that are folded away; fewer, such as a BOS, are shown."""


def token_strips(inspection: Inspection) -> dict[str, Any]:
    """Both lanes' texts token by token, with ghosts, overlay, the fork, and what the view's (j*, α) would change."""
    view, chosen = inspection.view, inspection.dola_choices
    lanes = [_lane(inspection, lane, chosen[lane], running=False) for lane in range(len(chosen))]
    return _strips(inspection, lanes, selected={"lane": view.lane, "index": view.index})


def running_strips(inspection: Inspection) -> dict[str, Any]:
    """The strips while the texts are still being written: no step is selected, and nothing is a what-if."""
    ran = [[step.choices[DOLA].id for step in steps] for steps in inspection.lane_steps]
    lanes = [_lane(inspection, lane, ran[lane], running=True) for lane in range(len(ran))]
    return _strips(inspection, lanes, selected={"lane": DOLA, "index": -1})


def _strips(inspection: Inspection, lanes: list[dict[str, Any]], *, selected: dict[str, int]) -> dict[str, Any]:
    trace, words = inspection.trace, inspection.words
    return {
        "prompt": [
            {"text": text, "hint": words("strips.prompt_token", id=i)}
            for i, text in zip(trace.prompt_ids, running_text(trace, trace.prompt_ids), strict=True)
        ],
        "folded": _folded(inspection),
        "lanes": lanes,
        "fork": trace.fork,
        "selected": selected,
        "words": words.section("strips"),
        "keys": words.section("keys"),
    }


def _folded(inspection: Inspection) -> list[dict[str, Any]]:
    """The parts of the prompt that are not the visitor's: `from`, `to` (without) and how they are called."""
    count, (start, end) = len(inspection.trace.prompt_ids), own_part(inspection.trace)
    parts = [(first, last) for first, last in ((0, start), (end, count)) if last - first >= FOLDED]
    words = inspection.words
    return [{"from": first, "to": last, "text": words("strips.template", n=last - first)} for first, last in parts]


def _lane(inspection: Inspection, lane: int, chosen: list[int], *, running: bool) -> dict[str, Any]:
    """One lane's strip; `chosen` is what DoLa chooses at every step of its text."""
    trace, steps, words = inspection.trace, inspection.lane_steps[lane], inspection.words
    texts = running_text(trace, trace.lane_ids(lane))
    changes = [lane == DOLA and dola != step.choices[DOLA].id for step, dola in zip(steps, chosen, strict=True)]
    first = changes.index(True) if any(changes) else len(steps)
    tokens = [
        _token(inspection, step, lane, text, dola) | {"changed": changed, "dim": step.index > first}
        for step, text, dola, changed in zip(steps, texts, chosen, changes, strict=True)
    ]
    size = words("strips.one_token") if len(steps) == 1 else words("strips.tokens", n=len(steps))
    return {
        "side": SIDES[lane],
        "name": trace.lanes[lane].name,
        "subtitle": f"{_settings(inspection, lane)} · {size}",
        "tokens": tokens,
        "end": _end(inspection, lane),
        "running": running and trace.ends[lane] is None,
        "text": trace.texts[lane],
    }


def _end(inspection: Inspection, lane: int) -> str | None:
    """Why a lane ended, with the token or the stop string that ended it; None while it runs."""
    trace = inspection.trace
    end, ended_by = trace.ends[lane], trace.ended_by(lane)
    why = inspection.words(f"strips.{end}") if end else None
    return why if ended_by is None else inspection.words("strips.ended_by", why=why, what=visible_token(ended_by))


def _settings(inspection: Inspection, lane: int) -> str:
    """How a lane decoded, in a few words."""
    settings, decoding, words = inspection.trace.lanes[lane], inspection.trace.decoding, inspection.words
    how = words("strips.sampled" if decoding.samples else "strips.greedy")
    if decoding.num_beams > 1:
        how = words("strips.beams", n=decoding.num_beams)
        found = inspection.trace.beams_found
        if found and found[lane] < decoding.num_beams:
            how = words("strips.fewer_beams", n=decoding.num_beams, found=found[lane])
    return " · ".join([*(settings.settings or ["q_N"]), how])


def _token(inspection: Inspection, step: Step, lane: int, text: str, dola: int) -> dict[str, Any]:
    """One token of a strip; `dola` is what DoLa chooses on its prefix."""
    trace, base = inspection.trace, step.choices[0].id
    ghost = None if dola == base else base if lane == DOLA else dola
    again = token(trace, dola) if lane == DOLA and dola != step.choices[DOLA].id else None
    return {
        "text": text,
        "differs": ghost is not None,
        "ghost": None if ghost is None else {"side": SIDES[1 - lane], "text": token(trace, ghost)},
        "again": again,
        "level": _level(inspection, step, lane),
        "hint": _hint(inspection, step, lane, ghost, again),
    }


def _hint(inspection: Inspection, step: Step, lane: int, ghost: int | None, again: str | None) -> str:
    """A token in words: its step and id, the other lane's choice, the overlay's number, and the what-if."""
    trace, view, words, choice = inspection.trace, inspection.view, inspection.words, step.choices[lane]
    other, taken = trace.lanes[1 - lane].name, step.taken[step.lanes.index(lane)]
    says = words("strips.agrees", lane=other)
    if ghost is not None:
        says = words("strips.would_say", lane=other, token=token(trace, ghost))
    p = words("strips.probability", p=format_number(choice.p)) if choice.id == taken else ""
    hint = words("strips.hint", step=step.index + 1, id=taken, probability=p, says=says)
    if view.overlay != "agreement":
        reading = _reading(inspection, step, lane)
        hint += words("strips.reads", quantity=words(f"option.{view.overlay}"), value=reading)
    if again is not None:
        hint += words("strips.again", layer=view.layer, alpha=f"{view.alpha:g}", token=again)
    return hint


def _overlay_value(inspection: Inspection, step: Step, lane: int) -> float:
    """What the overlay shows of a token: a probability, or an entropy or a divergence in nats."""
    match inspection.view.overlay:
        case "agreement":
            return 0
        case "probability":
            return step.choices[lane].p
        case "entropy":
            return step.choices[lane].entropy
        case "JSD":
            return float(step.jsd[inspection.view.layer - 1])


def _level(inspection: Inspection, step: Step, lane: int) -> float:
    """How strongly the overlay tints a token, 0 to 1, on a fixed range that is the same for both lanes."""
    value = _overlay_value(inspection, step, lane)
    match inspection.view.overlay:
        case "entropy":
            return min(1.0, value / math.log(inspection.trace.model.vocab_size))
        case "JSD":
            return min(1.0, value / LN_2)
        case _:
            return value


def _reading(inspection: Inspection, step: Step, lane: int) -> str:
    """The overlay's number with its unit."""
    value = format_number(_overlay_value(inspection, step, lane))
    return value if inspection.view.overlay == "probability" else inspection.words("strips.nats", value=value)
