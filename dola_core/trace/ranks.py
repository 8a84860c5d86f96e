"""Ranks of tokens in every layer: counted fast, and stored in one byte each."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

EXACT = 32
"""Ranks up to this one are stored as they are."""
MOST = 2**18
"""The largest rank that can be stored, beyond today's vocabularies; larger ones are stored as this."""
RATIO = (MOST / EXACT) ** (1 / (255 - (EXACT - 1)))
"""Ratio of two neighbouring stored ranks beyond `EXACT`: 1.041, so a decoded rank is within 3 %."""


def ranks_of(log_q: Tensor, ids: Tensor, scratch: Tensor | None = None) -> Tensor:
    """Rank of each of `ids` `[rows, K]` in every layer: `log_q` `[N, rows, V]` → int64 `[K, N, rows]`.

    1 is the most probable token; equally probable tokens share the best of their ranks. `scratch` is a tensor shaped
    like `log_q` to work in.
    """
    own = log_q.gather(-1, ids.expand(len(log_q), *ids.shape))
    above = torch.empty_like(log_q) if scratch is None else scratch
    ranks = torch.empty(ids.shape[-1], *log_q.shape[:-1], device=log_q.device)
    for place, rank in enumerate(ranks):
        # Comparing into floats and adding those up takes a quarter of the time of counting booleans; a float32
        # counts exactly up to 2^24.
        torch.gt(log_q, own[..., place, None], out=above)
        torch.sum(above, -1, out=rank)
    return ranks.long() + 1


def best_tokens(log_q: Tensor) -> Tensor:
    """The most probable token, of equals the lowest: `[..., V]` → int64 `[...]`."""
    if log_q.device.type != "cpu":
        return log_q.argmax(-1)
    return torch.from_numpy(log_q.numpy().argmax(-1))  # a quarter of the time that torch takes


def encode_ranks(ranks: np.ndarray) -> np.ndarray:
    """Ranks ≥ 1 as one byte each: exact up to `EXACT`, beyond it the nearest member of a geometric series."""
    return _codes()[np.clip(ranks, 1, MOST)]


@cache
def _codes() -> np.ndarray:
    """The byte of every rank up to `MOST`, as a table: looking it up is faster than a logarithm at every step."""
    ranks = np.arange(MOST + 1)
    beyond = np.rint(np.log(np.maximum(ranks, EXACT) / EXACT) / np.log(RATIO))
    return np.where(ranks <= EXACT, ranks - 1, EXACT - 1 + beyond).astype(np.uint8)


def decode_ranks(codes: np.ndarray) -> np.ndarray:
    """The ranks, int64, that `encode_ranks` was given, rounded as it stores them."""
    codes = codes.astype(np.int64)
    beyond = np.rint(EXACT * RATIO ** np.maximum(codes - (EXACT - 1), 0)).astype(np.int64)
    return np.where(codes < EXACT, codes + 1, beyond)
