"""What the page says in whole sentences, made from a trace."""

from app.figures.step import Head
from app.view import View
from app.words import number, token
from dola_core.trace import Trace
from dola_core.what_if import rechosen

Part = dict[str, str]
"""`{"text": …, "side": "base" | "dola" | ""}`: plain words, or a token in a lane's voice."""


def say(text: str) -> list[Part]:
    """A plain sentence."""
    return [_part(text)]


def difference_sentence(trace: Trace, view: View) -> str:
    """How often DoLa's choice differs from the baseline's on DoLa's text, and, as a what-if, from its own."""
    steps = trace.lane_steps(1)
    chosen = rechosen(trace, 1, view.layer, view.alpha)
    different = [s.index for s, dola in zip(steps, chosen, strict=True) if dola != s.choices[0].id]
    if not different:
        text = "The only choice agrees." if len(steps) == 1 else f"None of {len(steps)} choices differs."
    else:
        verb = "choice differs" if len(different) == 1 else "choices differ"
        text = f"{len(different)} of {len(steps)} {verb}, the first at step {different[0] + 1}."
    if view.as_run(trace):
        return text
    changed = [s.index for s, dola in zip(steps, chosen, strict=True) if dola != s.choices[1].id]
    untold = sum(view.alpha < step.exact_alpha for step in steps)
    asked = f"With j* = {view.layer}, α = {view.alpha:g}" + (f", {untold} steps not told," if untold else "")
    if not changed:
        return f"{text} {asked} DoLa would write the same."
    verb = "choice would change" if len(changed) == 1 else "choices would change"
    return f"{text} {asked} {len(changed)} {verb}, the first at step {changed[0] + 1}; what follows it is dimmed."


def settings_sentence(trace: Trace) -> str:
    """Which model made a trace, and with what settings."""
    decoding, ran = trace.decoding, trace.lanes[1]
    how = "greedy"
    if decoding.num_beams > 1:
        how = f"{decoding.num_beams} beams"
    elif decoding.samples:
        how = f"sampled, temperature {decoding.temperature:g}, seed {decoding.seed}"
    penalty = f", repetition penalty {decoding.repetition_penalty:g}" if decoding.repetition_penalty != 1 else ""
    norm = "" if decoding.early_norm else ", layer j* read raw, without the final norm"
    return f"{trace.model.name} in {trace.model.dtype}; j* = {ran.layer}, α = {ran.alpha:g}, {how}{penalty}{norm}."


def step_sentence(trace: Trace, view: View) -> list[Part]:
    """The step in words; the text twin of both its charts."""
    step, decoding = view.step(trace), trace.decoding
    head = Head.of(step, view.layer, view.alpha, decoding)
    base, dola, ran = step.choices[0], step.choices[1], trace.lanes[1]
    now = view.dola_choice(trace)
    parts = [
        _part(f"Step {step.index + 1}. Baseline {_verb(trace)} "),
        _part(token(trace, base.id), "base"),
        _part(f" ({number(base.p)})"),
    ]
    if now == base.id:
        parts.append(_part("; DoLa agrees."))
    else:
        place = step.place(now)
        p_hat = dola.p if now == dola.id and view.as_run(trace) else float(head.p_hat[place])
        parts += [_part(", DoLa "), _part(token(trace, now), "dola")]
        parts.append(_part(f" ({number(float(head.q_N[place]))} → {number(p_hat)} of the head)."))
    if not head.complete:
        begin = f"what-if starts at α = {number(step.exact_alpha)}" if step.exact_alpha <= 1 else "there is no what-if"
        parts.append(_part(f" More tokens are plausible here than were recorded; {begin}."))
    elif head.size == 1:
        parts.append(_part(" The head keeps one token, so both must choose it."))
    else:
        parts.append(_part(f" The head keeps {head.size} tokens holding {head.mass:.0%}."))
    if head.complete and not view.as_run(trace):
        same = "as it did" if now == dola.id else f"instead of {token(trace, dola.id)}, as it did"
        settings = "with j* = {}, α = {:g}"
        asked, had = settings.format(view.layer, view.alpha), settings.format(ran.layer, ran.alpha)
        parts.append(_part(f" What if: {asked} DoLa chooses this {same} {had}."))
    for lane, taken in zip(step.lanes, step.taken, strict=True):
        if taken != step.choices[lane].id:
            parts.append(_part(f" {trace.lanes[lane].name}'s beam goes on with {token(trace, taken)}."))
    return parts


def _verb(trace: Trace) -> str:
    if trace.decoding.num_beams > 1:
        return "alone would choose"
    return "draws" if trace.decoding.samples else "chooses"


def _part(text: str, side: str = "") -> Part:
    return {"text": text, "side": side}
