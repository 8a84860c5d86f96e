"""Answers scored by the baseline and by DoLa-static at every (j*, α), from one reading of each.

Teacher forcing: an answer's log-likelihood needs the read-outs at its own tokens only. A prompt is read once, its
answers are a batch on its KV cache, and the read-outs of all layers go through the head a few positions at a time.
Beside the model there are the KV cache of `BATCH_TOKENS` tokens, or of one question with all its answers, the hidden
states at the answers' tokens, and `CHUNK_LOGITS` logits; nothing grows with layers × vocabulary × length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from dola_core.contrast import log_softmax, plausible_head
from dola_core.items import Item
from dola_core.models import LoadedModel
from dola_core.readout import Readout

OUTSIDE = -1000.0
"""Log-probability of a token outside the head, as in the paper (section 3.2); −∞ would make all such answers equal."""
BATCH_TOKENS = 4096
"""Tokens of prompts and answers that are read together."""
CHUNK_LOGITS = 1 << 23
"""Logits of one layer that are held at a time: 32 MB in float32."""


class TooLongError(ValueError):
    """Question `number`, counted from 1, has `size` tokens where the model reads at most `most`."""

    def __init__(self, number: int, size: int, most: int) -> None:
        super().__init__(
            f"Question {number} has {size:,} tokens with its longest answer; the model reads at most {most:,}. "
            "Leave it out or shorten its prompt."
        )
        self.number, self.size, self.most = number, size, most


PostSoftmax = Literal["head", "vocabulary", "off"]


@dataclass(frozen=True)
class Rule:
    """How a token is scored by DoLa-static."""

    early_norm: bool = True
    """Read layer j* through the final norm, or raw."""
    post_softmax: PostSoftmax = "head"
    """Score `log p_hat`, the softmax of F over the head; or, as the reference scripts do, the softmax of F over the
    whole vocabulary, or F itself, which is a log-ratio and no log-probability (App. C of the paper)."""
    apc: bool = True
    """Put tokens outside the head at `OUTSIDE`. Off, every token counts as plausible and α means nothing."""


@dataclass(frozen=True)
class Scored:
    """One item's answers. Settings are the baseline and then every (layer, α), α running faster: S = 1 + L · A."""

    right: np.ndarray
    """`[right answers, S]`, float64: sum of the scores of an answer's tokens."""
    wrong: np.ndarray
    """`[wrong answers, S]`"""
    right_tokens: np.ndarray
    """`[right answers]`: how many tokens each has."""
    wrong_tokens: np.ndarray
    said: np.ndarray
    """`[S]`, bool: greedy decoding begins with a right answer, as whole words."""
    first: np.ndarray
    """`[S]`, bool: its first token is the first of a right answer."""


@dataclass(frozen=True)
class _Question:
    """One item as ids: a prompt, and its answers, the right ones first."""

    number: int
    prompt: list[int]
    answers: list[list[int]]
    right: int


def score_items(
    loaded: LoadedModel, items: Sequence[Item], layers: Sequence[int], alphas: Sequence[float], rule: Rule | None = None
) -> Iterator[list[tuple[int, Scored]]]:
    """Score every answer of `items`, batch by batch: (place of the item, its scores), in no order.

    Raises `TooLongError` if an item is longer than the model reads.
    """
    rule = rule or Rule()
    layers, alphas = tuple(layers), tuple(alphas)
    questions = [_question(loaded, number, item) for number, item in enumerate(items)]
    batches = list(_batches(sorted(questions, key=lambda question: len(question.prompt))))
    Random(0).shuffle(batches)  # so that what is done first is a sample, not the shortest
    for batch in batches:
        yield _score(loaded.readout, batch, layers, alphas, rule, loaded.goes_on)


def answer_ids(loaded: LoadedModel, prompt: str, text: str) -> list[int]:
    """The ids of an answer behind its prompt, with a space between unless the prompt ends in white space."""
    ids, answer = loaded.encode(prompt), text if prompt[-1:].isspace() else f" {text}"
    whole = loaded.encode(prompt + answer)
    if whole[: len(ids)] == ids and len(whole) > len(ids):
        return whole[len(ids) :]
    # The tokenizer merges across the border: put the parts together.
    return list(loaded.tokenizer(answer, add_special_tokens=False)["input_ids"])


def _question(loaded: LoadedModel, number: int, item: Item) -> _Question:
    prompt = loaded.encode(item.prompt)
    answers = [answer_ids(loaded, item.prompt, text) for text in (*item.answers, *item.wrong)]
    longest, context = len(prompt) + max(map(len, answers)), loaded.readout.context_length
    if context is not None and longest > context:
        raise TooLongError(number + 1, longest, context)
    return _Question(number, prompt, answers, len(item.answers))


def _batches(questions: list[_Question]) -> Iterator[list[_Question]]:
    """Prompts of one length, which need no padding, as many as fit with their padded answers into `BATCH_TOKENS`."""
    batch: list[_Question] = []
    answers = widest = 0
    for question in questions:
        more, wider = answers + len(question.answers), max(widest, *map(len, question.answers))
        length = len(question.prompt)
        if batch and (length != len(batch[0].prompt) or more * (length + wider) > BATCH_TOKENS):
            yield batch
            batch, more, wider = [], len(question.answers), max(map(len, question.answers))
        batch.append(question)
        answers, widest = more, wider
    if batch:
        yield batch


@torch.inference_mode()
def _score(
    readout: Readout,
    batch: list[_Question],
    layers: tuple[int, ...],
    alphas: tuple[float, ...],
    rule: Rule,
    goes_on: Tensor,
) -> list[tuple[int, Scored]]:
    answers = [(row, answer) for row, question in enumerate(batch) for answer in question.answers]
    h = _read(readout, batch, answers, layers)
    # A position predicts the next token: an answer's from its prompt's last to its own last, which predicts what
    # follows the answer.
    of_answer = torch.tensor([number for number, (_, ids) in enumerate(answers) for _ in range(len(ids) + 1)])
    targets = torch.tensor([token for _, ids in answers for token in [*ids, -1]])
    starts = torch.tensor([place == 0 for _, ids in answers for place in range(len(ids) + 1)])
    size = max(1, CHUNK_LOGITS // readout.vocab_size)
    parts = [
        _tokens(readout, {layer: h[layer][first : first + size] for layer in h}, targets[first : first + size], layers,
                alphas, rule, goes_on)
        for first in range(0, len(targets), size)
    ]  # fmt: skip
    scores, follows = (torch.cat(part) for part in zip(*parts, strict=True))
    shape = (len(answers), scores.shape[1])
    sums = torch.zeros(shape, dtype=torch.float64).index_add_(0, of_answer, scores.double()).numpy()
    whole = torch.zeros(shape).index_add_(0, of_answer, (~follows).float()).numpy() == 0
    begins = follows[starts].numpy()
    scored, place = [], 0
    for question in batch:
        right, end = place + question.right, place + len(question.answers)
        lengths = np.array([len(answer) for answer in question.answers])
        scored.append(
            (
                question.number,
                Scored(
                    right=sums[place:right],
                    wrong=sums[right:end],
                    right_tokens=lengths[: question.right],
                    wrong_tokens=lengths[question.right :],
                    said=whole[place:right].any(0),
                    first=begins[place:right].any(0),
                ),
            )
        )
        place = end
    return scored


def _read(
    readout: Readout, batch: list[_Question], answers: list[tuple[int, list[int]]], layers: tuple[int, ...]
) -> dict[int, Tensor]:
    """Block outputs at the positions that predict the answers' tokens and what follows them, answer after answer.

    {layer: `[Σ (length + 1), d]`} for `layers` and the last layer.
    """
    device = readout.phi.weight.device
    wanted = [*layers, readout.n_layers]
    cache = DynamicCache(config=readout.decoder.config)
    with readout.capture(wanted) as of_prompt:
        readout.decoder(
            input_ids=torch.tensor([question.prompt for question in batch], device=device),
            past_key_values=cache,
            use_cache=True,
        )
    rows = torch.tensor([row for row, _ in answers], device=device)
    cache.batch_select_indices(rows)
    width = max(len(ids) for _, ids in answers)
    # Padding on the right is never looked at.
    padded = torch.tensor([ids + [0] * (width - len(ids)) for _, ids in answers], device=device)
    with readout.capture(wanted, pick=lambda h: h) as of_answers:
        readout.decoder(input_ids=padded, past_key_values=cache, use_cache=True)
    inside = torch.arange(width + 1) <= torch.tensor([len(ids) for _, ids in answers])[:, None]
    return {
        layer: torch.cat([of_prompt[layer][rows.to(of_prompt[layer].device)][:, None], of_answers.pop(layer)], dim=1)[
            inside.to(of_prompt[layer].device)
        ]
        for layer in wanted
    }


def _tokens(
    readout: Readout,
    h: dict[int, Tensor],
    targets: Tensor,
    layers: tuple[int, ...],
    alphas: tuple[float, ...],
    rule: Rule,
    goes_on: Tensor,
) -> tuple[Tensor, Tensor]:
    """Scores of `targets` `[M]` and whether greedy decoding goes on with them, both `[M, S]`.

    A target of −1 stands for what follows an answer: it scores 0, and is met by a token that begins another word.
    """
    log_q_N = log_softmax(readout.logits(h[readout.n_layers])).cpu()
    last = targets == -1
    wanted = targets.clamp_min(0)[:, None]
    # Sorted by q_N, every head is the beginning of the largest: one pass over it serves every α. [M, K]
    smallest = min(alphas, default=1.0) if rule.apc else 0.0
    log_q, tokens = log_q_N.topk(int(plausible_head(log_q_N, smallest).sum(-1).max()))
    sizes = torch.stack([plausible_head(log_q, alpha if rule.apc else 0.0).sum(-1) for alpha in alphas or (1.0,)], -1)
    found, places = (tokens == wanted).max(-1)
    in_head = found[:, None] & (places[:, None] < sizes)
    lower = tokens < wanted

    best = log_q_N.argmax(-1)
    scores = [log_q_N.gather(-1, wanted)]
    met = [torch.where(last, ~goes_on[best], best == targets)[:, None]]
    for layer in layers:
        log_q_J = log_softmax(readout.logits(h[layer], early_norm=rule.early_norm)).cpu()
        F = log_q - log_q_J.gather(-1, tokens)
        F_target = F.gather(-1, places[:, None])
        top = F.cummax(-1).values.gather(-1, sizes - 1)
        scores.append(torch.where(in_head, F_target - _norm(rule, F, sizes, log_q_N - log_q_J), OUTSIDE))
        # The target is chosen if nothing in the head is above it, and of its equals it has the lowest id.
        tied, first = (lower & (F_target == F)).max(-1)
        before = tied[:, None] & (first[:, None] < sizes)
        chosen = in_head & (F_target == top) & ~before
        chosen[last] = ~goes_on[_choices(F[last], tokens[last], sizes[last], top[last])]
        met.append(chosen)
    return torch.where(last[:, None], 0.0, torch.cat(scores, -1)), torch.cat(met, -1)


def _norm(rule: Rule, F: Tensor, sizes: Tensor, everywhere: Tensor) -> Tensor:
    """What is taken off F: `[M, A]`, or `[M, 1]` where it is the same for every α. `everywhere` is F of all tokens."""
    if rule.post_softmax == "off":
        return torch.zeros_like(F[:, :1])
    if rule.post_softmax == "vocabulary":
        return everywhere.logsumexp(-1, keepdim=True)
    return F.double().logcumsumexp(-1).gather(-1, sizes - 1).float()  # a long sum: float32 would lose four digits


def _choices(F: Tensor, tokens: Tensor, sizes: Tensor, top: Tensor) -> Tensor:
    """The token that each head `[M, A]` chooses: of those with its largest F the one with the lowest id."""
    inside = torch.arange(F.shape[-1])[None, :]
    nothing = torch.iinfo(tokens.dtype).max
    columns = [
        torch.where((top[:, [n]] == F) & (inside < sizes[:, [n]]), tokens, nothing).amin(-1)
        for n in range(sizes.shape[-1])
    ]
    return torch.stack(columns, -1)
