"""The plausible head of one recorded step, as numbers."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from dola_core.contrast import plausible_head
from dola_core.lanes import DecodingConfig, DolaStatic, lane_scores
from dola_core.trace.step import Step


@dataclass(frozen=True)
class PlausibleHead:
    """The plausible head of a step for one (j*, α). Arrays are `[K]`: one entry per recorded token, in their order."""

    tokens: np.ndarray
    """Token ids, the most probable first."""
    q_N: np.ndarray
    q_J: np.ndarray
    F: np.ndarray
    """`log q_N − log q_j*` in nats, also of cut tokens; for kept ones with a penalty that follows the contrast."""
    p_hat: np.ndarray
    """`softmax(F)` over the plausible head; 0 outside."""
    kept: np.ndarray
    """Whether the token is in the plausible head."""
    threshold: float
    """α · max q_N"""
    complete: bool
    """Whether the whole plausible head was recorded for this α."""

    @classmethod
    def of(cls, step: Step, layer: int, alpha: float, decoding: DecodingConfig) -> Self:
        """Read the plausible head of `step` for layer 1..N−1 and α, with the penalty where `decoding` puts it."""
        exact = torch.from_numpy(step.exact_log_q.copy())
        seen = torch.from_numpy(step.seen.astype(np.int64))[None]
        lane = DolaStatic(layer=layer, alpha=alpha)
        scores = lane_scores(lane, decoding, seen, exact[None, :, -1], exact[None, None, :, layer - 1])[0]
        rough = len(step.tokens) - len(scores)
        log_q = step.log_q_table
        F = log_q[:, -1] - log_q[:, layer - 1]
        kept = np.pad(plausible_head(exact[:, -1], alpha).numpy(), (0, rough))
        F[kept] = scores.numpy()[kept[: len(scores)]]
        q_N = np.exp(log_q[:, -1])
        return cls(
            tokens=step.tokens,
            q_N=q_N,
            q_J=np.exp(log_q[:, layer - 1]),
            F=F,
            p_hat=np.pad(scores.softmax(-1).numpy(), (0, rough)),
            kept=kept,
            threshold=alpha * float(q_N.max()),
            complete=alpha >= step.exact_alpha,
        )

    @property
    def size(self) -> int:
        """How many recorded tokens are in the plausible head."""
        return int(self.kept.sum())

    @property
    def mass(self) -> float:
        """The sum of their `q_N`."""
        return float(self.q_N[self.kept].sum())

    @property
    def climbed(self) -> np.ndarray:
        """`[K]`: by how many ranks within the plausible head a token rises from `q_N` to `p_hat`; 0 if cut."""
        places = np.flatnonzero(self.kept)
        after = np.argsort(np.argsort(-self.p_hat[places], kind="stable"), kind="stable")
        before = np.argsort(np.argsort(-self.q_N[places], kind="stable"), kind="stable")
        climbed = np.zeros(len(self.tokens), dtype=np.int64)
        climbed[places] = before - after
        return climbed
