"""The two token strips: trace → plain data that the browser draws with `textContent`."""

from typing import Any

from app.words import END_WORDS, count, number, running_text, token
from dola_core.trace import Choice, Step, Trace

SIDES = ("base", "dola")


def strips(trace: Trace, *, lane: int, index: int, running: bool = False) -> dict[str, Any]:
    """Both lanes' texts token by token, with ghosts and the first fork marked.

    `lane` and `index` say which token is selected. Lane 0 is the baseline, lane 1 DoLa.
    """
    return {
        "prompt": [
            {"text": text, "hint": f"prompt token {i}"}
            for i, text in zip(trace.prompt_ids, running_text(trace, trace.prompt_ids), strict=True)
        ],
        "lanes": [_lane(trace, number_, running=running) for number_ in range(len(trace.lanes))],
        "fork": trace.fork,
        "selected": {"lane": lane, "index": index},
    }


def difference_sentence(trace: Trace) -> str:
    """How often DoLa chose another token than the baseline would have on the same text, and where first."""
    steps = trace.lane_steps(1)
    if not steps:
        return ""
    different = [s.index for s in steps if s.choices[0].id != s.choices[1].id]
    if not different:
        return "The only choice agrees." if len(steps) == 1 else f"None of {len(steps)} choices differs."
    verb = "choice differs" if len(different) == 1 else "choices differ"
    return f"{len(different)} of {len(steps)} {verb}, the first at step {different[0] + 1}."


def _lane(trace: Trace, lane: int, *, running: bool) -> dict[str, Any]:
    settings, decoding = trace.lanes[lane], trace.decoding
    how = f"{decoding.num_beams} beams" if decoding.num_beams > 1 else "sampled" if decoding.samples else "greedy"
    subtitle = f"q_N · {how}" if settings.layer is None else f"j* = {settings.layer} · α = {settings.alpha:g} · {how}"
    steps, texts = trace.lane_steps(lane), running_text(trace, trace.lane_ids(lane))
    end = trace.ends[lane]
    return {
        "side": SIDES[lane],
        "name": settings.name,
        "subtitle": f"{subtitle} · {count(len(steps))}",
        "tokens": [_token(trace, step, lane, text) for step, text in zip(steps, texts, strict=True)],
        "end": END_WORDS[end] if end else None,
        "running": running and end is None,
        "text": trace.texts[lane],
    }


def _token(trace: Trace, step: Step, lane: int, text: str) -> dict[str, Any]:
    taken = step.taken[step.lanes.index(lane)]
    own, other = step.choices[lane], step.choices[1 - lane]
    differs = own.id != other.id
    other_name = trace.lanes[1 - lane].name
    says = f"{other_name} would say {token(trace, other.id)} ({number(other.p)})" if differs else f"{other_name} agrees"
    return {
        "text": text,
        "differs": differs,
        "ghost": {"side": SIDES[1 - lane], "text": token(trace, other.id)} if differs else None,
        "hint": f"step {step.index + 1}, id {taken}{_probability(own, taken)}; {says}",
    }


def _probability(choice: Choice, taken: int) -> str:
    return f", probability {number(choice.p)}" if choice.id == taken else ""
