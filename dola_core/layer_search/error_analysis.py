"""Questions that one decoder has right and the other wrong, and the token that decides: the errors of a search."""

from collections.abc import Sequence

import numpy as np
import torch

from dola_core.contrast import log_softmax
from dola_core.lanes import Decoding, Lane
from dola_core.layer_search.dataset import Item
from dola_core.layer_search.evaluate import written
from dola_core.layer_search.metrics import OFFERED
from dola_core.layer_search.result import Asked, Candidate, ErrorCase
from dola_core.layer_search.scoring import Scored, answer_ids, score_items
from dola_core.models.loading import LoadedModel

TOP = 10
"""Tokens of a distribution that are told."""
SPLIT = 0.5
"""Above this a share counts as right."""


def error_cases(
    loaded: LoadedModel,
    items: Sequence[Item],
    values: np.ndarray,
    asked: Asked,
    setting: tuple[int, float],
    *,
    most: int,
) -> list[ErrorCase]:
    """At most `most` of the items that the baseline had right and DoLa wrong, and as many the other way round.

    `values` `[n, 2]` says what each item is worth to the baseline and to DoLa at `setting` (layer, α), as a share or,
    of a margin, by its sign.
    """
    border = 0.0 if asked.metric == "margin" else SPLIT
    right = values > border
    cases = []
    for who, (one, other) in (("baseline", (0, 1)), ("dola", (1, 0))):
        for number in np.flatnonzero(right[:, one] & ~right[:, other])[:most].tolist():
            cases.append(_case(loaded, items[number], number, who, asked, setting))
    return cases


def _case(
    loaded: LoadedModel, item: Item, number: int, who: str, asked: Asked, setting: tuple[int, float]
) -> ErrorCase:
    by_scores = asked.task == "mc" and asked.metric in OFFERED
    good, bad = (_chosen if by_scores else _said)(loaded, item, who, asked, setting)
    common = 0
    while common < min(len(good), len(bad)) and good[common] == bad[common]:
        common += 1
    early_norm = asked.decoding.early_norm if asked.decoding else asked.rule.early_norm
    q_N, q_J = _read(loaded, [*loaded.encode(item.prompt), *good[:common]], setting[0], early_norm=early_norm)
    return ErrorCase(
        item=number,
        prompt=item.prompt,
        domain=item.domain,
        answers=item.answers,
        right=who,
        wrong=loaded.text(bad).strip(),
        common=loaded.text(good[:common]).strip(),
        q_N=q_N,
        q_J=q_J,
    )


def _chosen(
    loaded: LoadedModel, item: Item, who: str, asked: Asked, setting: tuple[int, float]
) -> tuple[list[int], list[int]]:
    """The right answer that one decoder scores highest, and the wrong one that the other does."""
    layer, alpha = setting
    ((_, scored),) = next(iter(score_items(loaded, [item], (layer,), (alpha,), asked.rule)))
    column = ("baseline", "dola").index(who)
    right, wrong = _normalised(scored, asked)
    return (
        answer_ids(loaded, item.prompt, item.answers[int(right[:, column].argmax())]),
        answer_ids(loaded, item.prompt, item.wrong[int(wrong[:, 1 - column].argmax())]),
    )


def _normalised(scored: Scored, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    if asked.normalisation == "sum":
        return scored.right, scored.wrong
    return scored.right / scored.right_tokens[:, None], scored.wrong / scored.wrong_tokens[:, None]


def _said(
    loaded: LoadedModel, item: Item, who: str, asked: Asked, setting: tuple[int, float]
) -> tuple[list[int], list[int]]:
    """What one decoder says rightly, and what the other says instead."""
    longest = max(len(answer_ids(loaded, item.prompt, answer)) for answer in item.answers) + 1
    plain = Decoding(max_new_tokens=longest, early_norm=asked.rule.early_norm)
    decoding = asked.decoding if asked.task == "generate" else plain
    lanes = (Lane(name="baseline"), Lane(name="dola", layer=setting[0], alpha=setting[1]))
    baseline, dola = written(loaded, item.prompt, lanes, decoding or Decoding())
    return (baseline, dola) if who == "baseline" else (dola, baseline)


@torch.no_grad()
def _read(
    loaded: LoadedModel, ids: list[int], layer: int, *, early_norm: bool
) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """The most probable next tokens of the last layer and of `layer`."""
    readout = loaded.readout
    with readout.capture([layer, readout.n_layers]) as h:
        readout.decoder(input_ids=torch.tensor([ids], device=readout.device), use_cache=False)
    both = (
        log_softmax(readout.logits(h[readout.n_layers])),
        log_softmax(readout.logits(h[layer], early_norm=early_norm)),
    )
    tops = (log_q[0].topk(min(TOP, readout.vocab_size)) for log_q in both)
    q_N, q_J = (
        tuple(
            Candidate(text=loaded.piece(token), p=round(p, 6))
            for p, token in zip(top.values.exp().tolist(), top.indices.tolist(), strict=True)
        )
        for top in tops
    )
    return q_N, q_J
