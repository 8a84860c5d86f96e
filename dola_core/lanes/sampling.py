"""From scores to a token: the penalty, the warpers and the noise that all lanes share.

The vocabulary is the last dimension, or any part of it that holds what can be chosen: the lock-step loop calls these
functions on the whole vocabulary, the what-if on the few tokens that a step recorded.
"""

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from dola_core.lanes.decoding_config import DecodingConfig


def apply_repetition_penalty(config: DecodingConfig, ids: Tensor, scores: Tensor) -> Tensor:
    """Penalise the tokens `ids` `[rows, T]` in `scores` `[rows, V]`, as `generate` does."""
    if config.repetition_penalty == 1.0 or ids.shape[-1] == 0:
        return scores
    return RepetitionPenaltyLogitsProcessor(config.repetition_penalty)(ids, scores)


def select_tokens(config: DecodingConfig, scores: Tensor, noise: Tensor | None) -> Tensor:
    """The token of each row: `[rows, V]` → `[rows]`; the lowest id among equal scores.

    With `noise` (standard Gumbel, `[V]`), `argmax(scores + noise)` is a draw from `softmax(scores)` (the Gumbel-max
    trick). Lanes that share the noise each draw from their own distribution, and agree wherever those agree.
    """
    if noise is None:
        return scores.argmax(-1)
    if not _cuts(config):
        return (scores / config.temperature + noise).argmax(-1)
    possible = scores > -torch.inf
    if len(scores) > 1 and not (possible == possible[0]).all():
        return torch.cat([select_tokens(config, row[None], noise) for row in scores])
    return _draw(config, scores, possible[0].nonzero()[:, 0], noise)


def _cuts(config: DecodingConfig) -> bool:
    """Whether a warper removes tokens, so that it may only see the tokens that are possible in a row."""
    return config.top_k > 0 or config.top_p < 1.0 or config.min_p > 0.0


def _draw(config: DecodingConfig, scores: Tensor, possible: Tensor, noise: Tensor) -> Tensor:
    """Draw for rows that have the same `possible` tokens `[P]`: `[rows, V]` → `[rows]`.

    The warpers see only the possible tokens, in the order of their ids. Their sort is not stable, so which of several
    equal scores they cut depends on the other entries; this way the what-if cuts the same as decoding did.
    """
    warped = scores[:, possible]
    for warper in _warpers(config):
        warped = warper(None, warped)
    return possible[(warped + noise[possible]).argmax(-1)]


def gumbel_noise(config: DecodingConfig, position: int, vocab_size: int) -> Tensor | None:
    """The Gumbel noise that all lanes share at `position`: `[V]`, float32, on the CPU; None for greedy decoding.

    Positions count tokens from the first one of the prompt. The generator is counter-based (Philox), so the noise
    depends on seed and position alone, and a text that is taken up again in the middle continues as before.
    """
    if not config.samples:
        return None
    generator = np.random.Generator(np.random.Philox(key=config.seed, counter=[0, 0, 0, position]))
    return torch.from_numpy(generator.gumbel(size=vocab_size).astype(np.float32))


def _warpers(config: DecodingConfig) -> list[LogitsProcessor]:
    """The warpers in the order in which `generate` runs them."""
    warpers: list[LogitsProcessor] = []
    if config.temperature != 1.0:
        warpers.append(TemperatureLogitsWarper(config.temperature))
    if config.top_k > 0:
        warpers.append(TopKLogitsWarper(config.top_k))
    if config.top_p < 1.0:
        warpers.append(TopPLogitsWarper(config.top_p))
    if config.min_p > 0.0:
        warpers.append(MinPLogitsWarper(config.min_p))
    return warpers
