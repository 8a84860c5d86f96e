"""What the trace keeps of one step: the tensors of a forward pass in, a `Step` for each row out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from dola_core.contrast import LN_2, entropy, layer_entropies, layer_statistics, plausible_head
from dola_core.models.reading.workspace import Workspace
from dola_core.trace.ranks import best_tokens, encode_ranks, ranks_of
from dola_core.trace.step import ALPHA_MIN, NO_FLOATS, Choice, Step

SHOWN = 15
"""Tokens that a step records even if its plausible head is smaller, so that a chart can show some that were cut."""
MOST_EXACT = 64
"""The most tokens that a step with a flat distribution records exactly."""
MOST_RANK = 65535
"""The largest rank that two bytes hold; larger ones are stored as this."""
CHUNK_LOGITS = 1 << 20
"""Logits that are compared at a time: 4 MB in float32, and as much to work in; half as many for the statistics."""
LEAST_LOG_Q = -60_000.0
"""What is recorded for the log-probability of a token that is impossible; a two-byte float holds it."""
MEAN_COST, LEAST_COST = 14, 12
"""Budget of a step, on average over a trace and at least. An exact token costs 2, a rough one 1."""
FREE_BUDGET = 1024
"""Budget that every trace has, however short."""


NO_LAYERS: Mapping[int, Sequence[int]] = MappingProxyType({})


class Allowance:
    """Divides the size of a trace among its steps: how many tokens each may record.

    A step with many plausible tokens may take up to `MOST_EXACT`, from what steps with few of them leave over.
    """

    def __init__(self, steps: int) -> None:
        """For so many steps."""
        self.steps, self.left = steps, max(MEAN_COST * steps, FREE_BUDGET)

    def take(self, head_size: int) -> tuple[int, int]:
        """How many tokens the next step records exactly and roughly, if `head_size` are plausible at `ALPHA_MIN`."""
        self.steps -= 1
        spare = max(self.left - LEAST_COST * max(self.steps, 0), LEAST_COST)
        exact = min(head_size, MOST_EXACT, spare // 2)
        rough = min(max(SHOWN - exact, 0), spare - 2 * exact)
        self.left -= 2 * exact + rough
        return exact, rough


@dataclass(frozen=True)
class RowLanes:
    """Which lanes' text a row of the batch is."""

    lanes: tuple[int, ...]
    taken: tuple[int, ...]
    """The token with which each of `lanes` goes on."""


@torch.inference_mode()
def record_steps(
    index: int,
    rows: Sequence[RowLanes],
    allowance: Allowance,
    *,
    choices: Tensor,
    scores: Tensor,
    log_q: Tensor,
    ids: Tensor,
    noise: Tensor | None,
    reading: int = 0,
    contrasted: Mapping[int, Sequence[int]] = NO_LAYERS,
    closeness: Tensor | None = None,
    log_q_0: Tensor | None = None,
    workspace: Workspace | None = None,
) -> tuple[Step, ...]:
    """Reduce one step to what the trace keeps of each row.

    Args:
        index: generated position, from 0.
        rows: the lanes of each distinct text.
        allowance: how many tokens may be recorded.
        choices: the token that every lane chooses on every row, `[rows, lanes]`.
        scores: the scores it chose by, `[rows, lanes, V]`; their softmax is the lane's distribution.
        log_q: log-probabilities of all layers, the last as the contrast used it, `[N, rows, V]`.
        ids: tokens so far `[rows, T]`.
        noise: Gumbel noise `[V]` or None.
        reading: which of the trace's readings `log_q` is.
        contrasted: {lane that chooses a layer: the layer that it contrasts with on each row}.
        closeness: of the layers 0 … N−1 to the last, `[N, rows]`, by which lanes chose a layer; None if none did. The
            record then has that of the layers 1 … N−1 all the same, so that a what-if can choose one.
        log_q_0: log-probabilities of the embeddings, `[rows, V]`, if a lane reads them.
        workspace: memory to work in, for callers that record many steps.
    """
    choices, lane_log_p, log_q_N = choices.cpu(), scores.log_softmax(-1), log_q[-1]
    best = log_q_N.topk(min(MOST_EXACT + 1, log_q_N.shape[-1]))
    kept = [
        _keep(rows[row], allowance, size, best.indices[row].tolist(), best.values[row].tolist(), choices[row].tolist())
        # Of a larger head, it is enough to know that not all of it can be kept.
        for row, size in enumerate(plausible_head(best.values, ALPHA_MIN).sum(-1).tolist())
    ]
    most = max(len(one.ranked) for one in kept)
    padded = torch.tensor([one.ranked + [0] * (most - len(one.ranked)) for one in kept], device=log_q.device)
    ranks, layer_entropy, close, top_ids, top_p = _by_layer(log_q, padded, closeness, workspace or Workspace())
    jsd = np.clip(LN_2 - close, 0, LN_2)
    close = np.roll(close, 1, axis=0) if closeness is None else closeness.cpu().numpy()
    if closeness is None:
        close[0] = 0  # of the embeddings, which no lane reads
    p = lane_log_p.gather(-1, choices[..., None].to(log_q.device))[..., 0].exp().clamp(0, 1).tolist()
    own_entropy = entropy(lane_log_p).clamp_min(0).tolist()
    seen_ids = [set(row) for row in ids.tolist()]
    steps = []
    for row, one in enumerate(kept):
        table = log_q[:, row, one.tokens].T.clamp_min(LEAST_LOG_Q).cpu().numpy()
        chosen = choices[row].tolist()
        layers = [contrasted[lane][row] if lane in contrasted else None for lane in range(len(chosen))]
        chosen_ranks = ranks[[one.ranked.index(token) for token in chosen], :, row]  # [lanes, N]
        columns = zip(chosen, p[row], chosen_ranks[:, -1].tolist(), own_entropy[row], layers, strict=True)
        exact = one.tokens[: one.exact]
        steps.append(
            Step(
                index=index,
                reading=reading,
                lanes=rows[row].lanes,
                taken=rows[row].taken,
                choices=tuple(
                    Choice(id=i, p=_short(q), rank=rank, entropy=_short(e), layer=layer)
                    for i, q, rank, e, layer in columns
                ),
                exact_alpha=one.exact_alpha,
                tokens=np.array(one.tokens),
                log_q=table[: one.exact],
                rough_log_q=table[one.exact :],
                seen=np.array([place for place, token in enumerate(exact) if token in seen_ids[row]]),
                noise=np.empty(0) if noise is None else noise[exact].cpu().numpy(),
                top_ids=top_ids[:, row],
                top_p=top_p[:, row],
                jsd=jsd[:, row],
                layer_entropy=layer_entropy[:, row],
                ranks=np.minimum(chosen_ranks, MOST_RANK),
                shown_ranks=encode_ranks(ranks[: min(SHOWN, len(one.tokens)), :, row]),
                embedding_log_q=NO_FLOATS if log_q_0 is None else log_q_0[row, exact].cpu().numpy(),
                closeness=close[:, row],
            )
        )
    return tuple(steps)


@dataclass(frozen=True)
class _Kept:
    """Which tokens of a row are recorded, and how."""

    exact: int
    """How many of `tokens`, from the first, are recorded to the last bit."""
    exact_alpha: float
    tokens: list[int]
    ranked: list[int]
    """Tokens whose rank is recorded for every layer: the first `SHOWN` of `tokens`, and every lane's choice."""


def _keep(
    row: RowLanes, allowance: Allowance, head_size: int, best: list[int], log_q: list[float], choices: list[int]
) -> _Kept:
    """Choose the tokens to record of a row whose most probable ones are `best`, with log-probabilities `log_q`.

    Tokens that the model's settings rule out are left out, unless a lane was given one.
    """
    best = [token for token, number in zip(best, log_q, strict=True) if number > -math.inf]
    exact, rough = allowance.take(head_size)
    exact_alpha = ALPHA_MIN
    if head_size > exact:  # just above this ratio, the plausible head still leaves out the first token not kept
        exact_alpha = math.exp(log_q[exact] - log_q[0]) * (1 + 1e-5) + 1e-7
    tokens = list(dict.fromkeys([*best[: exact + rough], *choices, *row.taken]))
    return _Kept(exact, exact_alpha, tokens, list(dict.fromkeys([*tokens[:SHOWN], *choices])))


def _by_layer(log_q: Tensor, ids: Tensor, closeness: Tensor | None, workspace: Workspace) -> list[np.ndarray]:
    """The statistics of every layer, a few layers at a time.

    Returns the ranks of `ids` `[rows, K]` as `[K, N, rows]`, and as `[N, rows]` the entropy, the closeness to the last
    layer, the most probable token and its probability. `closeness` `[N, rows]`, of the layers 0 … N−1, is not computed
    again.
    """
    some = max(1, CHUNK_LOGITS // log_q[0].numel())
    above = workspace.like("one", log_q[:some])
    ranks = torch.cat([ranks_of(layers, ids, above[: len(layers)]) for layers in log_q.split(some)], dim=1)
    few = log_q[: max(1, some // 2)]
    scratch = workspace.like("one", few), workspace.like("other", few), workspace.like("third", few)
    if closeness is None:
        layer_entropy, close = layer_statistics(log_q, log_q[-1], scratch)
    else:
        layer_entropy = layer_entropies(log_q, scratch)
        close = torch.cat([closeness[1:], layer_statistics(log_q[-1:], log_q[-1], scratch)[1]])
    best = best_tokens(log_q)
    top_p = log_q.gather(-1, best[..., None])[..., 0].exp()
    return [part.cpu().numpy() for part in (ranks, layer_entropy, close, best, top_p)]


def _short(number: float) -> float:
    """Rounded to four significant digits, more than a reader sees, which take a quarter of the characters in JSON."""
    return float(f"{number:.4g}")
