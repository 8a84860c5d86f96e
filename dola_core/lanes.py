"""Lanes: decoders as data plus a chooser (scores in, token out).

A lane never sees the model. These functions take log-probabilities of the last and the contrast layer and the ids so
far, and return scores and a token. The vocabulary is the last dimension, or any part of it that holds the plausible
head: the lock-step loop calls them on the whole vocabulary, the what-if on the few tokens that a step recorded.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from dola_core.contrast import check_alpha, log_ratio

PenaltyPosition = Literal["before", "after"]
"""Where a repetition penalty acts: on the mature logits before the contrast, or on `F` after it."""
MAX_SEED = 2**32 - 1
MIN_PENALTY, MAX_PENALTY = 0.1, 10.0


class Lane(BaseModel):
    """One decoder: the baseline (`layer` None) or DoLa-static with its (j*, α)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=100)
    layer: int | None = Field(None, strict=True, ge=1)
    alpha: Annotated[float, BeforeValidator(check_alpha)] = 0.1


class DecodingConfig(BaseModel):
    """How all lanes of a comparison decode; it is the same for each, so that only the contrast differs.

    Sampling, beams, penalty and length are as said here, whatever the model's own `generation_config` starts with. What
    that forbids or forces, such as tokens to suppress, holds in every lane.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(48, ge=1, le=4096)
    early_norm: bool = True
    penalty_position: PenaltyPosition = "before"
    repetition_penalty: float = Field(1.0, ge=MIN_PENALTY, le=MAX_PENALTY, allow_inf_nan=False)
    """1 is none, also for a model whose own generation config brings one."""
    temperature: float = Field(0.0, ge=0.0, le=10.0, allow_inf_nan=False)
    """0 decodes greedily."""
    top_k: int = Field(0, ge=0)
    """0 keeps every token."""
    top_p: float = Field(1.0, gt=0.0, le=1.0, allow_inf_nan=False)
    min_p: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False)
    """Keeps tokens at least this times as probable as the most probable one; 0 keeps every token."""
    num_beams: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], FailFast(), Field(max_length=8)
    ] = ()
    """A lane ends when its new text contains one of these."""

    @model_validator(mode="after")
    def _beams_do_not_sample(self) -> "DecodingConfig":
        if self.num_beams > 1 and self.samples:
            # A type of its own, so that a page can say it in another language.
            raise PydanticCustomError(
                "beams_sample", "Beam search does not sample; set temperature to 0 or use one beam."
            )
        return self

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn rather than the best one taken."""
        return self.temperature > 0


def apply_repetition_penalty(config: DecodingConfig, ids: Tensor, scores: Tensor) -> Tensor:
    """Penalise the tokens `ids` `[rows, T]` in `scores` `[rows, V]`, as `generate` does."""
    if config.repetition_penalty == 1.0 or ids.shape[-1] == 0:
        return scores
    return RepetitionPenaltyLogitsProcessor(config.repetition_penalty)(ids, scores)


def contrast_scores(lane: Lane, config: DecodingConfig, ids: Tensor, log_q_N: Tensor, log_q_J: Tensor) -> Tensor:
    """`F` of a DoLa lane, penalised if the penalty comes after the contrast; `[rows, V]` → `[rows, V]`.

    `F` is not normalised: a constant changes neither the greedy choice nor a draw, and the penalty "after" acts on `F`
    itself. `ids` `[rows, T]` are the tokens so far, as indices into the last dimension.
    """
    F = log_ratio(log_q_N, log_q_J, lane.alpha)
    return apply_repetition_penalty(config, ids, F) if config.penalty_position == "after" else F


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
