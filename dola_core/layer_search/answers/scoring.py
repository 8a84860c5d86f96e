"""Score answers by the baseline, by DoLa-static at every (j*, α) and by any lanes, from one pass over each answer.

Teacher forcing: an answer's log-likelihood needs the read-outs at its own tokens only. Each prompt is read once, its
answers are read as a batch on the prompt's KV cache, and the hidden states of all layers go through the LM head a few
positions at a time. Memory beside the model: the KV cache of `BATCH_TOKENS` tokens (or of one prompt with one answer,
if that is more), the hidden states at the answers' tokens, and `CHUNK_LOGITS` logits. Nothing grows with
layers × vocabulary × length. An image is decoded when its questions are scored, and read once for all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dola_core.contrast import log_softmax
from dola_core.lanes import Lane
from dola_core.layer_search.answers.batches import Question, batches_of, read_answers
from dola_core.layer_search.answers.image_batches import read_image_answers
from dola_core.layer_search.answers.lane_scores import LaneScores
from dola_core.layer_search.answers.plausible_heads import PlausibleHeads, PostSoftmax, score_without_head
from dola_core.layer_search.answers.question_ids import QuestionIds
from dola_core.layer_search.answers.stopping import CheckStop, go_on, stop_between_blocks
from dola_core.layer_search.questions.dataset import Item
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.reading.readout import Readout

CHUNK_LOGITS = 1 << 23
"""Logits of one layer that are held at a time: 32 MB in float32."""


@dataclass(frozen=True)
class ScoringConfig:
    """How DoLa-static scores a token of a given answer."""

    early_norm: bool = True
    """Read layer j* through the final norm, or raw."""
    post_softmax: PostSoftmax = "head"
    """"head": score `log p_hat`, the log-softmax of F over the plausible head. "vocabulary": as the reference scripts
    do, over the whole vocabulary. "off": F itself, a log-ratio and not a log-probability (App. C of the paper)."""
    apc: bool = True
    """Give tokens outside the plausible head the score `OUTSIDE`. If off, every token is plausible and α has no
    effect."""


@dataclass(frozen=True)
class Scored:
    """Scores of one question's answers at S = 1 + L · A + E settings: the baseline, every (layer, α), α fastest, and
    every further lane."""

    right: np.ndarray
    """`[right answers, S]`, float64: sum of the scores of an answer's tokens."""
    wrong: np.ndarray
    """`[wrong answers, S]`, float64: the same."""
    right_tokens: np.ndarray
    """`[right answers]`: number of tokens of each."""
    wrong_tokens: np.ndarray
    """`[wrong answers]`"""
    greedy_correct: np.ndarray
    """Bool `[S]`: greedy decoding begins with a right answer, as whole words."""
    first: np.ndarray
    """Bool `[S]`: the first greedy token is the first token of a right answer."""


@dataclass(frozen=True)
class _ScoringGrid:
    """The settings to score beside the baseline: every layer with every α."""

    layers: tuple[int, ...]
    alphas: tuple[float, ...]
    scoring: ScoringConfig
    lanes: tuple[Lane, ...] = ()
    """Lanes to score as well, fitted to the model."""
    check_stop: CheckStop = go_on

    @property
    def reads(self) -> tuple[int, ...]:
        """All layers that are read: those of the grid, then those that only lanes read."""
        return tuple(dict.fromkeys([*self.layers, *(layer for lane in self.lanes for layer in lane.reads)]))


def score_items(
    loaded: LoadedModel,
    items: Sequence[Item],
    layers: Sequence[int],
    alphas: Sequence[float],
    scoring: ScoringConfig | None = None,
    *,
    lanes: Sequence[Lane] = (),
    chat: bool = False,
    check_stop: CheckStop = go_on,
) -> Iterator[list[tuple[int, Scored]]]:
    """Score every answer of `items`, yielding a batch of (index of the item, its scores) at a time, in random order.

    `lanes`, fitted to the model and with a plausible head, are scored in the same pass. With `chat`, prompts are the
    user's turn of the model's chat template. `check_stop` is called between the model's blocks and between the layers
    that are read; what it raises ends the scoring.

    Raises `QuestionTooLongError` if an item is longer than the model's context, `QuestionPromptError` if it cannot be
    read.
    """
    grid = _ScoringGrid(tuple(layers), tuple(alphas), scoring or ScoringConfig(), tuple(lanes), check_stop)
    for batch in batches_of(loaded, items, chat=chat):
        yield _score_batch(loaded.readout, batch.questions(loaded, items, chat=chat), grid, loaded.continues_word)


def answer_ids(loaded: LoadedModel, prompt: str, text: str, *, chat: bool = False) -> list[int]:
    """Token ids of an answer after its prompt, separated by a space unless the prompt ends in white space.

    With `chat`, the answer is what the assistant says. Raises `PromptError` if either holds what the model has no token
    for.
    """
    return QuestionIds.of(loaded, prompt, chat=chat).answer(text)


@torch.inference_mode()
def _score_batch(
    readout: Readout, batch: Sequence[Question], grid: _ScoringGrid, continues_word: Tensor
) -> list[tuple[int, Scored]]:
    """The scores of questions that are read together: texts whose prompts have one length, or about one image."""
    answers = [(row, answer) for row, question in enumerate(batch) for answer in question.answers]
    # A position predicts the next token. An answer of n tokens has n + 1 positions, from its prompt's last token, which
    # predicts its first, to its own last token, which predicts what follows the answer (target −1).
    answer_index = torch.tensor([number for number, (_, ids) in enumerate(answers) for _ in range(len(ids) + 1)])
    starts = torch.tensor([place == 0 for _, ids in answers for place in range(len(ids) + 1)])
    chunk_size = max(1, CHUNK_LOGITS // readout.vocab_size)
    parts = []
    with stop_between_blocks(readout, grid.check_stop):
        if batch[0].images:
            read = read_image_answers(readout, batch, answers, grid.reads)
        else:
            read = read_answers(readout, [question.prompt for question in batch], answers, grid.reads)
        for group, h in read:
            targets = torch.tensor([token for _, ids in group for token in [*ids, -1]])
            for first in range(0, len(targets), chunk_size):
                positions = slice(first, first + chunk_size)
                chunk = {layer: states[positions] for layer, states in h.items()}
                parts.append(_score_tokens(readout, chunk, targets[positions], grid, continues_word))
    scores, chosen = (torch.cat(part) for part in zip(*parts, strict=True))
    shape = (len(answers), scores.shape[1])
    sums = torch.zeros(shape, dtype=torch.float64).index_add_(0, answer_index, scores.double()).numpy()
    greedy = torch.zeros(shape).index_add_(0, answer_index, (~chosen).float()).numpy() == 0
    greedy_first = chosen[starts].numpy()
    return _split_by_question(batch, sums, greedy, greedy_first)


def _split_by_question(
    batch: Sequence[Question], sums: np.ndarray, greedy: np.ndarray, greedy_first: np.ndarray
) -> list[tuple[int, Scored]]:
    """Divide the results of a batch's answers, each `[answers, S]`, among its questions.

    `sums` are the answers' scores; `greedy` and `greedy_first` whether greedy decoding chooses all of an answer's
    tokens, and its first one.
    """
    results, start = [], 0
    for question in batch:
        end_right, end = start + question.n_right, start + len(question.answers)
        lengths = np.array([len(answer) for answer in question.answers])
        scored = Scored(
            right=sums[start:end_right],
            wrong=sums[end_right:end],
            right_tokens=lengths[: question.n_right],
            wrong_tokens=lengths[question.n_right :],
            greedy_correct=np.logical_or.reduce(greedy[start:end_right]),
            first=np.logical_or.reduce(greedy_first[start:end_right]),
        )
        results.append((question.index, scored))
        start = end
    return results


def _score_tokens(
    readout: Readout, h: dict[int, Tensor], targets: Tensor, grid: _ScoringGrid, continues_word: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores of `targets` `[M]`, and whether they are the greedy choice: `[M, S]`, bool `[M, S]`.

    `h` {layer: `[M, d]`} are the block outputs that predict them. A target of −1 stands for the end of an answer: it
    scores 0, and counts as chosen if the greedy choice does not continue a word.
    """
    scoring = grid.scoring
    log_q_N = _log_q(readout, h[readout.n_layers])
    targets, continues_word = targets.to(log_q_N.device), continues_word.to(log_q_N.device)
    answer_end = targets == -1
    best = log_q_N.argmax(-1)
    scores = [log_q_N.gather(-1, targets.clamp_min(0)[:, None])]
    chosen = [torch.where(answer_end, ~continues_word[best], best == targets)[:, None]]
    # Where every token is plausible nothing needs sorting, and one column serves all such α.
    unconstrained = [not scoring.apc or alpha == 0 for alpha in grid.alphas]
    heads = PlausibleHeads.of(
        log_q_N, targets, [alpha for alpha, free in zip(grid.alphas, unconstrained, strict=True) if not free]
    )
    # Constrained α come first below; `column_order` puts them back into the order of `alphas`.
    constrained_first = sorted(range(len(unconstrained)), key=unconstrained.__getitem__)
    column_order = torch.tensor(constrained_first, dtype=torch.long, device=log_q_N.device).argsort()
    beside = LaneScores(grid.lanes, log_q_N, targets) if grid.lanes else None
    for layer in grid.reads:
        grid.check_stop()
        log_q_J = _log_q(readout, h[layer], early_norm=scoring.early_norm)
        if beside:
            beside.add(layer, log_q_J)
        if layer not in grid.layers:
            continue
        F = log_q_N - log_q_J
        needs_norm = scoring.post_softmax == "vocabulary" or any(unconstrained)
        norm = F.logsumexp(-1, keepdim=True) if needs_norm else None
        columns = []
        if not all(unconstrained):
            columns.append(heads.score(log_q_J, continues_word, norm, scoring.post_softmax))
        if any(unconstrained):
            score, is_choice = score_without_head(F, targets, continues_word, norm, scoring.post_softmax)
            columns.append((score.expand(-1, sum(unconstrained)), is_choice.expand(-1, sum(unconstrained))))
        layer_scores, layer_chosen = (torch.cat(part, -1)[:, column_order] for part in zip(*columns, strict=True))
        scores.append(layer_scores)
        chosen.append(layer_chosen)
    if beside:
        for columns_of, part in zip((scores, chosen), beside.score(continues_word, scoring.post_softmax), strict=True):
            columns_of.append(part)
    return torch.where(answer_end[:, None], 0.0, torch.cat(scores, -1)).cpu(), torch.cat(chosen, -1).cpu()


def _log_q(readout: Readout, h: Tensor, *, early_norm: bool = True) -> Tensor:
    """Log-probabilities `[M, V]` of block outputs `[M, d]`, where they can be reduced: Apple's MPS has no float64."""
    log_q = log_softmax(readout.logits(h, early_norm=early_norm))
    return log_q.cpu() if log_q.device.type == "mps" else log_q
