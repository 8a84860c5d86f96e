"""The plausible head of one recorded step, as numbers."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dola_core.contrast import plausible_head
from dola_core.lanes import DecodingConfig, Lane, lane_scores
from dola_core.trace.step import Step


@dataclass(frozen=True)
class PlausibleHead:
    """The plausible head of a step for one lane. Arrays are `[K]`: one entry per recorded token, in their order."""

    tokens: np.ndarray
    """Token ids, the most probable first."""
    layer: int | None
    """The one layer that the lane contrasts with; None if there is none, or more than one."""
    q_N: np.ndarray
    q_J: np.ndarray | None
    """The probabilities of `layer`."""
    F: np.ndarray
    """The lane's scores in nats, such as `log q_N − log q_j*`, also of cut tokens; for kept ones with a penalty that
    follows the contrast. NaN where it is not known."""
    p_hat: np.ndarray
    """`softmax(F)` over the plausible head; 0 outside."""
    kept: np.ndarray
    """Whether the token is in the plausible head."""
    threshold: float
    """α · max q_N; 0 for a plain lane, which has no plausible head."""
    complete: bool
    """Whether the whole plausible head was recorded for this α."""

    @classmethod
    def of(cls, step: Step, lane: Lane, decoding: DecodingConfig) -> Self:
        """Read the plausible head of `step` for a lane that is fitted to the model."""
        exact, share = len(step.exact_log_q), lane.least_share
        log_q_N, log_q, close = _read(step, lane)
        seen = torch.from_numpy(step.seen.astype(np.int64))[None]
        # The numbers beyond `exact` are rounded: what the lane chose by is computed without them.
        scores = lane_scores(lane, decoding, seen, log_q_N[:, :exact], log_q[..., :exact], close)[0]
        in_head = plausible_head(log_q_N[0, :exact], share).numpy()
        kept = np.pad(in_head, (0, len(step.tokens) - exact))
        whole = lane.model_copy(update={"alpha": 0.0}) if hasattr(lane, "alpha") else lane
        F = whole.scores(log_q_N, log_q, close)[0].numpy().copy()
        F[~np.isfinite(F)] = np.nan
        F[kept] = scores.numpy()[in_head]
        layer = lane.reads[0] if len(lane.reads) == 1 else step.contrasted(lane) if lane.chooses_layer else None
        q_N = log_q_N[0].exp().numpy()
        return cls(
            tokens=step.tokens,
            layer=layer,
            q_N=q_N,
            q_J=None if layer is None else log_q[lane.reads.index(layer), 0].exp().numpy(),
            F=F,
            p_hat=np.pad(scores.softmax(-1).numpy(), (0, len(step.tokens) - exact)) if lane.reads else q_N,
            kept=kept,
            threshold=share * float(q_N.max()),
            complete=share >= step.exact_alpha,
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


def _read(step: Step, lane: Lane) -> tuple[Tensor, Tensor, Tensor | None]:
    """What a lane reads of a step: `log q_N` `[1, K]`, its layers `[L, 1, K]`, and their closeness if it needs that."""
    table = torch.from_numpy(step.log_q_table)
    rough = len(step.tokens) - len(step.embedding_log_q)
    embeddings = torch.from_numpy(np.pad(step.embedding_log_q, (0, rough), constant_values=np.nan))
    layers = [table[:, layer - 1] if layer else embeddings for layer in lane.reads]
    log_q = torch.stack(layers)[:, None] if layers else torch.empty(0, 1, len(table))
    close = torch.from_numpy(step.closeness[list(lane.reads), None]) if lane.chooses_layer else None
    return table[None, :, -1], log_q, close
