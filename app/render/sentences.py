"""Whole sentences about a trace."""

from app.language import Language
from app.render.inspection import Inspection
from app.render.token_text import token
from dola_core.display import format_number
from dola_core.trace.schema import Trace
from dola_core.trace.what_if import DOLA, static_lane

Part = dict[str, str]
"""`{"text": …, "side": "base" | "dola" | ""}`: plain words, or a token in a lane's voice."""


def say(text: str) -> list[Part]:
    """A plain sentence."""
    return [_part(text)]


def difference_sentence(inspection: Inspection) -> str:
    """How many of DoLa's choices differ from the baseline's on DoLa's text.

    With another (j*, α) than the run's, also how many differ from those that DoLa made in the run.
    """
    words, differing, n = inspection.words, inspection.differing[DOLA], len(inspection.lane_steps[DOLA])
    if differing:
        key = "sentence.one_differs" if len(differing) == 1 else "sentence.differ"
        text = words(key, k=len(differing), n=n, step=differing[0] + 1)
    else:
        text = words("sentence.only_agrees") if n == 1 else words("sentence.none_differs", n=n)
    return text if inspection.as_run else f"{text} {_changes(inspection)}"


def _changes(inspection: Inspection) -> str:
    """How many choices the view's (j*, α) would change."""
    words, view, changed = inspection.words, inspection.view, inspection.changed
    setting = words("sentence.setting", layer=view.layer, alpha=f"{view.alpha:g}")
    if inspection.unavailable:
        setting += words("sentence.unavailable", n=inspection.unavailable)
    if not changed:
        return f"{setting} {words('sentence.same')}"
    key = "sentence.one_changes" if len(changed) == 1 else "sentence.change"
    return f"{setting} {words(key, k=len(changed), step=changed[0] + 1)}"


def settings_sentence(trace: Trace, words: Language) -> str:
    """Which model made a trace, and with what settings."""
    decoding, ran = trace.decoding, static_lane(trace)
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
        layer=ran.layer,
        alpha=f"{ran.alpha:g}",
        how=how,
        penalty="" if penalty == 1 else words("sentence.penalty", penalty=f"{penalty:g}"),
        norm="" if decoding.early_norm else words("sentence.raw"),
    )


def step_sentence(inspection: Inspection) -> list[Part]:
    """The step looked at in words; the text twin of its charts."""
    trace, step, head = inspection.trace, inspection.step, inspection.plausible_head
    parts = [*_choices(inspection), _part(_plausible_head(inspection))]
    if head.complete and not inspection.as_run:
        parts.append(_part(_what_if(inspection)))
    for lane, taken in zip(step.lanes, step.taken, strict=True):
        if taken != step.choices[lane].id:
            name = trace.lanes[lane].name
            parts.append(_part(inspection.words("sentence.beam", lane=name, token=token(trace, taken))))
    return parts


def _choices(inspection: Inspection) -> list[Part]:
    """What both lanes choose, with the probabilities of their choices."""
    trace, words, step, head = inspection.trace, inspection.words, inspection.step, inspection.plausible_head
    base, ran, (_, dola) = step.choices[0], step.choices[DOLA], inspection.choices
    parts = [
        _part(words(_verb(trace), step=step.index + 1)),
        _part(token(trace, base.id), "base"),
        _part(f" ({format_number(base.p)})"),
    ]
    if dola == base.id:
        return [*parts, _part(words("sentence.agrees"))]
    place = step.index_of(dola)
    p_hat = ran.p if dola == ran.id and inspection.as_run else float(head.p_hat[place])
    return [
        *parts,
        _part(words("sentence.dola")),
        _part(token(trace, dola), "dola"),
        _part(words("sentence.of_plausible_head", q=format_number(float(head.q_N[place])), p=format_number(p_hat))),
    ]


def _plausible_head(inspection: Inspection) -> str:
    """How many tokens are plausible, or from which α on that is known."""
    words, head, exact_alpha = inspection.words, inspection.plausible_head, inspection.step.exact_alpha
    if not head.complete:
        known = exact_alpha <= 1
        begins = words("sentence.begins", alpha=format_number(exact_alpha)) if known else words("sentence.no_what_if")
        return words("sentence.more_plausible") + begins
    if head.size == 1:
        return words("sentence.one_plausible")
    return words("sentence.plausible_head", n=head.size, mass=f"{head.mass:.0%}")


def _what_if(inspection: Inspection) -> str:
    """Whether DoLa chooses as it did in the run, which had another (j*, α)."""
    view, lane, ran = inspection.view, static_lane(inspection.trace), inspection.step.choices[DOLA].id
    settings = {
        "layer": view.layer, "alpha": f"{view.alpha:g}", "ran_layer": lane.layer, "ran_alpha": f"{lane.alpha:g}",
    }  # fmt: skip
    if inspection.choices[1] == ran:
        return view.words("sentence.as_it_did", **settings)
    return view.words("sentence.instead", token=token(inspection.trace, ran), **settings)


def _verb(trace: Trace) -> str:
    if trace.decoding.num_beams > 1:
        return "sentence.alone"
    return "sentence.draws" if trace.decoding.samples else "sentence.chooses"


def _part(text: str, side: str = "") -> Part:
    return {"text": text, "side": side}
