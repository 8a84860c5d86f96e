"""Token scores at every α from one pass: the plausible heads of all α are prefixes of the largest one.

M positions, V tokens of the vocabulary, K tokens of the largest plausible head, A values of α.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dola_core.contrast import plausible_head

OUTSIDE = -1000.0
"""Score of a token outside the plausible head, as in the paper (section 3.2); with −∞ all such answers would tie."""

PostSoftmax = Literal["head", "vocabulary", "off"]
"""What `F` is normalised over: the plausible head, the whole vocabulary, or nothing."""


def score_without_head(
    F: Tensor, targets: Tensor, continues_word: Tensor, norm: Tensor | None, post_softmax: PostSoftmax
) -> tuple[Tensor, Tensor]:
    """Score the targets where every token of the vocabulary is plausible (α = 0, or no constraint).

    Arguments and results as of `PlausibleHeads.score`, with A = 1; `F` `[M, V]`.
    """
    score = F.gather(-1, targets.clamp_min(0)[:, None])
    choice = F.argmax(-1)
    chosen = torch.where(targets == -1, ~continues_word[choice], choice == targets)[:, None]
    return score if post_softmax == "off" or norm is None else score - norm, chosen


@dataclass(frozen=True)
class PlausibleHeads:
    """The plausible heads of several α at M positions, to score one target token of each position at every α.

    Sorted by `q_N`, the plausible head of each α is a prefix of the largest. So the tokens are sorted once for all
    layers, and each layer needs one cumulative maximum and sum over K tokens, not A passes over the vocabulary.
    """

    tokens: Tensor
    """`[M, K]`: ids, the most probable first."""
    log_q: Tensor
    """`[M, K]`: their `log q_N`."""
    sizes: Tensor
    """`[M, A]`: how many of the tokens are in the plausible head of each α."""
    target_index: Tensor
    """`[M, 1]`: index of the target in `tokens`; 0 if it is not there."""
    inside: Tensor
    """Bool `[M, A]`: the target is in the plausible head."""
    lower: Tensor
    """Bool `[M, K]`: the token has a lower id than the target."""
    answer_end: Tensor
    """Bool `[M]`: the target is −1, the end of an answer."""

    @classmethod
    def of(cls, log_q_N: Tensor, targets: Tensor, alphas: Sequence[float]) -> "PlausibleHeads":
        """The heads of `log_q_N` `[M, V]` at `alphas`; without any, heads of one token that are not to be used.

        `targets` `[M]` are token ids, −1 for the position behind an answer.
        """
        used = alphas or (1.0,)
        log_q, tokens = log_q_N.topk(int(plausible_head(log_q_N, min(used)).sum(-1).max()))
        sizes = torch.stack([plausible_head(log_q, alpha).sum(-1) for alpha in used], -1)
        present, index = (tokens == targets[:, None]).max(-1)
        inside = present[:, None] & (index[:, None] < sizes)
        return cls(tokens, log_q, sizes, index[:, None], inside, tokens < targets[:, None], targets == -1)

    def score(
        self, log_q_J: Tensor, continues_word: Tensor, norm: Tensor | None, post_softmax: PostSoftmax
    ) -> tuple[Tensor, Tensor]:
        """Score the targets with a contrast layer, and compare them with the greedy choice.

        Args:
            log_q_J: `[M, V]`, the contrast layer's log-probabilities.
            continues_word: bool `[V]`, the token continues a word instead of beginning one.
            norm: `[M, 1]`, log-sum-exp of F over the vocabulary; needed for "vocabulary".
            post_softmax: what F is normalised over.

        Returns:
            Scores of the targets `[M, A]`, `OUTSIDE` where they are cut; and bool `[M, A]`, whether the target
            is the greedy choice. A target of −1 counts as chosen if the greedy choice does not continue a word.
        """
        F = self.log_q - log_q_J.gather(-1, self.tokens)
        F_target = F.gather(-1, self.target_index)
        if post_softmax == "head":
            norm = F.double().logcumsumexp(-1).gather(-1, self.sizes - 1).float()
        elif post_softmax == "off" or norm is None:
            norm = torch.zeros_like(F_target)
        top = F.cummax(-1).values.gather(-1, self.sizes - 1)
        # The greedy choice has the largest F in the plausible head and, among equals, the lowest id.
        tied, first_tied = (self.lower & (F_target == F)).max(-1)
        chosen = self.inside & (F_target == top) & ~(tied[:, None] & (first_tied[:, None] < self.sizes))
        chosen[self.answer_end] = ~continues_word[self._greedy_choices(F[self.answer_end], top[self.answer_end])]
        return torch.where(self.inside, F_target - norm, OUTSIDE), chosen

    def _greedy_choices(self, F: Tensor, top: Tensor) -> Tensor:
        """The greedy choice at each α at the `E` positions behind answers: `[E, K]`, `[E, A]` → `[E, A]`."""
        tokens, sizes = self.tokens[self.answer_end], self.sizes[self.answer_end]
        index, no_token = torch.arange(F.shape[-1], device=F.device)[None, :], torch.iinfo(tokens.dtype).max
        columns = [
            torch.where((top[:, [n]] == F) & (index < sizes[:, [n]]), tokens, no_token).amin(-1)
            for n in range(sizes.shape[-1])
        ]
        return torch.stack(columns, -1)
