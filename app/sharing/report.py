"""A report: what the page shows of a trace, as the parts of one HTML file that opens offline."""

from collections.abc import Iterator
from typing import Any, Literal

from app.language import Language
from app.render.figures import (
    changed_by_layer_card,
    divergence_card,
    heat_card,
    layer_card,
    map_card,
    plausible_head_card,
)
from app.render.inspection import Inspection, lane_name
from app.render.sentences import difference_sentence, say, settings_sentence, step_sentence, why_sentence
from app.render.token_strips import token_strips
from app.ui.theme import css
from dola_core.lanes import DecodingConfig, lane_text

Part = dict[str, Any]
Width = Literal["whole", "half", "third"]
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed")
"""Settings that count only where tokens are drawn."""


def report(inspection: Inspection, *, link: str = "", date: str = "") -> dict[str, Any]:
    """The parts of a report, which the browser puts into one file together with the scripts that draw them.

    `link` is the query string that leads to the same settings, and `date` the day the report is made, as it is read.
    """
    words = inspection.words
    return {
        "name": f"dola-duet-{inspection.trace.digest}.html",
        "css": css(),
        "lang": words.code,
        "title": words("report.title"),
        "sub": settings_sentence(inspection.trace, words),
        "date": date,
        "link": link,
        "link_text": words("report.link"),
        "parts": list(_parts(inspection)),
    }


def _parts(inspection: Inspection) -> Iterator[Part]:
    words = inspection.words
    yield _part("strips", token_strips(inspection))
    yield _part("sentence", say(difference_sentence(inspection)))
    yield _part("sentence", step_sentence(inspection), look="say")
    if why := why_sentence(inspection):
        yield _part("sentence", why, look="why")
    yield _chart(plausible_head_card(inspection), "third")
    yield _chart(layer_card(inspection), "third")
    yield _chart(map_card(inspection), "third")
    for lane in inspection.shown:
        yield _chart(heat_card(inspection, lane), "half")
    yield _chart(changed_by_layer_card(inspection), "half")
    yield _chart(divergence_card(inspection), "half")
    head = [words("report.setting"), words("report.value")]
    rows = [list(row) for row in _settings(inspection)]
    yield _part("rows", {"title": words("report.settings"), "sub": "", "head": head, "rows": rows, "open": False})


def _part(kind: str, value: Any, width: Width = "whole", *, look: str = "") -> Part:
    """A part: which of the page's own components draws it, what, and how wide; `look` tells sentences apart."""
    return {"kind": kind, "value": value, "width": width, "look": look}


def _chart(card: dict[str, Any], width: Width) -> Part:
    """A chart without what its clicks would do on the page."""
    return _part("chart", card | {"hints": []}, width)


def _settings(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """What made the trace: model, prompt, each lane, and how all decoded."""
    trace, view, words = inspection.trace, inspection.view, inspection.words
    model = trace.model
    revision = [words("report.revision", revision=model.revision)] if model.revision else []
    yield (
        words("report.model"),
        ", ".join([model.name, *revision, model.dtype, words("models.layers", n=model.n_layers)]),
    )
    yield words("report.prompt"), trace.prompt
    for image in trace.images:
        yield words("report.image"), image.title
    for lane in inspection.shown:
        ran, now = trace.lanes[lane], inspection.now[lane]
        name, text = lane_name(ran, words), _said(ran.settings, words)
        if not inspection.is_as_run(lane):
            text = words("bar.was", now=_said([lane_name(now, words), *now.settings], words), ran=text)
        yield words("report.lane", n=lane + 1, name=name), f"{text} ({lane_text(now)})"
    yield from _decoding(trace.decoding, words)
    yield words("report.seen"), words("report.at", step=view.index + 1, lane=inspection.names[view.lane])
    yield words("report.digest"), trace.digest


def _decoding(decoding: DecodingConfig, words: Language) -> Iterator[tuple[str, str]]:
    """How all lanes decoded: what counts, as the page's own fields call it."""
    how = words("strips.sampled" if decoding.samples else "strips.greedy")
    yield words("report.decoding"), words("strips.beams", n=decoding.num_beams) if decoding.num_beams > 1 else how
    yield words("controls.max_new_tokens"), str(decoding.max_new_tokens)
    for name in SAMPLING if decoding.samples else ():
        yield words(f"controls.{name}"), _number(getattr(decoding, name))
    yield words("controls.repetition_penalty"), f"{decoding.repetition_penalty:g}"
    if decoding.repetition_penalty != 1:
        yield words("controls.penalty_position"), words(f"controls.{decoding.penalty_position}")
    yield words("report.early_layers"), words("chart.normed" if decoding.early_norm else "chart.raw")
    if decoding.stop:
        yield words("controls.stop_text"), " ".join(map(repr, decoding.stop))


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _said(settings: list[str], words: Language) -> str:
    return ", ".join(settings) or words("report.no_settings")
