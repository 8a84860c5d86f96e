"""The two token strips: trace → plain data that the browser draws with `textContent`."""

import math
from typing import Any

from app.view import View
from app.words import END_WORDS, count, number, running_text, token
from dola_core.contrast import LN_2
from dola_core.trace import Choice, Step, Trace
from dola_core.what_if import DOLA, rechosen

SIDES = ("base", "dola")


def strips(trace: Trace, view: View | None) -> dict[str, Any]:
    """Both lanes' texts token by token, with ghosts, overlay, the first fork, and what another (j*, α) would change.

    Without a view the texts are still being written: nothing is selected and nothing is read again.
    """
    return {
        "prompt": [
            {"text": text, "hint": f"prompt token {i}"}
            for i, text in zip(trace.prompt_ids, running_text(trace, trace.prompt_ids), strict=True)
        ],
        "lanes": [_lane(trace, lane, view) for lane in range(len(trace.lanes))],
        "fork": trace.fork,
        "selected": {"lane": view.lane, "index": view.index} if view else {"lane": DOLA, "index": -1},
    }


def _lane(trace: Trace, lane: int, view: View | None) -> dict[str, Any]:
    settings, decoding = trace.lanes[lane], trace.decoding
    how = f"{decoding.num_beams} beams" if decoding.num_beams > 1 else "sampled" if decoding.samples else "greedy"
    subtitle = f"q_N · {how}" if settings.layer is None else f"j* = {settings.layer} · α = {settings.alpha:g} · {how}"
    steps, texts = trace.lane_steps(lane), running_text(trace, trace.lane_ids(lane))
    ran = [step.choices[DOLA].id for step in steps]
    chosen = rechosen(trace, lane, view.layer, view.alpha) if view else ran
    changes = [lane == DOLA and now != then for now, then in zip(chosen, ran, strict=True)]
    first = changes.index(True) if any(changes) else len(steps)
    tokens = [
        _token(trace, step, lane, text, dola, view) | {"changed": changed, "dim": step.index > first}
        for step, text, dola, changed in zip(steps, texts, chosen, changes, strict=True)
    ]
    end = trace.ends[lane]
    return {
        "side": SIDES[lane],
        "name": settings.name,
        "subtitle": f"{subtitle} · {count(len(steps))}",
        "tokens": tokens,
        "end": END_WORDS[end] if end else None,
        "running": view is None and end is None,
        "text": trace.texts[lane],
    }


def _token(trace: Trace, step: Step, lane: int, text: str, dola: int, view: View | None) -> dict[str, Any]:
    """One token; `dola` is what DoLa chooses on its prefix with the view's (j*, α)."""
    taken = step.taken[step.lanes.index(lane)]
    other = step.choices[0].id if lane == DOLA else dola
    own = dola if lane == DOLA else step.choices[0].id
    differs = own != other
    other_name = trace.lanes[1 - lane].name
    says = f"{other_name} would say {token(trace, other)}" if differs else f"{other_name} agrees"
    reads = f"; {view.overlay} {_overlay_words(step, lane, view)}" if view and view.overlay != "agreement" else ""
    again = token(trace, dola) if lane == DOLA and dola != step.choices[DOLA].id else None
    return {
        "text": text,
        "differs": differs,
        "ghost": {"side": SIDES[1 - lane], "text": token(trace, other)} if differs else None,
        "again": again,
        "level": _level(trace, step, lane, view) if view else 0,
        "hint": f"step {step.index + 1}, id {taken}{_probability(step.choices[lane], taken)}; {says}{reads}"
        + (f"; with j* = {view.layer}, α = {view.alpha:g} it would say {again}" if view and again else ""),
    }


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


def _overlay_words(step: Step, lane: int, view: View) -> str:
    choice = step.choices[lane]
    values = {"probability": choice.p, "entropy": choice.entropy, "JSD": float(step.jsd[view.layer - 1])}
    return number(values[view.overlay]) + ("" if view.overlay == "probability" else " nats")


def _probability(choice: Choice, taken: int) -> str:
    return f", probability {number(choice.p)}" if choice.id == taken else ""
