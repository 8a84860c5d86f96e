"""What a layer search found, in words and tables."""

from collections.abc import Sequence
from typing import Any

from app.language import Language
from app.render.token_text import visible
from dola_core.layer_search.result import Candidate, ErrorCase, SearchResult, Triple
from dola_core.layer_search.selection import FEWEST

TOLD = 3
"""Candidates of a deciding token that the table of errors has room for."""


def verdict(found: SearchResult, words: Language) -> str:
    """Whether a fixed layer helps at all, whether one serves all domains, and which layers are as good."""
    stable, unit = found.stability, found.asked.unit
    if stable is None:
        return words("search.few", fewest=FEWEST)
    chosen = f"j* = {found.chosen.layer}, α = {found.chosen.alpha:g}"
    tested = words("search.tested", gain=_change(stable.gain, unit, words))
    key = "search.helps" if stable.gain[1] > 0 else "search.hurts" if stable.gain[2] < 0 else "search.chance"
    said = words(key, chosen=chosen, tested=tested)
    apart = [domain for domain in found.domains if domain.disagrees]
    if not found.domains:
        said += words("search.one_domain")
    elif not apart:
        said += words("search.agree", n=len(found.domains))
    else:
        losses = [
            words("search.loses", domain=one.name, layer=one.layer, loss=_change(one.gain, unit, words).lstrip("+"))
            for one in apart
        ]
        said += words("search.disagree", losses="; ".join(losses))
    return said + words("search.equal", layers=_ranges(sorted(found.chosen.not_worse)))


def _ranges(layers: Sequence[int]) -> str:
    """Numbers with their runs drawn together: `3, 5–8`."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _change(value: Triple, unit: str, words: Language) -> str:
    scale, digits, key = (100, 1, "search.points") if unit == "points" else (1, 3, "search.nats")
    mean, low, high = (f"{scale * number:+.{digits}f}".replace("-", "−") for number in value)
    return words(key, mean=mean, low=low, high=high)


def domain_rows(found: SearchResult, words: Language) -> dict[str, Any]:
    """The table of domains, for `Rows`."""
    head = ("search.domain", "search.questions", "search.own", "search.gain")
    rows = [
        [
            one.name,
            f"{one.items:,}",
            f"{one.layer} ({one.layers[0]}–{one.layers[1]})",
            _change(one.gain, found.asked.unit, words),
        ]
        for one in found.domains
    ]
    return {
        "title": words("search.domains"),
        "sub": words("search.domains_sub"),
        "head": [words(key) for key in head],
        "rows": rows,
        "open": False,
    }


def errors_of(found: SearchResult, who: str) -> list[ErrorCase]:
    """The errors of one kind, in their order."""
    return [case for case in found.errors if case.right == who]


def error_rows(found: SearchResult, who: str, words: Language) -> dict[str, Any]:
    """The table of the questions that `who` had right and the other wrong, for `Rows`."""
    head = ("search.question", "search.right", "search.wrong", "search.decides")
    rows = [
        [case.prompt, " / ".join(case.answers), case.wrong, f"{_top(case.q_N)} | {_top(case.q_J)}"]
        for case in errors_of(found, who)
    ]
    return {
        "title": words("search.errors_baseline" if who == "baseline" else "search.errors_dola"),
        "sub": words("search.errors_sub"),
        "head": [words(key) for key in head],
        "rows": rows,
        "open": True,
    }


def _top(candidates: Sequence[Candidate]) -> str:
    return ", ".join(f"{visible(one.text)} {one.p:.2f}" for one in candidates[:TOLD])
