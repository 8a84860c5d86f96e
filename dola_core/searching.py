"""Choosing j* and α on a set of questions: every layer and every α from one reading of each question."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from dola_core.choosing import best_column
from dola_core.deciding import error_cases
from dola_core.items import Item
from dola_core.measuring import Measurements, measure, metrics_of
from dola_core.models import LoadedModel
from dola_core.search_report import html_report
from dola_core.search_result import Asked, DataInfo, SearchResult, Strategy, summarise

RESULT, REPORT, MEASURED = "result.json", "report.html", "measured-{}.npz"
ERRORS = 50
"""Errors of each kind that the result tells."""
BUCKETS = 3
ENDS = 3
"""Layers at the end of a bucket that stand for it."""


def layers_of(strategy: Strategy, n_layers: int) -> tuple[int, ...]:
    """The layers that are measured first.

    "all": 1..N−1. "grid": every other one from the eighth of thirty on, scaled to N. "buckets": the last ones of each
    third, after which the best third is measured whole.
    """
    if strategy == "all":
        return tuple(range(1, n_layers))
    if strategy == "grid":
        scaled = (round(layer * n_layers / 30) for layer in range(8, 30, 2))
        return tuple(dict.fromkeys(min(max(layer, 1), n_layers - 1) for layer in scaled))
    return tuple(layer for bucket in buckets(n_layers) for layer in bucket[-ENDS:])


def buckets(n_layers: int) -> list[tuple[int, ...]]:
    """Thirds of the layers 1..N−1: of thirty [1, 10], [11, 20] and [21, 29]."""
    borders = [round(part * n_layers / BUCKETS) for part in range(BUCKETS)] + [n_layers - 1]
    parts = [tuple(range(low + 1, high + 1)) for low, high in pairwise(borders)]
    return [part for part in parts if part]


def layer_search(
    loaded: LoadedModel,
    items: Sequence[Item],
    asked: Asked,
    *,
    name: str = "items",
    sha256: str = "",
    out: Path | None = None,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SearchResult:
    """Measure every layer and α on `items`, choose, and say how sure the choice is.

    Args:
        loaded: the model.
        items: the questions.
        asked: task, strategy, α, metric, and how answers are scored or texts decoded.
        name: what to call the questions, and
        sha256: the hash of their file.
        out: a folder for `result.json`, `report.html` and what was measured, from which
        resume: goes on. When interrupted (`KeyboardInterrupt`), what is measured by then is saved, and a valid result
            of it written, before the interruption goes on its way.
        progress: called with the number of questions done and to do.

    Raises:
        ValueError: there are no items, the metric cannot be measured on them, an item is too long, or what was saved
            is of another search.
    """
    if not items:
        raise ValueError("There are no questions to choose a layer by.")
    metrics = metrics_of(items, asked)
    start = time.monotonic()
    if out:
        out.mkdir(parents=True, exist_ok=True)
    rounds: list[Measurements] = []

    def result() -> SearchResult:
        return _result(loaded, items, asked, rounds, name, sha256, time.monotonic() - start)

    def save(found: SearchResult) -> SearchResult:
        if out:
            (out / RESULT).write_text(found.to_json() + "\n", encoding="utf-8")
            (out / REPORT).write_text(html_report(found), encoding="utf-8")
        return found

    try:
        layers = layers_of(asked.strategy, loaded.readout.n_layers)
        while layers:
            found = Measurements(len(items), metrics, layers, asked.alphas)
            rounds.append(found)
            file = out / MEASURED.format(len(rounds)) if out else None
            fingerprint = _fingerprint(loaded, items, asked, layers)
            if resume and file and file.is_file():
                found.load(file, fingerprint)
            told = partial(_told, progress, len(items), len(rounds)) if progress else None
            measure(loaded, items, asked, found, file=file, fingerprint=fingerprint, progress=told)
            layers = _next_layers(asked, rounds, loaded.readout.n_layers)
    except KeyboardInterrupt:
        if any(one.done.any() for one in rounds):
            save(result())
        raise
    return save(result())


def _told(progress: Callable[[int, int], None], items: int, rounds: int, done: int) -> None:
    """Progress over all rounds that are known of."""
    progress(items * (rounds - 1) + done, items * rounds)


def _next_layers(asked: Asked, rounds: list[Measurements], n_layers: int) -> tuple[int, ...]:
    """Of buckets, after the first round: the rest of the bucket that the best layer is in."""
    if asked.strategy != "buckets" or len(rounds) > 1:
        return ()
    (first,) = rounds
    best = best_column(first.values[:, first.metrics.index(asked.metric)].mean(0))
    layer = first.layers[(best - 1) // len(first.alphas)]
    bucket = next(bucket for bucket in buckets(n_layers) if layer in bucket)
    return tuple(other for other in bucket if other not in first.layers)


def _fingerprint(loaded: LoadedModel, items: Sequence[Item], asked: Asked, layers: tuple[int, ...]) -> str:
    """What measurements depend on, as a hash."""
    parts = [loaded.info.model_dump(), [item.model_dump() for item in items], asked.model_dump(mode="json"), layers]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _result(
    loaded: LoadedModel,
    items: Sequence[Item],
    asked: Asked,
    rounds: list[Measurements],
    name: str,
    sha256: str,
    seconds: float,
) -> SearchResult:
    """What the questions that are done in every round say; a round that has hardly begun is left out."""
    rounds = [one for one in rounds if one.done.any()]
    done = np.logical_and.reduce([one.done for one in rounds])
    layers = sorted(layer for one in rounds for layer in one.layers)
    by_layer = {
        layer: one.values[done][:, :, 1 + n * len(one.alphas) : 1 + (n + 1) * len(one.alphas)]
        for one in rounds
        for n, layer in enumerate(one.layers)
    }
    together = np.concatenate([rounds[0].values[done][:, :, :1], *(by_layer[layer] for layer in layers)], axis=2)
    answered = [item for item, there in zip(items, done, strict=True) if there]
    values = {metric: together[:, n] for n, metric in enumerate(rounds[0].metrics)}
    found = summarise(
        answered,
        values,
        asked,
        layers,
        model=loaded.info,
        data=DataInfo(name=name, sha256=sha256, items=len(answered), of=len(items)),
        seconds=seconds,
    )
    setting = found.chosen.layer, found.chosen.alpha
    column = 1 + layers.index(setting[0]) * len(asked.alphas) + asked.alphas.index(setting[1])
    cases = error_cases(loaded, answered, values[asked.metric][:, [0, column]], asked, setting, most=ERRORS)
    places = np.flatnonzero(done)
    return found.model_copy(
        update={"errors": tuple(case.model_copy(update={"item": int(places[case.item])}) for case in cases)}
    )
