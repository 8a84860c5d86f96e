"""Recording a comparison: tensors of one step in, what the trace keeps out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dola_core.contrast import entropy, layer_statistics, plausible_head
from dola_core.lanes import Decoding, Lane
from dola_core.models.workspace import Workspace
from dola_core.trace.ranks import coded, ranks_of
from dola_core.trace.schema import ALPHA_MIN, Choice, EndReason, ModelInfo, Step, Trace, digest_of

SHOWN = 15
"""Tokens a step records if its head has no more: enough for a chart with the cut tokens in it."""
MOST = 64
"""Tokens a flat step may record exactly."""
MOST_RANK = 65535
"""What a rank in two bytes stands for at least."""
CHUNK_LOGITS = 1 << 20
"""Logits that are reduced at a time: 4 MB in float32, and twice that to work in."""
MEAN, LEAST = 16, 14
"""Cost of a step, on average over a trace and at least. An exactly recorded token costs 2, a rough one 1."""
ENOUGH = 1024
"""What any trace may cost, however short."""


class Recorder:
    """Collects the steps of a running comparison; `trace()` is what there is so far."""

    def __init__(
        self,
        model: ModelInfo,
        prompt: str,
        prompt_ids: Sequence[int],
        lanes: Sequence[Lane],
        decoding: Decoding,
    ) -> None:
        self.model, self.prompt, self.decoding = model, prompt, decoding
        self.prompt_ids, self.lanes = tuple(prompt_ids), tuple(lanes)
        self.steps: list[Step] = []
        self.ids: list[list[int]] = [[] for _ in lanes]
        self.ends: list[EndReason | None] = [None for _ in lanes]

    def add(self, tokens: Mapping[int, int], ends: Mapping[int, EndReason], steps: Sequence[Step]) -> None:
        """Note one step: {lane: its token}, {lane: why it ended} and the rows' records."""
        self.steps.extend(steps)
        for lane, token in tokens.items():
            self.ids[lane].append(token)
        for lane, end in ends.items():
            self.ends[lane] = end

    def trace(self, piece: Callable[[int], str], text: Callable[[list[int]], str]) -> Trace:
        """The trace so far; `piece` gives the text of one id and `text` that of a sequence."""
        ids = set(self.prompt_ids)
        for step in self.steps:
            ids.update(step.tokens.tolist(), step.top_ids.tolist(), step.taken)
        return Trace(
            model=self.model,
            prompt=self.prompt,
            prompt_ids=self.prompt_ids,
            lanes=self.lanes,
            decoding=self.decoding,
            steps=tuple(self.steps),
            texts=tuple(text(lane) for lane in self.ids),
            ends=tuple(self.ends),
            pieces={i: piece(i) for i in sorted(ids)},
            digest=digest_of(self.ids),
        )


class Allowance:
    """How many tokens each step of a trace may record, so that the whole stays within its size.

    A flat step, with many plausible tokens, may take up to `MOST`; it pays from what peaked steps leave over.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self.left = steps, max(MEAN * steps, ENOUGH)

    def take(self, head_size: int) -> tuple[int, int]:
        """Tokens to record exactly and roughly in the next step, whose head at `ALPHA_MIN` has `head_size`."""
        self.steps -= 1
        spare = max(self.left - LEAST * max(self.steps, 0), LEAST)
        exact = min(head_size, MOST, spare // 2)
        rough = min(max(SHOWN - exact, 0), spare - 2 * exact)
        self.left -= 2 * exact + rough
        return exact, rough


@dataclass(frozen=True)
class Row:
    """Whose text a row of a step is."""

    lanes: tuple[int, ...]
    taken: tuple[int, ...]
    """The token each of `lanes` goes on with."""


@torch.inference_mode()
def record_steps(
    index: int,
    rows: Sequence[Row],
    allowance: Allowance,
    *,
    choices: Tensor,
    scores: Tensor,
    log_q: Tensor,
    ids: Tensor,
    noise: Tensor | None,
    workspace: Workspace | None = None,
) -> tuple[Step, ...]:
    """Reduce the rows of one step to what the trace keeps.

    Args:
        index: generated position, from 0.
        rows: the distinct texts.
        allowance: how many tokens may be recorded.
        choices: what every lane chooses on every row, `[rows, lanes]`.
        scores: what it chooses by, `[rows, lanes, V]`; their softmax is its distribution.
        log_q: log-probabilities of all layers, the last as the contrast used it, `[N, rows, V]`.
        ids: tokens so far `[rows, T]`.
        noise: Gumbel noise `[V]` or None.
        workspace: where to work, for callers that come again.
    """
    choices, lane_log_p, log_q_N = choices.cpu(), scores.log_softmax(-1), log_q[-1]
    best = log_q_N.topk(min(MOST + 1, log_q_N.shape[-1]))
    kept = [
        _keep(rows[row], allowance, size, best.indices[row].tolist(), best.values[row].tolist(), choices[row].tolist())
        for row, size in enumerate(plausible_head(log_q_N, ALPHA_MIN).sum(-1).tolist())
    ]
    most = max(len(one.ranked) for one in kept)
    padded = torch.tensor([one.ranked + [0] * (most - len(one.ranked)) for one in kept], device=log_q.device)
    ranks, layer_entropy, jsd, top_ids, top_p = _by_layer(log_q, padded, workspace or Workspace())
    p = lane_log_p.gather(-1, choices[..., None].to(log_q.device))[..., 0].exp().clamp(0, 1).tolist()
    own_entropy = entropy(lane_log_p).clamp_min(0).tolist()
    seen_ids = [set(row) for row in ids.tolist()]
    steps = []
    for row, one in enumerate(kept):
        table = log_q[:, row, one.tokens].T.cpu().numpy()
        chosen = choices[row].tolist()
        chosen_ranks = ranks[[one.ranked.index(token) for token in chosen], :, row]  # [lanes, N]
        told = zip(chosen, p[row], chosen_ranks[:, -1].tolist(), own_entropy[row], strict=True)
        exact = one.tokens[: one.exact]
        steps.append(
            Step(
                index=index,
                lanes=rows[row].lanes,
                taken=rows[row].taken,
                choices=tuple(Choice(id=i, p=_short(q), rank=rank, entropy=_short(e)) for i, q, rank, e in told),
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
                shown_ranks=coded(ranks[: min(SHOWN, len(one.tokens)), :, row]),
            )
        )
    return tuple(steps)


@dataclass(frozen=True)
class _Kept:
    """Which tokens of a row are recorded."""

    exact: int
    """How many of `tokens` to the last bit."""
    exact_alpha: float
    tokens: list[int]
    ranked: list[int]
    """Those with a rank in every layer: the first `SHOWN` of `tokens`, and every choice."""


def _keep(
    row: Row, allowance: Allowance, head_size: int, best: list[int], log_q: list[float], choices: list[int]
) -> _Kept:
    """Of a row with the tokens `best`, whose log-probabilities are `log_q`, best first."""
    exact, rough = allowance.take(head_size)
    exact_alpha = ALPHA_MIN
    if head_size > exact:  # the head at an α just above this ratio still leaves out the first token not kept
        exact_alpha = math.exp(log_q[exact] - log_q[0]) * (1 + 1e-5) + 1e-7
    tokens = list(dict.fromkeys([*best[: exact + rough], *choices, *row.taken]))
    return _Kept(exact, exact_alpha, tokens, list(dict.fromkeys([*tokens[:SHOWN], *choices])))


def _by_layer(log_q: Tensor, ids: Tensor, workspace: Workspace) -> list[np.ndarray]:
    """What is told of every layer: `[K, N, rows]` ranks of `ids` `[rows, K]`, and `[N, rows]` entropy, divergence to
    the last layer, most probable token and its probability."""
    some = max(1, CHUNK_LOGITS // log_q[0].numel())
    found = []
    for layers in log_q.split(some):
        scratch = workspace.like("one", layers), workspace.like("other", layers)
        top = layers.max(-1)
        ranks = ranks_of(layers, ids, scratch[0])
        found.append(
            (ranks.transpose(0, 1), *layer_statistics(layers, log_q[-1], scratch), top.indices, top.values.exp())
        )
    ranks, *rest = (torch.cat(part).cpu() for part in zip(*found, strict=True))
    return [part.numpy() for part in (ranks.transpose(0, 1), *rest)]


def _short(number: float) -> float:
    """Four significant digits, which is all a reader sees, in a quarter of the characters."""
    return float(f"{number:.4g}")
