"""DoLa-static's formulas as pure functions on tensors.

Names follow the paper (Chuang et al., "DoLa: Decoding by Contrasting Layers Improves Factuality in Large
Language Models", ICLR 2024, arXiv:2309.03883, section 2): `q_N` is the mature (final-layer) next-token
distribution, `q_J` that of the fixed contrast layer j*, `V_head` the plausible head, `F` the log-ratio on it and
`p_hat` its softmax. The last dimension is always the vocabulary `V`; every other dimension is a row of its own.

All arithmetic is float32 in log space, whatever the model's dtype: bfloat16 on the early side alone costs up to
0.055 nats.
"""

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import SupportsFloat, SupportsIndex

import torch
from torch import Tensor

EPS = 1e-12
"""Floor for probabilities that a caller passes in; log-probabilities need none."""

LN_2 = math.log(2.0)
"""The largest possible Jensen–Shannon divergence, in nats."""
CHUNK = 1 << 18
"""Numbers that `closeness` works on at a time: 1 MB in float32."""
LEAST_LOG = -80.0
"""Where logarithms are cut: below e^-80 tokens add nothing to a closeness, and subnormal floats are slow on a CPU."""


def compute_probs_from_hidden(h: Tensor, ln_out: Callable[[Tensor], Tensor], phi: Callable[[Tensor], Tensor]) -> Tensor:
    """Next-token distribution `softmax(phi(ln_out(h)))`: `h` `[..., d]` → `[..., V]`, float32.

    `h` is the output of a block *before* the final norm. In `transformers`, `hidden_states[N]` is already normed, so
    for the last layer pass the block's own output instead.
    """
    return log_softmax(phi(ln_out(h))).exp()


def contrast_with_apc(q_N: Tensor, q_J: Tensor, alpha: float = 0.1) -> Tensor:
    """DoLa's distribution `p_hat` from two distributions: `[..., V]`, `[..., V]` → `[..., V]`, float32.

    Equations (3)–(5) of the paper with the softmax taken over `V_head`: rows sum to 1 and are 0 outside of it.
    Raises `ValueError` if `alpha` is not in [0, 1] or the shapes differ.
    """
    if q_N.shape != q_J.shape:
        raise ValueError(f"q_N and q_J must have the same shape; got {tuple(q_N.shape)} and {tuple(q_J.shape)}.")
    log_q_N, log_q_J = (q.float().clamp_min(EPS).log() for q in (q_N, q_J))
    return log_ratio(log_q_N, log_q_J, check_alpha(alpha)).softmax(-1)


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities of `logits` `[..., V]` → `[..., V]`, float32."""
    return logits.float().log_softmax(-1)


def plausible_head(log_q_N: Tensor, alpha: float) -> Tensor:
    """`V_head` as a mask: `q_N(x) ≥ alpha · max q_N`, equation (3); `[..., V]` → bool `[..., V]`.

    It always holds the most probable token; `alpha = 0` keeps every token, `alpha = 1` only the maximum.
    """
    log_alpha = math.log(alpha) if alpha > 0 else -math.inf
    return log_q_N >= log_q_N.amax(-1, keepdim=True) + log_alpha


def log_ratio(log_q_N: Tensor, log_q_J: Tensor, alpha: float) -> Tensor:
    """`F = log q_N − log q_J` on `V_head`, −∞ outside, equation (4); `[..., V]` → `[..., V]`.

    `F` is a log-ratio, not a log-probability: it may be positive, and its size does not tell how probable a token is.
    `log_p_hat` normalises it.
    """
    return on_plausible_head(log_q_N - log_q_J, log_q_N, alpha)


def on_plausible_head(scores: Tensor, log_q_N: Tensor, alpha: float) -> Tensor:
    """`scores` on `V_head`, −∞ outside: `[..., V]`, `[..., V]` → `[..., V]`."""
    return torch.where(plausible_head(log_q_N, alpha), scores, -math.inf)


def log_p_hat(log_q_N: Tensor, log_q_J: Tensor, alpha: float) -> Tensor:
    """`log softmax(F)`, the log-probabilities that DoLa decodes from; `[..., V]` → `[..., V]`."""
    return log_ratio(log_q_N, log_q_J, alpha).log_softmax(-1)


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Jensen–Shannon divergence in nats, in [0, ln 2]: `[..., V]`, `[..., V]` (broadcast) → `[...]`.

    This is the true divergence, `½ KL(p‖m) + ½ KL(q‖m)` with `m = ½ (p + q)`. The figure in the paper ("scaled by
    10^5") averages over the vocabulary and uses the reverse KL, so its numbers differ.
    """
    log_m = torch.logaddexp(log_p, log_q) - LN_2
    kl_p, kl_q = (
        # A token of probability 0 adds nothing: 0 · (−∞ − x) must not become NaN.
        torch.where(log_x > -math.inf, log_x.exp() * (log_x - log_m), 0.0).sum(-1)
        for log_x in torch.broadcast_tensors(log_p, log_q)
    )
    return (0.5 * (kl_p + kl_q)).clamp(0.0, LN_2)


def closeness(log_p: Tensor, log_q: Tensor) -> Tensor:
    """`ln 2` less the Jensen–Shannon divergence, in nats: `[..., V]`, `[..., V]` (broadcast) → `[...]`.

    Early layers often have next to nothing in common with the last, and their divergences all round to ln 2. This adds
    up positive terms only, `½ Σ (p + q) log(1 + r) + min(p, q) |log p − log q|` with `r = min(p, q) / max(p, q)`, and
    so still tells them apart. Where it is least, the divergence is greatest.
    """
    p, q = torch.broadcast_tensors(log_p, log_q)
    rows = max(1, CHUNK // p.shape[-1])
    parts = zip(*(one.reshape(-1, p.shape[-1]).split(rows) for one in (p, q)), strict=True)
    return torch.cat([_closeness(*part) for part in parts]).view(p.shape[:-1])


def _closeness(log_p: Tensor, log_q: Tensor) -> Tensor:
    """`closeness` of a few rows, in memory that is used again: `[rows, V]`, `[rows, V]` → `[rows]`."""
    log_p, log_q = log_p.clamp_min(LEAST_LOG), log_q.clamp_min(LEAST_LOG)
    gap = (log_p - log_q).abs_()
    return _closeness_of(log_p.exp_(), log_q.exp_(), gap, torch.empty_like(gap))


def _closeness_of(p: Tensor, q: Tensor, gap: Tensor, scratch: Tensor) -> Tensor:
    """The closeness from probabilities and `|log p − log q|`; all memory but that of `p` is used again.

    Sums are those of products made in place: `vecdot` makes them in new memory, which costs more than they do.
    """
    less = torch.minimum(p, q, out=scratch)
    apart = _sums(gap.mul_(less))
    ratio = less.div_(torch.maximum(p, q, out=gap)).log1p_()
    return 0.5 * (_sums(ratio.mul_(q.add_(p))) + apart)


def _sums(rows: Tensor) -> Tensor:
    """The sum of every row, `[..., V]` → `[...]`, with the same bits however many rows there are.

    A sum that is the only one is divided among threads, and then rounds otherwise.
    """
    alone = rows.numel() == rows.shape[-1]
    return rows.expand(2, *rows.shape).sum(-1)[0] if alone else rows.sum(-1)


def entropy(log_p: Tensor) -> Tensor:
    """Shannon entropy in nats: `[..., V]` → `[...]`; tokens of probability 0 add nothing."""
    # Bounded from below, since 0 · −∞ is NaN.
    return -log_p.exp().mul_(log_p.clamp_min(torch.finfo(log_p.dtype).min)).sum(-1)


def layer_statistics(
    log_q: Tensor, log_q_N: Tensor, scratch: tuple[Tensor, Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """`entropy` of layers and their `closeness` to the last: `[n, ..., V]`, `[..., V]` → `[n, ...]`, `[n, ...]`.

    The entropy equals that function within 1e-5 nats; the closeness has the same bits, so that a choice by it does not
    depend on how it was computed. Together they take one exponential and one logarithm a layer. `scratch` are three
    tensors `[m, ..., V]` to work in, for callers that do this at every step; so many layers are done at a time.
    """
    log_p = log_q_N.clamp_min(LEAST_LOG)
    p = log_p.exp()
    a, b, c = scratch or [torch.empty_like(log_q) for _ in range(3)]
    entropies, close = [], []
    for layers in log_q.split(len(a)):
        bounded, q, products = a[: len(layers)], b[: len(layers)], c[: len(layers)]
        entropies.append(_entropy_of(layers, bounded, q, products))
        gap = torch.sub(log_p, bounded, out=bounded).abs_()
        close.append(_closeness_of(p, q, gap, products))
    return torch.cat(entropies), torch.cat(close)


def layer_entropies(log_q: Tensor, scratch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The first of `layer_statistics`, with the same bits, where the other is known: `[n, ..., V]` → `[n, ...]`."""
    parts = log_q.split(len(scratch[0]))
    return torch.cat([_entropy_of(layers, *(memory[: len(layers)] for memory in scratch)) for layers in parts])


def _entropy_of(log_q: Tensor, bounded: Tensor, q: Tensor, products: Tensor) -> Tensor:
    """The entropy of rows, `[..., V]` → `[...]`; leaves `log q`, bounded from below, and `q` in the memory so named."""
    torch.exp(torch.clamp_min(log_q, LEAST_LOG, out=bounded), out=q)
    return -torch.mul(q, bounded, out=products).sum(-1)


def default_layer(n_layers: int) -> int:
    """The contrast layer to use if none was chosen: three quarters up, 22 of 30.

    No single layer is good everywhere (the paper's own choices lie between 2 and N − 2); choose on validation data.
    """
    return check_layer(min(round(0.75 * n_layers), n_layers - 1), n_layers)


def check_layer(layer: SupportsIndex, n_layers: int) -> int:
    """`layer` as an int in 1..`n_layers` − 1, else `ValueError`.

    Block `n_layers` contrasts the model with itself: `F` is 0 on the whole plausible head, which is *not* the baseline.
    """
    if isinstance(layer, bool) or not isinstance(layer, Integral) or not 1 <= int(layer) < n_layers:
        raise ValueError(
            f"layer must be an integer from 1 to {n_layers - 1} (the model has {n_layers} layers); got {layer!r}."
        )
    return int(layer)


def check_alpha(alpha: SupportsFloat) -> float:
    """`alpha` as a float in [0, 1], else `ValueError`."""
    if isinstance(alpha, bool) or not isinstance(alpha, Real) or not 0.0 <= float(alpha) <= 1.0:
        raise ValueError(f"alpha must be a number from 0 to 1; got {alpha!r}.")
    return float(alpha)
