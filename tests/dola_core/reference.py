"""The slow decoder that everything else must agree with: NumPy, whole prefix again at every step, no cache.

It shares no code with `dola_core` and knows Llama's parts only: RMSNorm, a linear head, `hidden_states`.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(logits))


def penalise(scores: np.ndarray, ids: Sequence[int], penalty: float) -> np.ndarray:
    scores = scores.copy()
    for token in set(ids):
        scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
    return scores


def contrast(log_q_N: np.ndarray, log_q_J: np.ndarray, alpha: float, beta: float = 1.0) -> np.ndarray:
    q_N = np.exp(log_q_N)
    return np.where(q_N >= alpha * q_N.max(), log_q_N - beta * log_q_J, -np.inf)


def warp(scores: np.ndarray, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0) -> np.ndarray:
    """Probabilities after temperature, top-k, top-p and min-p, in this order."""
    p = softmax(scores / temperature)
    if top_k:
        p[np.argsort(-p)[top_k:]] = 0
    p = p / p.sum()
    by_p = np.argsort(-p)
    before = np.cumsum(p[by_p]) - p[by_p]
    p[by_p[before >= top_p]] = 0
    p[p < min_p * p.max()] = 0
    return p / p.sum()


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    m = (p + q) / 2
    return sum(float((x[x > 0] * np.log(x[x > 0] / m[x > 0])).sum()) / 2 for x in (p, q))


def closeness(p: np.ndarray, q: np.ndarray) -> float:
    """ln 2 less the Jensen–Shannon divergence, exact also where that rounds to ln 2."""
    p, q = np.maximum(p, 1e-300), np.maximum(q, 1e-300)
    return float((p * np.log1p(q / p) + q * np.log1p(p / q)).sum()) / 2


def peer_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """What `transformers` 4.55.4 calls the Jensen–Shannon divergence: its terms are weighted by the mean of the two."""
    m = (p + q) / 2
    return sum(float((m[m > 0] * np.log(m[m > 0] / x[m > 0])).mean()) / 2 for x in (p, q))


def entropy(p: np.ndarray) -> float:
    return -float((p[p > 0] * np.log(p[p > 0])).sum())


class NaiveDecoder:
    """Greedy and beam decoding of a Llama (or of Janus's Llama), one prefix at a time."""

    def __init__(self, model: PreTrainedModel) -> None:
        # A copy, since `output_hidden_states=True` hangs `transformers`' own hooks on a model for good.
        self.model = copy.deepcopy(model)
        norm = model.get_decoder().norm
        self.norm_weight, self.eps = norm.weight.detach().numpy().astype(np.float64), norm.variance_epsilon
        self.head = model.get_output_embeddings().weight.detach().numpy().astype(np.float64)
        self._seen: dict[tuple[int, ...], list[np.ndarray]] = {}

    def hidden_states(self, ids: Sequence[int]) -> list[np.ndarray]:
        """`hidden_states[0..N]` at the last position. Entry N has the final norm, the others have not."""
        key = tuple(ids)
        if key not in self._seen:
            with torch.no_grad():
                output = self.model(torch.tensor([key]), use_cache=False, output_hidden_states=True)
            self._seen[key] = [h[0, -1].numpy().astype(np.float64) for h in output.hidden_states]
        return self._seen[key]

    def logits(self, ids: Sequence[int], layer: int | None = None, *, early_norm: bool = True) -> np.ndarray:
        """Logits of the whole model, or of one of its layers 1..N−1."""
        states = self.hidden_states(ids)
        if layer is None:
            return self.head @ states[-1]  # the embeddings are layer 0
        h = states[layer]
        if early_norm:
            h = h / np.sqrt(np.mean(h**2) + self.eps) * self.norm_weight
        return self.head @ h

    def scores(
        self,
        ids: Sequence[int],
        layer: int | None,
        alpha: float,
        *,
        penalty: float = 1.0,
        position: str = "before",
        early_norm: bool = True,
        of_beams: bool = False,
    ) -> np.ndarray:
        """What the next token is chosen by: `F`, or the penalised logits of the model where `layer` is None.

        Beam search (`of_beams`) penalises log-probabilities where the other modes of `generate` penalise logits.
        """
        mature = log_softmax(self.logits(ids)) if of_beams else self.logits(ids)
        if layer is None:
            return penalise(mature, ids, penalty)
        log_q_J = log_softmax(self.logits(ids, layer, early_norm=early_norm))
        if position == "before":
            return contrast(log_softmax(penalise(mature, ids, penalty)), log_q_J, alpha)
        return penalise(contrast(log_softmax(mature), log_q_J, alpha), ids, penalty)

    def dynamic(
        self,
        ids: Sequence[int],
        layers: Sequence[int],
        alpha: float,
        beta: float = 1.0,
        *,
        penalty: float = 1.0,
        position: str = "before",
        early_norm: bool = True,
    ) -> tuple[dict[int, np.ndarray], dict[int, float]]:
        """For each layer of a bucket `F` against it, and its closeness to the last; the least close one is taken."""
        logits = self.logits(ids)
        log_q_N = log_softmax(penalise(logits, ids, penalty) if position == "before" else logits)
        scores, close = {}, {}
        for layer in layers:
            log_q = log_softmax(self.logits(ids, layer, early_norm=early_norm))
            F = contrast(log_q_N, log_q, alpha, beta)
            scores[layer] = penalise(F, ids, penalty) if position == "after" else F
            close[layer] = closeness(np.exp(log_q_N), np.exp(log_q))
        return scores, close

    def greedy(self, ids: Sequence[int], steps: int, layer: int | None, alpha: float = 0.1, **settings) -> list[int]:
        """The ids that follow `ids`."""
        text = list(ids)
        for _ in range(steps):
            text.append(int(self.scores(text, layer, alpha, **settings).argmax()))
        return text[len(ids) :]

    def beams(
        self, ids: Sequence[int], steps: int, layer: int | None, alpha: float, *, width: int, **settings
    ) -> list[list[int]]:
        """The `width` best continuations under the sum of log p̂, best first."""
        beams = [(0.0, list(ids))]
        for _ in range(steps):
            wider = [
                (score + log_p, [*text, token])
                for score, text in beams
                for token, log_p in enumerate(log_softmax(self.scores(text, layer, alpha, of_beams=True, **settings)))
            ]
            beams = sorted(wider, key=lambda beam: -beam[0])[:width]
        return [text[len(ids) :] for _, text in beams]
