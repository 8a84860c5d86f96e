"""What the page says in whole sentences, made from a trace."""

from app.language import Language
from app.render.figures.step import Head
from app.render.token_text import number, token
from app.render.view_state import View
from dola_core.trace.schema import Trace
from dola_core.trace.what_if import rechosen

Part = dict[str, str]
"""`{"text": …, "side": "base" | "dola" | ""}`: plain words, or a token in a lane's voice."""


def say(text: str) -> list[Part]:
    """A plain sentence."""
    return [_part(text)]


def difference_sentence(trace: Trace, view: View) -> str:
    """How often DoLa's choice differs from the baseline's on DoLa's text, and, as a what-if, from its own."""
    words, steps = view.words, trace.lane_steps(1)
    chosen = rechosen(trace, 1, view.layer, view.alpha)
    different = [s.index for s, dola in zip(steps, chosen, strict=True) if dola != s.choices[0].id]
    if different:
        key = "sentence.one_differs" if len(different) == 1 else "sentence.differ"
        text = words(key, k=len(different), n=len(steps), step=different[0] + 1)
    else:
        text = words("sentence.only_agrees") if len(steps) == 1 else words("sentence.none_differs", n=len(steps))
    if view.as_run(trace):
        return text
    changed = [s.index for s, dola in zip(steps, chosen, strict=True) if dola != s.choices[1].id]
    untold = sum(view.alpha < step.exact_alpha for step in steps)
    asked = words("sentence.asked", layer=view.layer, alpha=f"{view.alpha:g}")
    if untold:
        asked += words("sentence.untold", n=untold)
    what = words("sentence.same")
    if changed:
        key = "sentence.one_changes" if len(changed) == 1 else "sentence.change"
        what = words(key, k=len(changed), step=changed[0] + 1)
    return f"{text} {asked} {what}"


def settings_sentence(trace: Trace, words: Language) -> str:
    """Which model made a trace, and with what settings."""
    decoding, ran = trace.decoding, trace.lanes[1]
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


def step_sentence(trace: Trace, view: View) -> list[Part]:
    """The step in words; the text twin of both its charts."""
    words, step = view.words, view.step(trace)
    head = Head.of(step, view.layer, view.alpha, trace.decoding)
    base, dola, now = step.choices[0], step.choices[1], view.dola_choice(trace)
    parts = [
        _part(words(_verb(trace), step=step.index + 1)),
        _part(token(trace, base.id), "base"),
        _part(f" ({number(base.p)})"),
    ]
    if now == base.id:
        parts.append(_part(words("sentence.agrees")))
    else:
        place = step.place(now)
        p_hat = dola.p if now == dola.id and view.as_run(trace) else float(head.p_hat[place])
        parts += [_part(words("sentence.dola")), _part(token(trace, now), "dola")]
        parts.append(_part(words("sentence.of_head", q=number(float(head.q_N[place])), p=number(p_hat))))
    if not head.complete:
        known = step.exact_alpha <= 1
        begins = words("sentence.begins", alpha=number(step.exact_alpha)) if known else words("sentence.no_what_if")
        parts.append(_part(words("sentence.more_plausible") + begins))
    elif head.size == 1:
        parts.append(_part(words("sentence.one_in_head")))
    else:
        parts.append(_part(words("sentence.head", n=head.size, mass=f"{head.mass:.0%}")))
    if head.complete and not view.as_run(trace):
        parts.append(_part(_what_if(trace, view, None if now == dola.id else token(trace, dola.id))))
    for lane, taken in zip(step.lanes, step.taken, strict=True):
        if taken != step.choices[lane].id:
            beam = words("sentence.beam", lane=trace.lanes[lane].name, token=token(trace, taken))
            parts.append(_part(beam))
    return parts


def _what_if(trace: Trace, view: View, instead_of: str | None) -> str:
    ran = trace.lanes[1]
    settings = {
        "layer": view.layer, "alpha": f"{view.alpha:g}", "ran_layer": ran.layer, "ran_alpha": f"{ran.alpha:g}",
    }  # fmt: skip
    if instead_of is None:
        return view.words("sentence.as_it_did", **settings)
    return view.words("sentence.instead", token=instead_of, **settings)


def _verb(trace: Trace) -> str:
    if trace.decoding.num_beams > 1:
        return "sentence.alone"
    return "sentence.draws" if trace.decoding.samples else "sentence.chooses"


def _part(text: str, side: str = "") -> Part:
    return {"text": text, "side": side}
