"""Lanes: decoders as data plus a chooser (scores in, token out).

A lane never sees the model. It gets the mature logits, the log-probabilities of its contrast layer and the ids so
far, all as tensors with the vocabulary (or any subset of it that holds the head) last, and says what it would score
and choose. The lock-step decoder calls this on the whole vocabulary, the what-if on the few recorded tokens.
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


class Lane(BaseModel):
    """One decoder: the baseline (`layer` None) or DoLa-static with its (j*, α)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=100)
    layer: int | None = Field(None, strict=True, ge=1)
    alpha: Annotated[float, BeforeValidator(check_alpha)] = 0.1


class Decoding(BaseModel):
    """How every lane of a comparison decodes; the same for all, so that only the contrast differs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(48, ge=1, le=4096)
    early_norm: bool = True
    penalty_position: PenaltyPosition = "before"
    repetition_penalty: float = Field(1.0, ge=0.1, le=10.0, allow_inf_nan=False)
    temperature: float = Field(0.0, ge=0.0, le=10.0, allow_inf_nan=False)
    """0 is greedy decoding."""
    top_k: int = Field(0, ge=0)
    """0 keeps every token."""
    top_p: float = Field(1.0, gt=0.0, le=1.0, allow_inf_nan=False)
    min_p: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False)
    num_beams: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], FailFast(), Field(max_length=8)
    ] = ()
    """A lane ends when its new text contains one of these."""

    @model_validator(mode="after")
    def _beams_do_not_sample(self) -> "Decoding":
        if self.num_beams > 1 and self.samples:
            # A type of its own, by which a page in another language knows it.
            raise PydanticCustomError(
                "beams_sample", "Beam search does not sample; set temperature to 0 or use one beam."
            )
        return self

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn rather than the best one taken."""
        return self.temperature > 0


def penalised(decoding: Decoding, ids: Tensor, scores: Tensor) -> Tensor:
    """`scores` `[rows, V]` with the repetition penalty on `ids` `[rows, T]`, as `generate` applies it."""
    if decoding.repetition_penalty == 1.0 or ids.shape[-1] == 0:
        return scores
    return RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty)(ids, scores)


def dola_scores(lane: Lane, decoding: Decoding, ids: Tensor, log_q_N: Tensor, log_q_J: Tensor) -> Tensor:
    """`F` of a DoLa lane, penalised if the penalty comes after the contrast; `[rows, V]` → `[rows, V]`.

    Not normalised: greedy choice, Gumbel noise and the warpers do not see a constant, and the penalty "after" must
    see `F` itself. `ids` `[rows, T]` are the tokens so far, counted as the last dimension counts them.
    """
    F = log_ratio(log_q_N, log_q_J, lane.alpha)
    return penalised(decoding, ids, F) if decoding.penalty_position == "after" else F


def choose(decoding: Decoding, scores: Tensor, noise: Tensor | None) -> Tensor:
    """The token each row picks: `[rows, V]` → `[rows]`; the lowest id among equals.

    With `noise` (standard Gumbel `[V]`), `argmax(scores + noise)` is a draw from `softmax(scores)` (Gumbel-max), so
    every lane that gets the same noise draws from its own distribution and yet agrees with the others wherever the
    distributions do.
    """
    if noise is None:
        return scores.argmax(-1)
    if not _cuts(decoding):
        return (scores / decoding.temperature + noise).argmax(-1)
    possible = scores > -torch.inf
    if len(scores) > 1 and not (possible == possible[0]).all():
        return torch.cat([choose(decoding, row[None], noise) for row in scores])
    return _draw(decoding, scores, possible[0].nonzero()[:, 0], noise)


def _cuts(decoding: Decoding) -> bool:
    """Whether a warper takes tokens away, for which it has to see a row's possible tokens alone."""
    return decoding.top_k > 0 or decoding.top_p < 1.0 or decoding.min_p > 0.0


def _draw(decoding: Decoding, scores: Tensor, possible: Tensor, noise: Tensor) -> Tensor:
    """The draws of rows with the same `possible` tokens `[P]`: `[rows, V]` → `[rows]`.

    The warpers see only the tokens that are possible at all, in the order of their ids. They sort, and not stably, so
    among equal scores their cut depends on what else is there; this way the what-if cuts as the decoder did.
    """
    warped = scores[:, possible]
    for warper in _warpers(decoding):
        warped = warper(None, warped)
    return possible[(warped + noise[possible]).argmax(-1)]


def gumbel_noise(decoding: Decoding, position: int, vocab_size: int) -> Tensor | None:
    """The noise that all lanes share at `position`, counted in tokens from the prompt's first: `[V]`, float32, CPU.

    None when decoding greedily. Counter-based (Philox), so the noise of a position depends on seed and position alone,
    not on what was drawn before: a text that is taken up again in the middle goes on as it did.
    """
    if not decoding.samples:
        return None
    generator = np.random.Generator(np.random.Philox(key=decoding.seed, counter=[0, 0, 0, position]))
    return torch.from_numpy(generator.gumbel(size=vocab_size).astype(np.float32))


def _warpers(decoding: Decoding) -> list[LogitsProcessor]:
    """The warpers in the order in which `generate` runs them."""
    warpers: list[LogitsProcessor] = []
    if decoding.temperature != 1.0:
        warpers.append(TemperatureLogitsWarper(decoding.temperature))
    if decoding.top_k > 0:
        warpers.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1.0:
        warpers.append(TopPLogitsWarper(decoding.top_p))
    if decoding.min_p > 0.0:
        warpers.append(MinPLogitsWarper(decoding.min_p))
    return warpers
