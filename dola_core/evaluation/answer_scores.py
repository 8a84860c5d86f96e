"""Log-likelihoods of given answers in any lane that contrasts layers, from one pass over each text.

Teacher forcing: texts are padded on the right and read as a batch, and the states of the layers that a lane reads go
through the head at the answers' tokens alone, a few positions at a time. Nothing grows with layers × vocabulary ×
length: memory beside the model is the hidden states of a batch, and `CHUNK_LOGITS` logits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from dola_core.contrast import closeness, log_softmax
from dola_core.lanes import Lane
from dola_core.models.reading.readout import Readout

BATCH_TOKENS = 4096
"""Tokens that are read together where nobody says how many texts."""
CHUNK_LOGITS = 1 << 25
"""Logits of all layers that are held at a time: 128 MB in float32."""

Score = tuple[float, bool]
"""An answer's log-likelihood, and whether greedy decoding writes it."""


@dataclass(frozen=True)
class ReadText:
    """A text to read, and the answers whose tokens it predicts at its last positions."""

    ids: tuple[int, ...]
    answers: dict[int, list[int]] = field(default_factory=dict)
    """{an answer's number: its tokens}; the text ends in all but the last of them."""

    @property
    def first(self) -> int:
        """The first position that predicts a token of an answer."""
        return len(self.ids) - max(map(len, self.answers.values()))


def read_texts(answers: Sequence[tuple[Sequence[int], Sequence[int]]], most: int) -> list[ReadText]:
    """The texts to read for pairs of a context's and an answer's ids, longest first.

    Answers that differ in their last token alone share a text. A text that is longer than the `most` tokens that the
    model reads loses its beginning. Raises `ValueError` for an answer that is longer by itself.
    """
    texts: dict[tuple[int, ...], ReadText] = {}
    for number, (context, answer) in enumerate(answers):
        if len(answer) > most:
            raise ValueError(f"An answer has {len(answer):,} tokens; the model reads at most {most:,}. Leave it out.")
        ids = (*context, *answer)[:-1][-most:]
        texts.setdefault(ids, ReadText(ids)).answers[number] = list(answer)
    return sorted(texts.values(), key=lambda text: -len(text.ids))


def batches(texts: Sequence[ReadText], size: int | None) -> Iterator[Sequence[ReadText]]:
    """Cut texts, the longest first, into batches of `size`; None takes as many as `BATCH_TOKENS` hold, at least one."""
    start = 0
    while start < len(texts):
        end = start + (size or max(1, BATCH_TOKENS // len(texts[start].ids)))
        yield texts[start:end]
        start = end


@torch.inference_mode()
def score_batch(readout: Readout, lane: Lane, batch: Sequence[ReadText], outside: float) -> dict[int, Score]:
    """{an answer's number: its score} of all answers of `batch`, in a fitted `lane` that reads early layers.

    A token that the lane never chooses, such as one outside the plausible head, scores `outside`.
    """
    answers = [(row, number, ids) for row, text in enumerate(batch) for number, ids in text.answers.items()]
    first = min(text.first for text in batch)
    # On the CPU: such an index works on every layer's device.
    rows = torch.tensor([row for row, _, ids in answers for _ in ids])
    lengths = [len(batch[row].ids) for row, _, _ in answers]
    places = torch.cat([torch.arange(end - len(ids), end) for end, (_, _, ids) in zip(lengths, answers, strict=True)])
    states = {layer: h[rows, places - first] for layer, h in _read(readout, lane, batch, first).items()}
    targets = torch.tensor([token for _, _, ids in answers for token in ids])
    positions = max(1, CHUNK_LOGITS // (readout.vocab_size * (len(lane.reads) + 3)))
    parts = [
        _score_tokens(readout, lane, {layer: h[chunk] for layer, h in states.items()}, targets[chunk])
        for chunk in (slice(start, start + positions) for start in range(0, len(targets), positions))
    ]
    scores, chosen = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    scores = torch.where(scores > -torch.inf, scores, outside).double()
    sizes = [len(ids) for _, _, ids in answers]
    each = zip(answers, scores.split(sizes), chosen.split(sizes), strict=True)
    return {number: (own.sum().item(), bool(greedy.all())) for (_, number, _), own, greedy in each}


def _read(readout: Readout, lane: Lane, batch: Sequence[ReadText], first: int) -> dict[int, Tensor]:
    """Block outputs from position `first` on: {layer: `[texts, T − first, d]`} for the lane's layers and the last."""
    longest = max(len(text.ids) for text in batch)
    # Padding on the right needs no mask: attention is causal.
    ids = torch.tensor([[*text.ids, *[0] * (longest - len(text.ids))] for text in batch], device=readout.device)
    with (
        readout.capture([*lane.reads, readout.n_layers], pick=lambda h: h[:, first:]) as captured,
        readout.beside_head(lambda x: x[:0]),  # nothing but the last position goes through the head
    ):
        cast(Any, readout.model)(ids, use_cache=False)
    return captured


def _score_tokens(readout: Readout, lane: Lane, h: dict[int, Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
    """`log p_hat` of `targets` `[M]`, and whether they are the greedy choice: `[M]`, bool `[M]`.

    `h` {layer: `[M, d]`} are the block outputs that predict them. −∞ where the lane never chooses a target.
    """
    log_q_N = log_softmax(readout.logits(h[readout.n_layers]))  # [M, V]
    early = torch.cat([h[layer].to(log_q_N.device) for layer in lane.reads])
    log_q = log_softmax(readout.logits(early, early_norm=lane.early_norm is not False))
    log_q = log_q.to(log_q_N.device).view(len(lane.reads), *log_q_N.shape)
    F = lane.scores(log_q_N, log_q, closeness(log_q_N, log_q) if lane.chooses_layer else None)
    targets = targets.to(F.device)
    return F.log_softmax(-1).gather(-1, targets[:, None])[:, 0], F.argmax(-1) == targets
