"""The bar under the texts: which step is looked at, how many choices differ, and what is set otherwise than in the run.

Pure data, which the browser draws beside the sliders.
"""

import re
from collections.abc import Sequence
from typing import Any

from app.language import Language
from app.render.inspection import Inspection, lane_name
from app.ui.palette import SIDES

USUAL = {"β =": "1"}
"""{setting: its value in a lane that does not name it}"""


def step_bar(inspection: Inspection | None, edited: int | None, words: Language) -> dict[str, Any]:
    """The bar for a look at a trace, or for none; `edited` is the pane whose sliders a visitor asked for last.

    Otherwise the sliders are those of the lane that the charts explain.
    """
    if inspection is None:
        return {"side": SIDES[1 if edited is None else edited], "step": "", "words": words.section("bar")}
    view, count = inspection.view, len(inspection.differences)
    differ = words("bar.one_differs") if count == 1 else words("bar.differ", n=count) if count else ""
    agree = "" if count else words("bar.none_differs")
    if not inspection.is_recorded:
        differ, agree = (words("bar.so_far", what=what) if what else "" for what in (differ, agree))
    return {
        "side": SIDES[inspection.focus if edited is None else edited],
        "step": words("bar.step", step=view.index + 1, of=len(inspection.trace.lane_ids(view.lane))),
        "differ": differ,
        "agree": agree,
        "first": view.index == 0,
        "last": view.index == len(inspection.steps) - 1,
        "state": "" if inspection.as_run else words("bar.what_if", settings="; ".join(_changes(inspection))),
        "words": words.section("bar"),
    }


def _changes(inspection: Inspection) -> list[str]:
    """What is set otherwise than in the run, lane by lane, such as `j* = 10 (run: 22)`."""
    words, changes = inspection.words, []
    for lane in inspection.shown:
        if inspection.is_as_run(lane):
            continue
        change = _change(inspection, lane)
        changes.append(change if inspection.is_told(lane) else words("bar.not_told", change=change))
    return changes


def _change(inspection: Inspection, lane: int) -> str:
    words, now, ran = inspection.words, inspection.now[lane], inspection.trace.lanes[lane]
    if now.kind != ran.kind:
        return words("bar.was", now=_whole(inspection, lane), ran=lane_name(ran, words))
    before, after = _by_name(ran.settings), _by_name(now.settings)
    if any(name not in USUAL for name in before.keys() ^ after.keys()):
        return words("bar.was", now=_whole(inspection, lane), ran=", ".join(ran.settings))
    values = {name: (after.get(name, USUAL.get(name)), before.get(name, USUAL.get(name))) for name in before | after}
    settings = [words("bar.was", now=f"{name} {a}", ran=b) for name, (a, b) in values.items() if a != b]
    return ", ".join(settings) or _whole(inspection, lane)


def _by_name(settings: Sequence[str]) -> dict[str, str]:
    """{`j* =`: `22`, …} of a lane's settings in words; one that is no more than a word is its own name."""
    named = [re.fullmatch(r"(\S+ [=∈]) (.*)", text) for text in settings]
    return {
        text if one is None else one[1]: "" if one is None else one[2]
        for text, one in zip(settings, named, strict=True)
    }


def _whole(inspection: Inspection, lane: int) -> str:
    """A lane as it is set, with its kind."""
    now = inspection.now[lane]
    return ", ".join([lane_name(now, inspection.words), *now.settings])
