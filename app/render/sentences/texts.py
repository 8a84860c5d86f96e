"""Sentences about the lanes' whole texts."""

import re

from app.language import Language
from app.render.inspection import Inspection, lane_name
from app.render.sentences.clauses import named
from app.render.sentences.numbers import is_end
from app.render.sentences.writing import close, joined, listed
from dola_core.trace.schema import Trace
from dola_core.trace.what_if import what_if_choice

SPECIAL = re.compile(r"<.+>|\[.+\]")
"""A token that may end a text, too, such as `<|endoftext|>`."""


def ended_at_once(inspection: Inspection, *, can_chat: bool) -> str:
    """That lanes wrote nothing but the end of the text, and what to try; empty if none did.

    `can_chat` says that the model has a chat template.
    """
    trace, words = inspection.trace, inspection.words
    lanes = [lane for lane in inspection.shown if trace.ends[lane] == "eos" and len(trace.lane_ids(lane)) == 1]
    if not lanes:
        return ""
    several = len(inspection.shown) == len(lanes)
    both = words("sentence.both" if len(lanes) == 2 else "sentence.all")
    name = both if several else listed(words, [inspection.names[lane] for lane in lanes])
    text = words("sentence.ended", lanes=name)
    advised = [(lane, found) for lane in lanes if (found := _other_layer(inspection, lane)) is not None]
    if can_chat and trace.chat is None:
        text = words("sentence.ended_try_chat", lanes=name)
    elif advised:
        (lane, (layer, token_id)), *_ = advised
        layer_of = {"lane": inspection.names[lane], "layer": layer, "token": named(inspection, token_id)}
        text = words("sentence.ended_try_layer", lanes=name, **layer_of)
    return close(words, text)


def _other_layer(inspection: Inspection, lane: int) -> tuple[int, int] | None:
    """The layer nearest to a lane's j* with which it would not end the text at once, and what it would begin with."""
    trace, now, step = inspection.trace, inspection.lane(lane), inspection.lane_steps[lane][0]
    own = getattr(now, "layer", None)
    if own is None:
        return None
    for layer in sorted(range(1, trace.model.n_layers), key=lambda one: abs(one - own)):
        chosen = what_if_choice(trace, step, now.model_copy(update={"layer": layer}))
        if chosen is not None and not is_end(trace, chosen) and not SPECIAL.fullmatch(trace.pieces.get(chosen, "")):
            return layer, chosen
    return None


def difference_sentence(inspection: Inspection) -> str:
    """How many choices differ between the lanes on the text of the lane that the charts explain.

    With other settings than the run's, also what they would change in the lanes' own texts.
    """
    words, lane = inspection.words, inspection.focus
    differing, n = inspection.differing[lane], len(inspection.lane_steps[lane])
    if differing:
        key = "sentence.one_differs" if len(differing) == 1 else "sentence.differ"
        text = words(key, k=len(differing), n=n, step=differing[0] + 1)
    else:
        text = words("sentence.only_agrees") if n == 1 else words("sentence.none_differs", n=n)
    if len(inspection.shown) > 2:
        text = words("sentence.on_text_of", lane=inspection.names[lane], text=text)
    changed = [_changes(inspection, number) for number in inspection.shown if not inspection.is_as_run(number)]
    return joined(words, [text, *changed])


def _changes(inspection: Inspection, lane: int) -> str:
    """How many choices of a lane its present settings would change."""
    words, changed = inspection.words, inspection.changed[lane]
    setting = words("sentence.setting", settings=_set(inspection, lane))
    if not inspection.is_told(lane):
        return words("sentence.setting_not_told", setting=setting)
    if unavailable := inspection.unavailable[lane]:
        setting += words("sentence.one_unavailable" if unavailable == 1 else "sentence.unavailable", n=unavailable)
    if not changed:
        return words("sentence.same", setting=setting)
    key = "sentence.one_changes" if len(changed) == 1 else "sentence.change"
    return words(key, setting=setting, k=len(changed), step=changed[0] + 1)


def _set(inspection: Inspection, lane: int) -> str:
    """How a lane is set now, in a few words: its kind only if that is another than it ran as."""
    now, ran = inspection.now[lane], inspection.trace.lanes[lane]
    name = lane_name(now, inspection.words)
    return ", ".join([*([] if now.kind == ran.kind else [name]), *now.settings]) or name


def settings_sentence(trace: Trace, words: Language) -> str:
    """Which model made a trace, and with what settings."""
    decoding = trace.decoding
    how = words("strips.greedy")
    if decoding.num_beams > 1:
        how = words("strips.beams", n=decoding.num_beams)
    elif decoding.samples:
        how = words("sentence.temperature", temperature=f"{decoding.temperature:g}", seed=decoding.seed)
    penalty = decoding.repetition_penalty
    return words(
        "sentence.settings",
        model=trace.model.name,
        dtype=trace.model.dtype,
        lanes="; ".join(
            ": ".join(filter(None, [lane_name(lane, words), ", ".join(lane.settings)])) for lane in trace.lanes
        ),
        how=how,
        penalty="" if penalty == 1 else words("sentence.penalty", penalty=f"{penalty:g}"),
        norm="" if decoding.early_norm else words("sentence.raw"),
    )
