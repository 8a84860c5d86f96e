"""What a token is worth at every α, from one pass over the largest head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dola_core.contrast import plausible_head

OUTSIDE = -1000.0
"""Log-probability of a token outside the head, as in the paper (section 3.2); −∞ would make all such answers equal."""

PostSoftmax = Literal["head", "vocabulary", "off"]


def open_outcome(
    F: Tensor, targets: Tensor, goes_on: Tensor, norm: Tensor | None, post_softmax: PostSoftmax
) -> tuple[Tensor, Tensor]:
    """Scores and whether the targets are chosen, both `[M, 1]`, where `F` `[M, V]` counts everywhere."""
    score = F.gather(-1, targets.clamp_min(0)[:, None])
    choice = F.argmax(-1)
    chosen = torch.where(targets == -1, ~goes_on[choice], choice == targets)[:, None]
    return score if post_softmax == "off" or norm is None else score - norm, chosen


@dataclass(frozen=True)
class Heads:
    """The heads of some α at some positions. Sorted by q_N, each is the beginning of the largest, so one pass serves
    all of them. M positions, K tokens of the largest head, A values of α."""

    tokens: Tensor
    """`[M, K]`, the most probable first."""
    log_q: Tensor
    """`[M, K]` their `log q_N`."""
    sizes: Tensor
    """`[M, A]`"""
    places: Tensor
    """`[M, 1]`: where the target stands among `tokens`."""
    inside: Tensor
    """Bool `[M, A]`: the target is in the head."""
    lower: Tensor
    """Bool `[M, K]`: the token has a lower id than the target."""
    last: Tensor
    """Bool `[M]`: the target stands for what follows an answer."""

    @classmethod
    def of(cls, log_q_N: Tensor, targets: Tensor, alphas: Sequence[float]) -> "Heads":
        """The heads of `log_q_N` `[M, V]`; of no α a head of one token that nobody asks about."""
        some = alphas or (1.0,)
        log_q, tokens = log_q_N.topk(int(plausible_head(log_q_N, min(some)).sum(-1).max()))
        sizes = torch.stack([plausible_head(log_q, alpha).sum(-1) for alpha in some], -1)
        found, places = (tokens == targets[:, None]).max(-1)
        inside = found[:, None] & (places[:, None] < sizes)
        return cls(tokens, log_q, sizes, places[:, None], inside, tokens < targets[:, None], targets == -1)

    def outcome(
        self, log_q_J: Tensor, goes_on: Tensor, norm: Tensor | None, post_softmax: PostSoftmax
    ) -> tuple[Tensor, Tensor]:
        """Scores of the targets and whether they are chosen, both `[M, A]`."""
        F = self.log_q - log_q_J.gather(-1, self.tokens)
        F_target = F.gather(-1, self.places)
        if post_softmax == "head":
            norm = F.double().logcumsumexp(-1).gather(-1, self.sizes - 1).float()
        elif post_softmax == "off" or norm is None:
            norm = torch.zeros_like(F_target)
        top = F.cummax(-1).values.gather(-1, self.sizes - 1)
        # The target is chosen if nothing in the head is above it, and of its equals it has the lowest id.
        tied, first = (self.lower & (F_target == F)).max(-1)
        chosen = self.inside & (F_target == top) & ~(tied[:, None] & (first[:, None] < self.sizes))
        chosen[self.last] = ~goes_on[self._choices(F[self.last], top[self.last])]
        return torch.where(self.inside, F_target - norm, OUTSIDE), chosen

    def _choices(self, F: Tensor, top: Tensor) -> Tensor:
        """The token that each head chooses at the last places: of those with its largest F the lowest id."""
        tokens, sizes = self.tokens[self.last], self.sizes[self.last]
        place, nothing = torch.arange(F.shape[-1])[None, :], torch.iinfo(tokens.dtype).max
        columns = [
            torch.where((top[:, [n]] == F) & (place < sizes[:, [n]]), tokens, nothing).amin(-1)
            for n in range(sizes.shape[-1])
        ]
        return torch.stack(columns, -1)
