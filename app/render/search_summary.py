"""The result of a layer search in words and tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from app.language import Language
from app.render.finding import finding_text
from dola_core.display import cut, format_signed, visible_token
from dola_core.layer_search.questions.dataset import PREAMBLE
from dola_core.layer_search.result import Candidate, ErrorCase, Interval, SearchResult
from dola_core.layer_search.selection import MIN_CLUSTERS
from dola_core.models.preset import Preset

CANDIDATES = 3
"""Candidates of a deciding token that the table of errors has room for."""
LONGEST = 300
"""Characters of a question, or an answer, in a table."""


def take_label(result: SearchResult, words: Language) -> str | None:
    """What the button says that makes the best setting the comparison's; None where there is none to take."""
    chosen, stability = result.chosen, result.stability
    if stability is None:
        return None
    effect = chosen.difference.effect if result.asked.one_setting else stability.effect
    if effect == "helps":
        return words("search.take", layer=chosen.layer, alpha=f"{chosen.alpha:g}")
    return words("search.anyway", layer=chosen.layer)


class Verdict(NamedTuple):
    """What the tab says of a result."""

    first: str
    """One sentence."""
    more: str = ""
    """What else there is to know; may be empty."""

    @property
    def whole(self) -> str:
        """Both in one."""
        return self.first + self.more


def opening(preset: Preset, result: SearchResult | None, words: Language) -> Verdict:
    """What the tab says first of a model: how its recorded setting was tested, and then what the search that comes
    with it found."""
    tested = finding_text(preset, words)
    found = verdict(result, words) if result else Verdict(words("search.not_here"))
    return Verdict(tested, found.whole) if tested else found


def verdict(result: SearchResult, words: Language) -> Verdict:
    """Whether a fixed layer helps at all; what it changes, whether one serves all domains, and which may be as good.

    Ends with how the questions were drawn, if they are a sample. The result's own `verdict`, which goes into files, is
    in English and names no layers that may be as good.
    """
    stability = result.stability
    if stability is None:
        return Verdict(words("search.few", fewest=MIN_CLUSTERS), _sample(result, words))
    if result.asked.one_setting:
        more = _changed(result, "search.one_changed", words) + _sample(result, words)
        return Verdict(_on_one_setting(result, words), more)
    setting = f"j* = {result.chosen.layer}, α = {result.chosen.alpha:g}"
    tested = words("search.tested", gain=_change(stability.gain, result.asked.unit, words))
    sentences = (
        _changed(result, "search.changed", words),
        _on_domains(result, words),
        _on_dynamic(result, words),
        words("search.equal", layers=_ranges(sorted(result.chosen.not_worse))),
        _sample(result, words),
    )
    return Verdict(words(f"search.{stability.effect}", chosen=setting, tested=tested), "".join(sentences))


def _on_one_setting(result: SearchResult, words: Language) -> str:
    """What came of a setting that had been chosen before."""
    chosen = result.chosen
    gain = _change(chosen.difference, result.asked.unit, words)
    return words(
        f"search.one_{chosen.difference.effect}", chosen=f"j* = {chosen.layer}, α = {chosen.alpha:g}", gain=gain
    )


def _changed(result: SearchResult, key: str, words: Language) -> str:
    """How many questions the best setting mends and breaks; empty if that was not counted."""
    chosen = result.chosen
    if chosen.mended is None or chosen.broken is None:
        return ""
    return words(key, mended=f"{chosen.mended:,}", broken=f"{chosen.broken:,}")


def _sample(result: SearchResult, words: Language) -> str:
    """How the questions were drawn; empty if all were taken."""
    data = result.data
    if not data.sampled:
        return ""
    return words("search.sample", n=f"{data.of:,}", of=f"{data.held:,}", seed=data.seed)


def _on_domains(result: SearchResult, words: Language) -> str:
    """Whether one layer serves all domains."""
    disagreeing = [domain for domain in result.domains if domain.disagrees]
    if not result.domains:
        return words("search.one_domain")
    if len(result.domains) == 1 and not disagreeing:
        return words("search.agree_one")
    if not disagreeing:
        return words("search.agree", n=len(result.domains))
    losses = [
        words(
            "search.loses",
            domain=cut(domain.name),
            layer=domain.layer,
            loss=_change(domain.gain, result.asked.unit, words).removeprefix("+"),
        )
        for domain in disagreeing
    ]
    return words("search.disagree", losses="; ".join(losses))


def _on_dynamic(result: SearchResult, words: Language) -> str:
    """Whether choosing the layer at each step does better than the best fixed setting, and where domains disagree."""
    dynamic, unit = result.dynamic, result.asked.unit
    disagreeing = [domain for domain in result.domains if domain.disagrees]
    if dynamic is None:
        return words("search.no_dynamic") if disagreeing else ""
    gain = _change(dynamic.gain, unit, words)
    text = words(f"search.dynamic_{dynamic.gain.effect}", lane=dynamic.lane, gain=gain)
    there = [
        words("search.dynamic_there", domain=cut(domain.name), gain=_change(domain.dynamic, unit, words))
        for domain in disagreeing
        if domain.dynamic
    ]
    return text + (words("search.dynamic_domains", gains="; ".join(there)) if there else "")


def _ranges(layers: Sequence[int]) -> str:
    """Ascending numbers with consecutive ones joined: `3, 5–8`."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _change(change: Interval, unit: str, words: Language) -> str:
    """A difference with its 95 % interval; `unit` is "points" or "nats"."""
    return words(f"search.{unit}", **_numbers(change, unit))


def _brief(change: Interval, unit: str, words: Language) -> str:
    """The same for a table, whose caption tells the unit."""
    return words("search.brief", **_numbers(change, unit))


def _numbers(change: Interval, unit: str) -> dict[str, str]:
    return {name: format_signed(number, unit) for name, number in change._asdict().items()}


def domain_rows(result: SearchResult, words: Language) -> dict[str, Any]:
    """The table of domains, for `Rows`."""
    unit, has_dynamic = result.asked.unit, result.dynamic is not None
    head = ("search.domain", "search.questions", "search.own", "search.gain", *["search.dynamic_gain"] * has_dynamic)
    rows = [
        [
            cut(domain.name),
            f"{domain.items:,}",
            f"{domain.layer} ({domain.layers[0]}–{domain.layers[1]})",
            _brief(domain.gain, unit, words),
            *([_brief(domain.dynamic, unit, words) if domain.dynamic else ""] if has_dynamic else []),
        ]
        for domain in result.domains
    ]
    return {
        "title": words("search.domains"),
        "sub": words("search.domains_sub", unit=words(f"search.unit_{unit}")),
        "head": [words(key) for key in head],
        "rows": rows,
        "open": False,
    }


def errors_of(result: SearchResult, right: str) -> list[ErrorCase]:
    """The questions that one decoder had right and the other wrong, with their prompts as the model read them.

    `right` is "baseline" or "dola". Empty if the result does not hold the prompts of all of them: none can be opened.
    """
    cases = _cases(result, right)
    if not all(case.prompt for case in cases):
        return []
    return [case.model_copy(update={"prompt": result.before + case.prompt}) for case in cases]


def _cases(result: SearchResult, right: str) -> list[ErrorCase]:
    return [case for case in result.errors if case.right == right]


def error_rows(result: SearchResult, right: str, words: Language) -> dict[str, Any]:
    """The table of the same questions, for `Rows`; one without its prompt has its number, which opens nothing."""
    head = ("search.question", "search.right", "search.wrong", "search.decides")
    cases, opens = _cases(result, right), bool(errors_of(result, right))
    texts = [(_question(case, words), " / ".join(case.answers), case.wrong) for case in cases]
    rows = [
        [*(cut(text, LONGEST) for text in cells), _deciding(case)] for cells, case in zip(texts, cases, strict=True)
    ]
    shown = words("search.errors_shown", shown=len(cases)) if len(cases) < (_count(result, right) or 0) else ""
    return {
        "title": _title(result, right, words),
        "sub": words("search.errors_open" if opens or not cases else "search.errors_numbers") + shown,
        "head": [words(key) for key in head],
        "rows": rows,
        "open": opens,
    }


def _title(result: SearchResult, right: str, words: Language) -> str:
    """What the questions of a table have in common, and how many they are, if they were counted."""
    key, count = "search.broken" if right == "baseline" else "search.mended", _count(result, right)
    return words(key) if count is None else words(f"{key}_n", n=f"{count:,}")


def _count(result: SearchResult, right: str) -> int | None:
    return result.chosen.broken if right == "baseline" else result.chosen.mended


def _question(case: ErrorCase, words: Language) -> str:
    """The question without TruthfulQA's customary examples, or its number in the file."""
    return case.prompt.removeprefix(PREAMBLE) or words("search.number", n=f"{case.item + 1:,}")


def _deciding(case: ErrorCase) -> str:
    """The most probable candidates for the token that decides, of both layers."""
    return f"{_candidates(case.q_N)} | {_candidates(case.q_J)}" if case.q_N else ""


def _candidates(candidates: Sequence[Candidate]) -> str:
    """The most probable candidates with their probabilities."""
    return ", ".join(f"{visible_token(one.text)} {one.p:.2f}" for one in candidates[:CANDIDATES])
