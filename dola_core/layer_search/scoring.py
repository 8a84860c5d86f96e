"""Answers scored by the baseline and by DoLa-static at every (j*, α), from one reading of each.

Teacher forcing: an answer's log-likelihood needs the read-outs at its own tokens only. A prompt is read once, its
answers are a batch on its KV cache, and the read-outs of all layers go through the head a few positions at a time.
Beside the model there are the KV cache of `BATCH_TOKENS` tokens, or of one prompt with one answer where that is more,
the hidden states at the answers' tokens, and `CHUNK_LOGITS` logits; nothing grows with layers × vocabulary × length.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from dola_core.contrast import log_softmax
from dola_core.layer_search.dataset import Item
from dola_core.layer_search.plausible_heads import Heads, PostSoftmax, open_outcome
from dola_core.models.loading import LoadedModel
from dola_core.models.readout import Readout

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

    def __reduce__(self) -> tuple[type["TooLongError"], tuple[int, int, int]]:
        """Pickled by what it was made of."""
        return type(self), (self.number, self.size, self.most)


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
    """Prompts of one length, which need no padding, as many as fit with their padded answers into `BATCH_TOKENS`; or
    one question, however many answers it has."""
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
    # A position predicts the next token: an answer's from its prompt's last to its own last, which predicts what
    # follows the answer.
    of_answer = torch.tensor([number for number, (_, ids) in enumerate(answers) for _ in range(len(ids) + 1)])
    starts = torch.tensor([place == 0 for _, ids in answers for place in range(len(ids) + 1)])
    size = max(1, CHUNK_LOGITS // readout.vocab_size)
    parts = []
    for some, h in _read(readout, [question.prompt for question in batch], answers, layers):
        targets = torch.tensor([token for _, ids in some for token in [*ids, -1]])
        for first in range(0, len(targets), size):
            here = slice(first, first + size)
            chunk = {layer: states[here] for layer, states in h.items()}
            parts.append(_tokens(readout, chunk, targets[here], layers, alphas, rule, goes_on))
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


Answers = list[tuple[int, list[int]]]
"""Answers as ids, each with the row of its prompt."""


def _read(
    readout: Readout, prompts: list[list[int]], answers: Answers, layers: tuple[int, ...]
) -> Iterator[tuple[Answers, dict[int, Tensor]]]:
    """Read prompts of one length once, and on their cache the answers, as many at a time as fit into `BATCH_TOKENS`.

    Yields answers with the block outputs at the positions that predict their tokens and what follows them, answer
    after answer: {layer: `[Σ (length + 1), d]`} for `layers` and the last layer.
    """
    wanted = [*layers, readout.n_layers]
    cache = DynamicCache(config=readout.decoder.config)
    with readout.capture(wanted) as of_prompt:
        ids = torch.tensor(prompts, device=readout.device)
        readout.decoder(input_ids=ids, past_key_values=cache, use_cache=True)
    widest = max(len(ids) for _, ids in answers)
    many = max(1, BATCH_TOKENS // (len(prompts[0]) + widest))
    for first in range(0, len(answers), many):
        some = answers[first : first + many]
        own = cache if first + many >= len(answers) else deepcopy(cache)
        yield some, _read_answers(readout, own, of_prompt, some, wanted)


def _read_answers(
    readout: Readout, cache: DynamicCache, of_prompt: dict[int, Tensor], answers: Answers, wanted: list[int]
) -> dict[int, Tensor]:
    """Block outputs at the prompts' last tokens and at the answers'; `cache` becomes that of the answers."""
    rows = torch.tensor([row for row, _ in answers])  # on the CPU, whence it selects on every layer's device
    cache.batch_select_indices(rows)
    width = max(len(ids) for _, ids in answers)
    # Padding on the right is never looked at.
    padded = torch.tensor([ids + [0] * (width - len(ids)) for _, ids in answers], device=readout.device)
    with readout.capture(wanted, pick=lambda h: h) as of_answers:
        readout.decoder(input_ids=padded, past_key_values=cache, use_cache=True)
    inside = torch.arange(width + 1) <= torch.tensor([len(ids) for _, ids in answers])[:, None]
    return {
        layer: torch.cat([of_prompt[layer][rows][:, None], of_answers.pop(layer)], dim=1)[inside] for layer in wanted
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
    best = log_q_N.argmax(-1)
    scores = [log_q_N.gather(-1, targets.clamp_min(0)[:, None])]
    met = [torch.where(last, ~goes_on[best], best == targets)[:, None]]
    # Where every token is plausible nothing needs sorting, and one column serves every such α.
    open_heads = [not rule.apc or alpha == 0 for alpha in alphas]
    heads = Heads.of(
        log_q_N, targets, [alpha for alpha, is_open in zip(alphas, open_heads, strict=True) if not is_open]
    )
    order = [place for _, place in sorted((is_open, place) for place, is_open in enumerate(open_heads))]
    back = torch.tensor(order, dtype=torch.long).argsort()
    for layer in layers:
        log_q_J = log_softmax(readout.logits(h[layer], early_norm=rule.early_norm)).cpu()
        everywhere = log_q_N - log_q_J
        norm = everywhere.logsumexp(-1, keepdim=True) if rule.post_softmax == "vocabulary" or any(open_heads) else None
        found = []
        if not all(open_heads):
            found.append(heads.outcome(log_q_J, goes_on, norm, rule.post_softmax))
        if any(open_heads):
            one = open_outcome(everywhere, targets, goes_on, norm, rule.post_softmax)
            found.append(tuple(part.expand(-1, sum(open_heads)) for part in one))
        layer_scores, layer_met = (torch.cat(part, -1)[:, back] for part in zip(*found, strict=True))
        scores.append(layer_scores)
        met.append(layer_met)
    return torch.where(last[:, None], 0.0, torch.cat(scores, -1)), torch.cat(met, -1)
