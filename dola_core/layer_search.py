"""Multiple-choice and open questions, scored for the baseline and for every (j*, α) from one forward pass an answer.

Teacher forcing makes both exact: an answer's log-likelihood needs only the read-outs at its own tokens, and greedy
decoding says an answer, in the tokenizer's own split, if and only if each of its tokens is the first choice after those
before it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from dola_core.contrast import log_softmax, plausible_head
from dola_core.models import LoadedModel

OUTSIDE = -1000.0
"""Log-probability of a token outside the head, as in the paper (section 3.2); −∞ would make all such answers equal."""
BATCH_TOKENS = 4096


class Item(BaseModel):
    """One question: what continues `prompt` rightly and what wrongly; an open one offers nothing wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1)
    answers: tuple[str, ...] = Field(min_length=1)
    wrong: tuple[str, ...] = ()
    domain: str = ""
    relation: str = ""
    """What the question asks for, finer than its domain."""
    entity: str = ""
    """What the question is about. Questions about the same thing are not independent of each other."""


def read_items(file: Path) -> list[Item]:
    """The questions of a JSON Lines file; `ValueError` names the line that holds none."""
    items = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            items.append(Item.model_validate_json(line))
        except ValidationError as error:
            mistake = error.errors()[0]
            where = ".".join(str(part) for part in mistake["loc"])
            raise ValueError(f"{file.name}, line {number}: {where or 'the line'}: {mistake['msg']}.") from error
    return items


def write_items(file: Path, items: Sequence[Item]) -> None:
    """Write questions as JSON Lines that `read_items` reads."""
    lines = [json.dumps(item.model_dump(), ensure_ascii=False) for item in items]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """Which questions were answered rightly. The settings' arrays are `[items, layers, alphas]`, of bool."""

    layers: tuple[int, ...]
    alphas: tuple[float, ...]
    baseline_chose: np.ndarray
    """`[items]`: the likeliest right answer is likelier than every wrong one, by summed log-likelihood (MC1 where there
    is one right answer). True where nothing wrong is offered."""
    baseline_said: np.ndarray
    """`[items]`: greedy decoding begins with a right answer, as whole words."""
    dola_chose: np.ndarray
    dola_said: np.ndarray


@dataclass(frozen=True)
class _Continuation:
    """One answer to one question: `ids` are the prompt's and then, from `start` on, the answer's."""

    item: int
    right: bool
    ids: list[int]
    start: int


def search(
    loaded: LoadedModel,
    items: Sequence[Item],
    layers: Sequence[int],
    alphas: Sequence[float],
    *,
    early_norm: bool = True,
) -> Outcome:
    """Answer every item by the baseline and by DoLa-static at every (layer, α).

    Scores are sums of `log q_N`, or of `log p_hat` with `OUTSIDE` for tokens that the head excludes. Memory grows with
    the batch and the head, not with layers × vocabulary.
    """
    layers, alphas = tuple(layers), tuple(alphas)
    continuations = sorted(
        (c for number, item in enumerate(items) for c in _continuations(loaded, number, item)), key=lambda c: len(c.ids)
    )
    shape = (len(items), len(layers), len(alphas))
    best_right, best_wrong = (np.full((len(items), 1 + len(layers) * len(alphas)), -np.inf) for _ in range(2))
    said = np.zeros_like(best_right, dtype=bool)
    goes_on = _goes_on(loaded)
    for batch in _batches(continuations):
        for continuation, (scores, whole) in zip(
            batch, _score(loaded, batch, layers, alphas, goes_on, early_norm=early_norm), strict=True
        ):
            best = best_right if continuation.right else best_wrong
            best[continuation.item] = np.maximum(best[continuation.item], scores)
            if continuation.right:
                said[continuation.item] |= whole
    chose = best_right > best_wrong
    return Outcome(layers, alphas, chose[:, 0], said[:, 0], chose[:, 1:].reshape(shape), said[:, 1:].reshape(shape))


def _continuations(loaded: LoadedModel, number: int, item: Item) -> Iterator[_Continuation]:
    prompt = loaded.encode(item.prompt)
    for right, texts in ((True, item.answers), (False, item.wrong)):
        for text in texts:
            ids = loaded.encode(f"{item.prompt} {text}")
            if ids[: len(prompt)] != prompt:  # the tokenizer merges across the border: put the parts together
                ids = prompt + list(loaded.tokenizer(f" {text}", add_special_tokens=False)["input_ids"])
            yield _Continuation(number, right, ids, len(prompt))


def _batches(continuations: list[_Continuation]) -> Iterator[list[_Continuation]]:
    """Neighbours in length, as many as fit into `BATCH_TOKENS`."""
    batch: list[_Continuation] = []
    for continuation in continuations:
        if batch and len(continuation.ids) * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(continuation)
    if batch:
        yield batch


def _goes_on(loaded: LoadedModel) -> Tensor:
    """Bool `[V]`: the token would go on with the word before it, be it by a hyphen or with a part of a letter."""
    pieces = [loaded.piece(token) for token in range(len(loaded.tokenizer))]
    special = set(loaded.tokenizer.all_special_ids)
    parts = ("<0x", "-", "/")
    goes_on = [
        token not in special and (piece[:1].isalnum() or piece.startswith(parts)) for token, piece in enumerate(pieces)
    ]
    return torch.tensor(goes_on + [False] * (loaded.readout.vocab_size - len(goes_on)))


@torch.inference_mode()
def _score(
    loaded: LoadedModel,
    batch: list[_Continuation],
    layers: tuple[int, ...],
    alphas: tuple[float, ...],
    goes_on: Tensor,
    *,
    early_norm: bool,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each continuation its scores and whether greedy decoding says it; both `[1 + layers × alphas]`."""
    readout = loaded.readout
    device = readout.phi.weight.device
    width = max(len(c.ids) for c in batch)
    ids = torch.tensor([c.ids + [0] * (width - len(c.ids)) for c in batch], device=device)
    # A position predicts the next token: an answer's from the one before its first to its last, which predicts what
    # follows it. Padding on the right is never looked at.
    rows = torch.tensor([row for row, c in enumerate(batch) for _ in range(c.start - 1, len(c.ids))])
    places = torch.tensor([place for c in batch for place in range(c.start - 1, len(c.ids))])
    targets = torch.tensor([token for c in batch for token in [*c.ids[c.start :], -1]])
    last = targets == -1
    with readout.capture([*layers, readout.n_layers], pick=lambda h: h[rows.to(h.device), places.to(h.device)]) as h:
        readout.decoder(input_ids=ids, use_cache=False)
    log_q_N = log_softmax(readout.logits(h[readout.n_layers])).cpu()
    # The head at the smallest α holds every other head, so all settings are worked out on its tokens only: [M, K].
    size = int(plausible_head(log_q_N, min(alphas)).sum(-1).max())
    log_q, tokens = log_q_N.topk(size)
    target_in_head = tokens == targets[:, None]
    goes_on = goes_on[tokens]

    def outcome(scores: Tensor, log_target: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihood of each target and whether it is the greedy choice, `[M]`; at the last place: a word ends."""
        choice = scores.argmax(-1, keepdim=True)
        follows = torch.where(last, ~goes_on.gather(-1, choice)[:, 0], target_in_head.gather(-1, choice)[:, 0])
        return torch.where(last, 0.0, log_target), follows

    found = [outcome(log_q, log_q_N.gather(-1, targets.clamp_min(0)[:, None])[:, 0])]
    for layer in layers:
        log_q_J = log_softmax(readout.logits(h[layer], early_norm=early_norm)).cpu().gather(-1, tokens)
        for alpha in alphas:
            log_p = torch.where(plausible_head(log_q, alpha), log_q - log_q_J, -torch.inf).log_softmax(-1)
            log_target = torch.where(target_in_head, log_p, -torch.inf).amax(-1).clamp_min(OUTSIDE)
            found.append(outcome(log_p, log_target))
    scores, follows = (torch.stack(part, dim=1) for part in zip(*found, strict=True))
    sums = torch.zeros(len(batch), scores.shape[1], dtype=torch.float64).index_add_(0, rows, scores.double())
    misses = torch.zeros(len(batch), scores.shape[1]).index_add_(0, rows, (~follows).float())
    return list(zip(sums.numpy(), (misses == 0).numpy(), strict=True))
