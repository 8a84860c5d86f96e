"""Score answers by any lanes beside the grid of layers and α, from the same read-outs.

A lane is scored on the tokens of the largest plausible head alone, which is all that its interface asks for.
M positions, V tokens of the vocabulary, K tokens of the largest plausible head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dola_core.contrast import closeness
from dola_core.lanes import Lane
from dola_core.layer_search.answers.plausible_heads import OUTSIDE, PlausibleHeads, PostSoftmax


class LaneScores:
    """Takes the read-outs of one layer after the other, and then scores the targets with every lane."""

    def __init__(self, lanes: Sequence[Lane], log_q_N: Tensor, targets: Tensor) -> None:
        """For `lanes` with a plausible head, fitted to the model; `log_q_N` `[M, V]`, `targets` `[M]` as in
        `PlausibleHeads.of`."""
        self.lanes, self.log_q_N, self.targets = lanes, log_q_N, targets
        self.heads = PlausibleHeads.of(log_q_N, targets, [min(lane.least_share for lane in lanes)])
        self.layers = sorted({layer for lane in lanes for layer in lane.reads})
        """The layers that the lanes read."""
        self._chosen_among = {layer for lane in lanes if lane.chooses_layer for layer in lane.reads}
        self._log_q: dict[int, Tensor] = {}
        self._closeness: dict[int, Tensor] = {}

    def add(self, layer: int, log_q: Tensor) -> None:
        """Take a layer's log-probabilities `[M, V]`; nothing of one that no lane reads."""
        if layer in self.layers:
            self._log_q[layer] = log_q.gather(-1, self.heads.tokens)
        if layer in self._chosen_among:
            self._closeness[layer] = closeness(self.log_q_N, log_q)

    def score(self, continues_word: Tensor, post_softmax: PostSoftmax) -> tuple[Tensor, Tensor]:
        """Scores of the targets, and whether they are the greedy choice: `[M, lanes]`, bool `[M, lanes]`.

        As in `PlausibleHeads.score`: `OUTSIDE` where a target is cut, and a target of −1 counts as chosen if the greedy
        choice does not continue a word.
        """
        heads, columns = self.heads, []
        for lane in self.lanes:
            close = torch.stack([self._closeness[layer] for layer in lane.reads]) if lane.chooses_layer else None
            F = lane.scores(heads.log_q, torch.stack([self._log_q[layer] for layer in lane.reads]), close)
            of_target = F.gather(-1, heads.target_index)[:, 0]
            inside = heads.inside[:, 0] & (of_target > -torch.inf)
            norm = F.double().logsumexp(-1).float() if post_softmax == "head" else torch.zeros_like(of_target)
            # The greedy choice has the largest F and, among equals, the lowest id.
            best = torch.where(F.amax(-1, keepdim=True) == F, heads.tokens, torch.iinfo(heads.tokens.dtype).max).amin(
                -1
            )
            chosen = torch.where(heads.answer_end, ~continues_word[best], best == self.targets)
            columns.append((torch.where(inside, of_target - norm, OUTSIDE), chosen))
        scores, chosen_by = (torch.stack(part, -1) for part in zip(*columns, strict=True))
        return scores, chosen_by
