"""Shares with their intervals, and the layer at which an answer arrives."""

from collections.abc import Sequence

import numpy as np
import torch

from dola_core.layer_search.questions.dataset import Item
from dola_core.models.loaded_model import LoadedModel

DRAWS = 2000
BATCH = 64


def interval(values: np.ndarray, things: Sequence[str]) -> list[float]:
    """[mean, low, high] of `values` `[n]` with its 95 % bootstrap interval.

    The bootstrap draws clusters, all questions about one thing, because these are not independent.
    """
    drawn, which = _draws(things)
    sums, sizes = np.bincount(which, weights=values), np.bincount(which)
    means = (drawn @ sums) / np.maximum(drawn @ sizes, 1)
    return [round(float(x), 4) for x in (values.mean(), *np.percentile(means, (2.5, 97.5)))]


def median_interval(values: np.ndarray, things: Sequence[str]) -> list[float]:
    """[median, low, high], each of them one of the values: of two in the middle, the lower."""
    drawn, which = _draws(things)
    order = np.argsort(values, kind="stable")

    def lower_median(weights: np.ndarray) -> np.ndarray:
        return values[order][(weights >= weights[:, -1:] / 2).argmax(1)]

    medians = lower_median(drawn[:, which[order]].cumsum(1))
    middle = lower_median(np.arange(1, len(values) + 1)[None])[0]
    return [float(x) for x in (middle, *np.percentile(medians, (2.5, 97.5), method="inverted_cdf"))]


def _draws(things: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """How often each thing is drawn, `[DRAWS, things]`, and the index of the thing that each value is about, `[n]`."""
    # In order of appearance, as `ClusterBootstrap` numbers them: an interval is then the layer search's own.
    numbers: dict[str, int] = {}
    which = np.array([numbers.setdefault(thing, len(numbers)) for thing in things])
    evenly = np.full(len(numbers), 1 / len(numbers))
    return np.random.default_rng(0).multinomial(len(numbers), evenly, size=DRAWS), which


@torch.inference_mode()
def arrival(loaded: LoadedModel, items: Sequence[Item]) -> np.ndarray:
    """For each item the layer from which on every layer predicts a right answer; 0 if the last layer does not.

    The answer is given as input, so each of its tokens follows the right ones before it. Of several right answers the
    one that arrives first counts.
    """
    readout, layers = loaded.readout, range(1, loaded.readout.n_layers + 1)
    answers = []  # (item, ids, where the answer starts)
    for number, one in enumerate(items):
        prompt = loaded.encode(one.prompt)
        for answer in one.answers:
            ids = loaded.encode(f"{one.prompt} {answer}")
            if ids[: len(prompt)] == prompt:
                answers.append((number, ids, len(prompt)))
    answers.sort(key=lambda answer: len(answer[1]))
    found = np.zeros(len(items), dtype=np.int64)
    for first in range(0, len(answers), BATCH):
        batch = answers[first : first + BATCH]
        width = max(len(ids) for _, ids, _ in batch)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for _, ids, _ in batch])
        rows = torch.tensor([row for row, (_, ids, start) in enumerate(batch) for _ in ids[start:]])
        places = torch.tensor([place for _, ids, start in batch for place in range(start - 1, len(ids) - 1)])
        with readout.capture(layers, pick=lambda h, rows=rows, places=places: h[rows, places]) as h:
            readout.decoder(input_ids=ids, use_cache=False)
        top = torch.stack([readout.logits(h[layer]).argmax(-1) for layer in layers], dim=1)
        predicts = (top == ids[rows, places + 1][:, None]).long()
        stays = predicts.flip(1).cumprod(1).sum(1)  # how many of the last layers agree without a break
        arrives = torch.where(stays > 0, readout.n_layers + 1 - stays, 0)
        for row, (number, _, _) in enumerate(batch):
            tokens = arrives[rows == row]
            layer = int(tokens.max()) if bool((tokens > 0).all()) else 0
            if layer and not 0 < found[number] <= layer:
                found[number] = layer
    return found
