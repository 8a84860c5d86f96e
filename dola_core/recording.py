"""Recording a comparison: tensors of one step in, what the trace keeps out."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dola_core.contrast import entropy, jensen_shannon, plausible_head
from dola_core.lanes import Decoding, Lane
from dola_core.ranks import coded, ranks_of
from dola_core.trace import ALPHA_MIN, Choice, EndReason, ModelInfo, Step, Trace, digest_of

SHOWN = 15
"""Tokens a step records if its head has no more: enough for a chart with the cut tokens in it."""
MOST = 64
"""Tokens a flat step may record exactly."""
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


def record_step(
    index: int,
    lanes: Sequence[int],
    taken: Sequence[int],
    allowance: Allowance,
    *,
    choices: Tensor,
    lane_log_p: Tensor,
    log_q: Tensor,
    ids: Tensor,
    noise: Tensor | None,
) -> Step:
    """Reduce one row of one step to what the trace keeps.

    Args:
        index: generated position, from 0.
        lanes: the lanes whose text this row is.
        taken: the token each of them goes on with.
        allowance: how many tokens may be recorded.
        choices: what every lane chooses on this prefix, `[lanes]`.
        lane_log_p: each lane's normalised log-probabilities, `[lanes, V]`.
        log_q: log-probabilities of all layers, the last as the contrast used it, `[N, V]`.
        ids: tokens so far `[T]`.
        noise: Gumbel noise `[V]` or None.
    """
    log_q_N = log_q[-1]
    head_size = int(plausible_head(log_q_N, ALPHA_MIN).sum())
    exact, rough = allowance.take(head_size)
    best = log_q_N.topk(min(exact + rough, len(log_q_N)))
    extra = [t for t in dict.fromkeys([*choices.tolist(), *taken]) if t not in best.indices.tolist()]
    tokens = torch.tensor([*best.indices.tolist(), *extra], device=log_q.device)
    exact_alpha = ALPHA_MIN
    if head_size > exact:  # the head at an α just above this ratio still leaves out the first token not kept
        first_left_out = log_q_N.topk(exact + 1).values[exact]
        exact_alpha = float((first_left_out - log_q_N.max()).exp()) * (1 + 1e-5) + 1e-7
    chosen = choices.to(log_q.device)
    own_p = lane_log_p.gather(1, chosen[:, None])[:, 0].exp().clamp(0, 1)
    ranked = list(dict.fromkeys([*tokens[:SHOWN].tolist(), *choices.tolist()]))
    all_ranks = ranks_of(log_q, torch.tensor(ranked, device=log_q.device)).cpu()  # [S and more, N]
    ranks = all_ranks[[ranked.index(token) for token in choices.tolist()]]  # [lanes, N]
    top = log_q.max(-1)
    as_numpy = {
        "tokens": tokens,
        "log_q": log_q[:, tokens[:exact]].T,
        "rough_log_q": log_q[:, tokens[exact:]].T,
        "seen": torch.isin(tokens[:exact], ids).nonzero()[:, 0],
        "noise": torch.empty(0) if noise is None else noise[tokens[:exact]],
        "top_ids": top.indices,
        "top_p": top.values.exp(),
        "jsd": jensen_shannon(log_q_N[None], log_q),
        "layer_entropy": entropy(log_q),
        "ranks": ranks.clamp_max(65535),
    }
    return Step(
        index=index,
        lanes=tuple(lanes),
        taken=tuple(taken),
        choices=tuple(
            Choice(id=i, p=_short(p), rank=r, entropy=_short(max(0.0, e)))
            for i, p, r, e in zip(
                chosen.tolist(),
                own_p.tolist(),
                ranks[:, -1].tolist(),
                entropy(lane_log_p).tolist(),
                strict=True,
            )
        ),
        exact_alpha=exact_alpha,
        shown_ranks=coded(all_ranks[: min(SHOWN, len(tokens))].numpy()),
        **{name: tensor.cpu().numpy() for name, tensor in as_numpy.items()},
    )


def _short(number: float) -> float:
    """Four significant digits, which is all a reader sees, in a quarter of the characters."""
    return float(f"{number:.4g}")
