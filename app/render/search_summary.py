"""The result of a layer search in words and tables."""

from collections.abc import Sequence
from typing import Any

from app.language import Language
from dola_core.display import format_signed, visible_token
from dola_core.layer_search.result import Candidate, ErrorCase, Interval, SearchResult
from dola_core.layer_search.selection import MIN_CLUSTERS

CANDIDATES = 3
"""Candidates of a deciding token that the table of errors has room for."""


def verdict(result: SearchResult, words: Language) -> str:
    """Whether a fixed layer helps at all, whether one serves all domains, and which layers may be as good.

    The result's own `verdict`, which goes into files, is in English and names no layers that may be as good.
    """
    stability = result.stability
    if stability is None:
        return words("search.few", fewest=MIN_CLUSTERS)
    setting = f"j* = {result.chosen.layer}, α = {result.chosen.alpha:g}"
    tested = words("search.tested", gain=_change(stability.gain, result.asked.unit, words))
    helps = words(f"search.{stability.effect}", chosen=setting, tested=tested)
    equal = words("search.equal", layers=_ranges(sorted(result.chosen.not_worse)))
    return helps + _on_domains(result, words) + equal


def _on_domains(result: SearchResult, words: Language) -> str:
    """Whether one layer serves all domains."""
    disagreeing = [domain for domain in result.domains if domain.disagrees]
    if not result.domains:
        return words("search.one_domain")
    if not disagreeing:
        return words("search.agree", n=len(result.domains))
    losses = [
        words(
            "search.loses",
            domain=domain.name,
            layer=domain.layer,
            loss=_change(domain.gain, result.asked.unit, words).removeprefix("+"),
        )
        for domain in disagreeing
    ]
    return words("search.disagree", losses="; ".join(losses))


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
    mean, low, high = (format_signed(number, unit) for number in change)
    return words(f"search.{unit}", mean=mean, low=low, high=high)


def domain_rows(result: SearchResult, words: Language) -> dict[str, Any]:
    """The table of domains, for `Rows`."""
    head = ("search.domain", "search.questions", "search.own", "search.gain")
    rows = [
        [
            domain.name,
            f"{domain.items:,}",
            f"{domain.layer} ({domain.layers[0]}–{domain.layers[1]})",
            _change(domain.gain, result.asked.unit, words),
        ]
        for domain in result.domains
    ]
    return {
        "title": words("search.domains"),
        "sub": words("search.domains_sub"),
        "head": [words(key) for key in head],
        "rows": rows,
        "open": False,
    }


def errors_of(result: SearchResult, right: str) -> list[ErrorCase]:
    """The questions that one decoder had right and the other wrong; `right` is "baseline" or "dola"."""
    return [case for case in result.errors if case.right == right]


def error_rows(result: SearchResult, right: str, words: Language) -> dict[str, Any]:
    """The table of the same questions, for `Rows`."""
    head = ("search.question", "search.right", "search.wrong", "search.decides")
    rows = [
        [case.prompt, " / ".join(case.answers), case.wrong, f"{_candidates(case.q_N)} | {_candidates(case.q_J)}"]
        for case in errors_of(result, right)
    ]
    return {
        "title": words("search.errors_baseline" if right == "baseline" else "search.errors_dola"),
        "sub": words("search.errors_sub"),
        "head": [words(key) for key in head],
        "rows": rows,
        "open": True,
    }


def _candidates(candidates: Sequence[Candidate]) -> str:
    """The most probable candidates with their probabilities."""
    return ", ".join(f"{visible_token(one.text)} {one.p:.2f}" for one in candidates[:CANDIDATES])
