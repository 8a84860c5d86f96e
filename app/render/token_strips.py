"""The two token strips: trace → plain data that the browser draws with `textContent`."""

import math
from typing import Any

from app.render.token_text import number, running_text, token
from app.render.view_state import View
from dola_core.contrast import LN_2
from dola_core.trace.schema import Step, Trace
from dola_core.trace.what_if import DOLA, rechosen

SIDES = ("base", "dola")


def strips(trace: Trace, view: View, *, running: bool = False) -> dict[str, Any]:
    """Both lanes' texts token by token, with ghosts, overlay, the first fork, and what another (j*, α) would change.

    While the texts are still being written, nothing is selected and nothing is read again.
    """
    words = view.words
    return {
        "prompt": [
            {"text": text, "hint": words("strips.prompt_token", id=i)}
            for i, text in zip(trace.prompt_ids, running_text(trace, trace.prompt_ids), strict=True)
        ],
        "lanes": [_lane(trace, lane, view, running=running) for lane in range(len(trace.lanes))],
        "fork": trace.fork,
        "selected": {"lane": DOLA, "index": -1} if running else {"lane": view.lane, "index": view.index},
        "words": words.section("strips"),
        "keys": words.section("keys"),
    }


def _lane(trace: Trace, lane: int, view: View, *, running: bool) -> dict[str, Any]:
    settings, decoding, words = trace.lanes[lane], trace.decoding, view.words
    how = words("strips.sampled" if decoding.samples else "strips.greedy")
    if decoding.num_beams > 1:
        how = words("strips.beams", n=decoding.num_beams)
    subtitle = f"q_N · {how}" if settings.layer is None else f"j* = {settings.layer} · α = {settings.alpha:g} · {how}"
    steps, texts = trace.lane_steps(lane), running_text(trace, trace.lane_ids(lane))
    ran = [step.choices[DOLA].id for step in steps]
    chosen = ran if running else rechosen(trace, lane, view.layer, view.alpha)
    changes = [lane == DOLA and now != then for now, then in zip(chosen, ran, strict=True)]
    first = changes.index(True) if any(changes) else len(steps)
    tokens = [
        _token(trace, step, lane, text, dola, view) | {"changed": changed, "dim": step.index > first}
        for step, text, dola, changed in zip(steps, texts, chosen, changes, strict=True)
    ]
    end = trace.ends[lane]
    size = words("strips.one_token") if len(steps) == 1 else words("strips.tokens", n=len(steps))
    return {
        "side": SIDES[lane],
        "name": settings.name,
        "subtitle": f"{subtitle} · {size}",
        "tokens": tokens,
        "end": words(f"strips.{end}") if end else None,
        "running": running and end is None,
        "text": trace.texts[lane],
    }


def _token(trace: Trace, step: Step, lane: int, text: str, dola: int, view: View) -> dict[str, Any]:
    """One token; `dola` is what DoLa chooses on its prefix with the view's (j*, α)."""
    other = step.choices[0].id if lane == DOLA else dola
    own = dola if lane == DOLA else step.choices[0].id
    differs = own != other
    again = token(trace, dola) if lane == DOLA and dola != step.choices[DOLA].id else None
    return {
        "text": text,
        "differs": differs,
        "ghost": {"side": SIDES[1 - lane], "text": token(trace, other)} if differs else None,
        "again": again,
        "level": _level(trace, step, lane, view),
        "hint": _hint(trace, step, lane, other if differs else None, again, view),
    }


def _hint(trace: Trace, step: Step, lane: int, ghost: int | None, again: str | None, view: View) -> str:
    """One token in words: where and what it is, what the other lane says, the overlay's number, the what-if."""
    words, choice, other = view.words, step.choices[lane], trace.lanes[1 - lane].name
    taken = step.taken[step.lanes.index(lane)]
    says = words("strips.agrees", lane=other)
    if ghost is not None:
        says = words("strips.would_say", lane=other, token=token(trace, ghost))
    p = words("strips.probability", p=number(choice.p)) if choice.id == taken else ""
    hint = words("strips.hint", step=step.index + 1, id=taken, probability=p, says=says)
    if view.overlay != "agreement":
        hint += words("strips.reads", quantity=words(f"option.{view.overlay}"), value=_overlay_value(step, lane, view))
    if again is not None:
        hint += words("strips.again", layer=view.layer, alpha=f"{view.alpha:g}", token=again)
    return hint


def _level(trace: Trace, step: Step, lane: int, view: View) -> float:
    """How strongly the overlay tints a token, 0 to 1: fixed ranges, the same for both lanes."""
    match view.overlay:
        case "agreement":
            return 0
        case "probability":
            return step.choices[lane].p
        case "entropy":
            return min(1.0, step.choices[lane].entropy / math.log(trace.model.vocab_size))
        case "JSD":
            return min(1.0, float(step.jsd[view.layer - 1]) / LN_2)


def _overlay_value(step: Step, lane: int, view: View) -> str:
    choice = step.choices[lane]
    values = {"probability": choice.p, "entropy": choice.entropy, "JSD": float(step.jsd[view.layer - 1])}
    value = number(values[view.overlay])
    return value if view.overlay == "probability" else view.words("strips.nats", value=value)
