"""The lanes' token strips: trace → plain data that the browser draws with `textContent`."""

from typing import Any

from app.language import Language
from app.render.figures.shades import shade
from app.render.inspection import Inspection, lane_name
from app.ui.palette import SIDES
from dola_core.display import format_number, visible_token
from dola_core.trace.schema import Trace
from dola_core.trace.step import Step
from dola_core.trace.token_text import Piece, own_part, running_text, token

FOLDED = 3
"""Tokens of a chat template that are folded away; fewer, such as a BOS, are shown."""
SHORT_PROMPT = 24
"""Tokens of a prompt that is shown before the text that goes on from it; a longer one is folded to a chip."""


def token_strips(inspection: Inspection, *, label: str = "") -> dict[str, Any]:
    """The lanes' texts token by token, with ghosts, overlay, the fork, and what the present settings would change.

    `label` says of a trace that was not run here where it comes from.
    """
    view = inspection.view
    lanes = [_lane(inspection, lane, running=False) for lane in inspection.shown]
    return _strips(inspection, lanes, selected={"lane": view.lane, "index": view.index}) | {"label": label}


def running_strips(inspection: Inspection) -> dict[str, Any]:
    """The strips while the texts are still being written, for a view of the lanes as they run; no step is selected."""
    lanes = [_lane(inspection, lane, running=True) for lane in inspection.shown]
    return _strips(inspection, lanes, selected={"lane": len(lanes) - 1, "index": -1})


def invitation(words: Language, text: str) -> dict[str, Any]:
    """Nothing but a text and a button that runs what is set, such as for a link whose result is not there."""
    return {"lanes": [], "invitation": text, "words": words.section("strips")}


def _strips(inspection: Inspection, lanes: list[dict[str, Any]], *, selected: dict[str, int]) -> dict[str, Any]:
    trace, words = inspection.trace, inspection.words
    return {
        "prompt": _prompt(inspection),
        "folded": _folded(inspection),
        "own": [_place(trace, place) for place in own_part(trace)],
        "chip": _prompt_chip(inspection),
        "images": _images(inspection),
        "lanes": lanes,
        "differences": inspection.differences,
        "selected": selected,
        "words": words.section("strips"),
        "keys": words.section("keys"),
    }


def _prompt(inspection: Inspection) -> list[dict[str, Any]]:
    """The prompt's tokens. All those of its images, which may be thousands, are one entry."""
    trace, words = inspection.trace, inspection.words
    first, end = trace.image_span or (0, 0)
    before, behind = trace.prompt_ids[:first], trace.prompt_ids[end:]

    def entries(ids: tuple[int, ...]) -> list[dict[str, Any]]:
        pieces = zip(ids, running_text(trace, ids), strict=True)
        return [{"text": p.text, "plain": p.plain, "hint": words("strips.prompt_token", id=i)} for i, p in pieces]

    image = {"text": "⟨⟩", "plain": "", "hint": words("strips.image_tokens", n=end - first)}
    return [*entries(before), *([image] if end else []), *entries(behind)]


def _place(trace: Trace, place: int) -> int:
    """Where a token of the prompt stands in `_prompt`."""
    first, end = trace.image_span or (0, 0)
    return place if place <= first or not end else first + 1 + max(0, place - end)


def _folded(inspection: Inspection) -> list[dict[str, Any]]:
    """The parts of the prompt that are not the visitor's text: `from`, `to` (without) and how they are called.

    That of the images is named by what stands for them; see `_images`.
    """
    trace, words = inspection.trace, inspection.words
    count, (start, end) = len(trace.prompt_ids), own_part(trace)
    first, last = trace.image_span or (count, count)
    around = [(0, min(start, first)), (last, start), (max(last if start <= first else end, end), count)]
    parts = [(a, b, words("strips.template", n=b - a), False) for a, b in around if b - a >= FOLDED]
    if trace.images:
        parts.append((first, last, words("strips.image_tokens", n=last - first), True))
    return [
        {"from": _place(trace, a), "to": _place(trace, b), "text": text, "images": shown}
        for a, b, text, shown in sorted(parts)
    ]


def _images(inspection: Inspection) -> list[dict[str, Any]]:
    """The prompt's images: each as a small picture, if the trace keeps one, and in words."""
    return [
        {
            "url": f"data:image/jpeg;base64,{image.thumbnail}" if image.thumbnail else None,
            "text": inspection.words("strips.image", title=image.title),
        }
        for image in inspection.trace.images
    ]


def _prompt_chip(inspection: Inspection) -> str:
    """What stands for the prompt where the text is read, if the prompt is a chat's or long; else empty."""
    trace, count = inspection.trace, len(inspection.trace.prompt_ids)
    return inspection.words("strips.prompt", n=count) if trace.chat or count > SHORT_PROMPT else ""


def _lane(inspection: Inspection, lane: int, *, running: bool) -> dict[str, Any]:
    """One lane's strip; the last steps of its text may not be recorded yet."""
    trace, steps, words = inspection.trace, inspection.lane_steps[lane], inspection.words
    ids = trace.lane_ids(lane)
    pieces, changed = running_text(trace, ids), set(inspection.changed[lane])
    first = min(changed, default=len(steps))
    tokens = [
        _token(inspection, step, lane, piece) | {"changed": step.index in changed, "dim": step.index > first}
        for step, piece in zip(steps, pieces, strict=False)
    ]
    tokens += [_unread_token(inspection, index, ids[index], pieces[index]) for index in range(len(steps), len(ids))]
    if trace.ends[lane] == "eos" and tokens:
        tokens[-1]["stops"] = True  # as text, it is drawn as a mark
    size = words("strips.one_token") if len(ids) == 1 else words("strips.tokens", n=len(ids))
    return {
        "side": SIDES[lane],
        "name": lane_name(trace.lanes[lane], words),
        "as_run": inspection.is_as_run(lane),
        "subtitle": " · ".join(filter(None, [_settings(inspection, lane), size])),
        "tokens": tokens,
        "fork": inspection.forks[lane],
        "end": _end(inspection, lane),
        "running": running and trace.ends[lane] is None,
        "text": trace.texts[lane],
    }


def _end(inspection: Inspection, lane: int) -> str | None:
    """Why a lane ended, with the stop string that ended it; None while it runs."""
    end = inspection.trace.ends[lane]
    why = inspection.words(f"strips.{end}") if end else None
    if why is None or end != "stop":
        return why
    what = visible_token(inspection.trace.ended_by(lane) or "")
    return inspection.words("strips.ended_by", why=why, what=what)


def _settings(inspection: Inspection, lane: int) -> str:
    """How a lane decoded, in a few words."""
    settings, decoding, words = inspection.trace.lanes[lane], inspection.trace.decoding, inspection.words
    how = words("strips.sampled") if decoding.samples else ""
    if decoding.num_beams > 1:
        how = words("strips.beams", n=decoding.num_beams)
        found = inspection.trace.beams_found
        if found and found[lane] < decoding.num_beams:
            how = words("strips.fewer_beams", n=decoding.num_beams, found=found[lane])
    own = [*settings.settings, *([] if settings.image else [words("strips.without_image")])]
    return " · ".join(filter(None, [*own, how]))


def _token(inspection: Inspection, step: Step, lane: int, piece: Piece) -> dict[str, Any]:
    """One token of a strip, with what the other lanes would say in its place."""
    trace, own = inspection.trace, inspection.choice(lane, step)
    others = {other: inspection.choice(other, step) for other in inspection.shown if other != lane}
    ghosts = {other: token_id for other, token_id in others.items() if token_id != own}
    again = token(trace, own) if own != step.choices[lane].id else None
    return {
        "text": piece.text,
        "plain": piece.plain,
        "differs": bool(ghosts),
        "ghosts": [
            {"side": SIDES[other], "name": inspection.names[other], "text": token(trace, token_id)}
            for other, token_id in ghosts.items()
        ],
        "again": again,
        "level": _level(inspection, step, lane),
        "hint": _hint(inspection, step, lane, ghosts, again),
    }


def _unread_token(inspection: Inspection, index: int, token_id: int, piece: Piece) -> dict[str, Any]:
    """A token whose step is not recorded yet: what other lanes would say there is not known."""
    hint = inspection.words("strips.unread", step=index + 1, id=token_id)
    plain = {"differs": False, "ghosts": [], "again": None, "level": 0.0, "changed": False, "dim": False}
    return {"text": piece.text, "plain": piece.plain, "hint": hint} | plain


def _hint(inspection: Inspection, step: Step, lane: int, ghosts: dict[int, int], again: str | None) -> str:
    """A token in words: its step and id, the other lanes' choices, the overlay's number, and the what-if."""
    trace, view, words, choice = inspection.trace, inspection.view, inspection.words, step.choices[lane]
    others, taken = [other for other in inspection.shown if other != lane], step.taken[step.lanes.index(lane)]
    says = [
        words("strips.would_say", lane=inspection.names[other], token=token(trace, ghosts[other]))
        if other in ghosts
        else words("strips.agrees", lane=inspection.names[other])
        for other in others
    ]
    p = words("strips.probability", p=format_number(choice.p)) if choice.id == taken else ""
    hint = words("strips.hint", step=step.index + 1, id=taken, probability=p, says=", ".join(says))
    if choice.layer is not None and again is None:
        hint += words("strips.layer", layer=choice.layer)
    if view.overlay != "agreement":
        reading = _reading(inspection, step, lane)
        hint += words("strips.reads", quantity=words(f"option.{view.overlay}"), value=reading)
    if again is not None:
        hint += words("strips.again", settings=", ".join(inspection.lane(lane).settings) or "q_N", token=again)
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
            layer = inspection.contrast_layer(lane if inspection.lane(lane).reads else inspection.focus, step)
            return float(step.jsd[layer - 1]) if layer else 0


def _level(inspection: Inspection, step: Step, lane: int) -> float:
    """How strongly the overlay tints a token, 0 to 1, by the same fixed ranges as the heatmaps: dark is decided."""
    value = _overlay_value(inspection, step, lane)
    match inspection.view.overlay:
        case "agreement":
            return 0.0
        case "probability":
            return float(shade("p(chosen)", value))
        case "entropy" | "JSD" as quantity:
            return float(shade(quantity, value))


def _reading(inspection: Inspection, step: Step, lane: int) -> str:
    """The overlay's number with its unit."""
    value = format_number(_overlay_value(inspection, step, lane))
    return value if inspection.view.overlay == "probability" else inspection.words("strips.nats", value=value)
