"""What every question is worth at every setting: multiple choice by scores, generation by the texts of lanes.

Measurements grow question by question, are saved now and then, and can be taken up again.
"""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dola_core.decoding.lockstep import PromptError, check_comparison, compare
from dola_core.lanes import Decoding, Lane
from dola_core.layer_search.dataset import Item
from dola_core.layer_search.metrics import GENERATED, OFFERED, SAID, Metric, value
from dola_core.layer_search.result import Asked
from dola_core.layer_search.scoring import answer_ids, score_items
from dola_core.models.loading import LoadedModel

LANES = 40
"""Lanes of generation that are decoded together: each may come to need a row of its own."""
SAVE_EVERY = 30.0
"""Seconds between savings."""


def metrics_of(items: Sequence[Item], asked: Asked) -> tuple[Metric, ...]:
    """The metrics that can be measured on all of `items`; `ValueError` if that which was asked for cannot."""
    offered = all(item.wrong for item in items)
    known = GENERATED if asked.task == "generate" else (*OFFERED, *SAID) if offered else SAID
    if asked.metric in known:
        return known
    if asked.task == "mc" and asked.metric in OFFERED:
        number = next(n for n, item in enumerate(items, start=1) if not item.wrong)
        raise ValueError(
            f"Question {number} offers no wrong answer, which {asked.metric} needs; measure {' or '.join(SAID)}, or "
            "generate."
        )
    raise ValueError(f"{asked.metric} is no metric of the task {asked.task}; choose from {', '.join(known)}.")


class Measurements:
    """What questions are worth so far, at the baseline and at every (layer, α)."""

    def __init__(self, items: int, metrics: tuple[Metric, ...], layers: tuple[int, ...], alphas: tuple[float, ...]):
        self.metrics, self.layers, self.alphas = metrics, layers, alphas
        self.values = np.full((items, len(metrics), 1 + len(layers) * len(alphas)), np.nan)
        """`[items, metrics, S]`"""
        self.done = np.zeros(items, dtype=bool)
        """`[items]`"""

    def put(self, number: int, values: np.ndarray) -> None:
        """What question `number` is worth, `[metrics, S]`."""
        self.values[number], self.done[number] = values, True

    def save(self, file: Path, fingerprint: str) -> None:
        """Write them; a crash while writing leaves the former file whole."""
        part = file.with_name(f"{file.name}.part")
        with part.open("wb") as out:
            np.savez_compressed(out, values=self.values, done=self.done, fingerprint=np.array(fingerprint))
        part.replace(file)

    def load(self, file: Path, fingerprint: str) -> None:
        """Take up what was saved; `ValueError` if it is spoiled, or of other questions, another model or settings."""
        try:
            with file.open("rb") as raw, np.load(raw, allow_pickle=False) as saved:
                values, done, mark = saved["values"], saved["done"], str(saved["fingerprint"])
        except (BadZipFile, AttributeError, EOFError, KeyError, OSError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is spoiled; start without --resume.") from error
        if mark != fingerprint or values.shape != self.values.shape:
            raise ValueError(
                f"{file} was measured with other questions, another model or other settings; start without --resume, "
                "or in another folder."
            )
        self.values, self.done = values, done


def measure(
    loaded: LoadedModel,
    items: Sequence[Item],
    asked: Asked,
    found: Measurements,
    *,
    file: Path | None = None,
    fingerprint: str = "",
) -> Iterator[int]:
    """Measure what `found` does not hold yet, yielding how many questions are done.

    Saved to `file` now and then, and when it ends, be it because it is abandoned or interrupted.
    """
    left = [number for number, done in enumerate(found.done) if not done]
    rows = (_generated if asked.task == "generate" else _scored)(loaded, [items[n] for n in left], asked, found)
    saved = time.monotonic()
    try:
        for place, row in rows:
            found.put(left[place], row)
            yield int(found.done.sum())
            if file and time.monotonic() - saved > SAVE_EVERY:
                found.save(file, fingerprint)
                saved = time.monotonic()
    finally:
        if file:
            found.save(file, fingerprint)


def _scored(
    loaded: LoadedModel, items: Sequence[Item], asked: Asked, found: Measurements
) -> Iterator[tuple[int, np.ndarray]]:
    for batch in score_items(loaded, items, found.layers, found.alphas, asked.rule):
        for number, scored in batch:
            yield number, np.stack([value(scored, metric, asked.normalisation) for metric in found.metrics])


def _generated(
    loaded: LoadedModel, items: Sequence[Item], asked: Asked, found: Measurements
) -> Iterator[tuple[int, np.ndarray]]:
    settings = [(None, 1.0), *((layer, alpha) for layer in found.layers for alpha in found.alphas)]
    lanes = [Lane(name="", layer=layer, alpha=alpha) for layer, alpha in settings]
    decoding = asked.decoding or Decoding()
    for number, item in enumerate(items, start=1):
        try:
            check_comparison(loaded.readout, loaded.encode(item.prompt), (), decoding)
        except PromptError as error:
            raise ValueError(f"Question {number}: {error}") from error
    for number, item in enumerate(items):
        firsts = {answer_ids(loaded, item.prompt, answer)[0] for answer in item.answers}
        rows = []
        for ids in written(loaded, item.prompt, lanes, decoding):
            text = loaded.text(ids)
            rows.append(
                {
                    "exact": is_exact(text, item.answers),
                    "contains": contains(text, item.answers),
                    "first": bool(ids) and ids[0] in firsts,
                }
            )
        yield number, np.array([[row[metric] for row in rows] for metric in found.metrics], dtype=np.float64)


def written(loaded: LoadedModel, prompt: str, lanes: Sequence[Lane], decoding: Decoding) -> list[list[int]]:
    """What each lane writes. Lanes that still agree share their row; `LANES` are decoded at a time."""
    texts: list[list[int]] = [[] for _ in lanes]
    for first in range(0, len(lanes), LANES):
        steps = compare(
            loaded.readout,
            loaded.encode(prompt),
            lanes[first : first + LANES],
            decoding,
            eos_ids=loaded.eos_ids,
            text_of=loaded.text,
            record=False,
        )
        for advance in steps:
            for lane, token in advance.tokens.items():
                texts[first + lane].append(token)
    return texts


def is_exact(text: str, answers: Sequence[str]) -> bool:
    """Whether the text is one of the answers, but for case, space around it and a full stop."""
    return _plain(text) in {_plain(answer) for answer in answers}


def contains(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in the text, as whole words; case does not matter."""
    return any(re.search(rf"(?<!\w){re.escape(_plain(answer))}(?!\w)", _plain(text)) for answer in answers)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".")
