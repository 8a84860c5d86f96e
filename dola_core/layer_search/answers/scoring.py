"""Score answers by the baseline, by DoLa-static at every (j*, α) and by any lanes, from one pass over each answer.

Teacher forcing: an answer's log-likelihood needs the read-outs at its own tokens only. Each prompt is read once, its
answers are read as a batch on the prompt's KV cache, and the hidden states of all layers go through the LM head a few
positions at a time. Memory beside the model: the KV cache of `BATCH_TOKENS` tokens (or of one prompt with one answer,
if that is more), the hidden states at the answers' tokens, and `CHUNK_LOGITS` logits. Nothing grows with
layers × vocabulary × length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor

from dola_core.contrast import log_softmax
from dola_core.errors import PromptError, QuestionPromptError, QuestionTooLongError
from dola_core.lanes import Lane
from dola_core.layer_search.answers.lane_scores import LaneScores
from dola_core.layer_search.answers.plausible_heads import PlausibleHeads, PostSoftmax, score_without_head
from dola_core.layer_search.answers.question_ids import QuestionIds
from dola_core.layer_search.answers.stopping import CheckStop, go_on, stop_between_blocks
from dola_core.layer_search.questions.dataset import Item
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.reading.cached_texts import CachedTexts, read_states
from dola_core.models.reading.proof import context_length, reading_rules
from dola_core.models.reading.readout import Readout, last_position

BATCH_TOKENS = 4096
"""Tokens of prompts and answers that are read together."""
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
class _Question:
    """A question as token ids."""

    index: int
    """Index among the items."""
    prompt: list[int]
    answers: list[list[int]]
    """The right answers first."""
    n_right: int


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
    for batch in _shuffled_batches(loaded, items, chat):
        yield _score_batch(loaded.readout, batch, grid, loaded.continues_word)


def batches_of(loaded: LoadedModel, items: Sequence[Item], *, chat: bool = False) -> list[list[int]]:
    """The indices of the items that `score_items` reads together, in its order.

    Scored by themselves, the items of a batch are one batch again, and have the same scores to the last bit. Raises as
    `score_items` does.
    """
    return [[question.index for question in batch] for batch in _shuffled_batches(loaded, items, chat)]


def _shuffled_batches(loaded: LoadedModel, items: Sequence[Item], chat: bool) -> "list[list[_Question]]":
    questions = [_question(loaded, index, item, chat) for index, item in enumerate(items)]
    batches = list(_batches(sorted(questions, key=lambda question: len(question.prompt))))
    Random(0).shuffle(batches)  # so that the first results are of a sample, not of the shortest questions
    return batches


def answer_ids(loaded: LoadedModel, prompt: str, text: str, *, chat: bool = False) -> list[int]:
    """Token ids of an answer after its prompt, separated by a space unless the prompt ends in white space.

    With `chat`, the answer is what the assistant says. Raises `PromptError` if either holds what the model has no token
    for.
    """
    return QuestionIds.of(loaded, prompt, chat=chat).answer(text)


def _question(loaded: LoadedModel, index: int, item: Item, chat: bool) -> _Question:
    try:
        ids = QuestionIds.of(loaded, item.prompt, chat=chat)
        answers = [ids.answer(text) for text in (*item.answers, *item.wrong)]
    except PromptError as error:
        raise QuestionPromptError(index + 1, error) from error
    length, context = len(ids.prompt) + max(map(len, answers)), context_length(loaded.readout)
    if context is not None and length > context:
        raise QuestionTooLongError(index + 1, length, context)
    return _Question(index, ids.prompt, answers, len(item.answers))


def _batches(questions: list[_Question]) -> Iterator[list[_Question]]:
    """Group questions, sorted by prompt length, into batches whose prompts have one length and need no padding.

    Each batch holds as many as fit into `BATCH_TOKENS` with their padded answers, and at least one question.
    """
    batch: list[_Question] = []
    n_answers = longest = 0
    for question in questions:
        longest_here = max(map(len, question.answers))
        joint_answers, joint_longest = n_answers + len(question.answers), max(longest, longest_here)
        length = len(question.prompt)
        full = joint_answers * (length + joint_longest) > BATCH_TOKENS
        if batch and (length != len(batch[0].prompt) or full):
            yield batch
            batch, joint_answers, joint_longest = [], len(question.answers), longest_here
        batch.append(question)
        n_answers, longest = joint_answers, joint_longest
    if batch:
        yield batch


@torch.inference_mode()
def _score_batch(
    readout: Readout, batch: list[_Question], grid: _ScoringGrid, continues_word: Tensor
) -> list[tuple[int, Scored]]:
    """The scores of a batch of questions, whose prompts have one length."""
    answers = [(row, answer) for row, question in enumerate(batch) for answer in question.answers]
    # A position predicts the next token. An answer of n tokens has n + 1 positions, from its prompt's last token, which
    # predicts its first, to its own last token, which predicts what follows the answer (target −1).
    answer_index = torch.tensor([number for number, (_, ids) in enumerate(answers) for _ in range(len(ids) + 1)])
    starts = torch.tensor([place == 0 for _, ids in answers for place in range(len(ids) + 1)])
    chunk_size = max(1, CHUNK_LOGITS // readout.vocab_size)
    parts = []
    with stop_between_blocks(readout, grid.check_stop):
        for group, h in read_answers(readout, [question.prompt for question in batch], answers, grid.reads):
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
    batch: list[_Question], sums: np.ndarray, greedy: np.ndarray, greedy_first: np.ndarray
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


Answers = list[tuple[int, list[int]]]
"""(row of the prompt in the batch, token ids) of each answer."""


def read_answers(
    readout: Readout, prompts: list[list[int]], answers: Answers, layers: tuple[int, ...]
) -> Iterator[tuple[Answers, dict[int, Tensor]]]:
    """Run the model on prompts of one length, and on their KV cache over the answers, `BATCH_TOKENS` at a time.

    Yields groups of answers with the block outputs at the positions that predict their tokens and what follows them,
    answer after answer: {layer: `[Σ (length + 1), d]`} for `layers` and the last layer.
    """
    captured = [*layers, readout.n_layers]
    rules = reading_rules(readout)
    texts = CachedTexts(readout, torch.tensor(prompts, device=readout.device), rules)
    prompt_states = read_states(texts, captured, last_position) if rules.in_chunks else None
    longest = max(len(ids) for _, ids in answers)
    group_size = max(1, BATCH_TOKENS // (len(prompts[0]) + longest))
    for first in range(0, len(answers), group_size):
        group = answers[first : first + group_size]
        is_last = first + group_size >= len(answers)
        yield group, _read_group(texts if is_last else texts.copy(), prompt_states, group, captured)


def _read_group(
    texts: CachedTexts, prompt_states: dict[int, Tensor] | None, answers: Answers, captured: list[int]
) -> dict[int, Tensor]:
    """Block outputs at the prompts' last tokens and at the answers' tokens; extends `texts`, the prompts.

    `prompt_states` {layer: `[prompts, d]`} are those at the prompts' last tokens. They are None for a model that must
    read a prompt and its answer in one piece.
    """
    rows = torch.tensor([row for row, _ in answers])  # on the CPU: such an index works on every layer's device
    prompt = texts.ids.shape[1]
    texts.select(rows.tolist())
    width = max(len(ids) for _, ids in answers)
    # Padding on the right needs no mask: attention is causal.
    texts.append(torch.tensor([ids + [0] * (width - len(ids)) for _, ids in answers]))
    states = read_states(texts, captured, (lambda h: h) if prompt_states else (lambda h: h[:, prompt - 1 :]))
    if prompt_states:
        states = {
            layer: torch.cat([prompt_states[layer][rows][:, None], states.pop(layer)], dim=1) for layer in captured
        }
    inside = torch.arange(width + 1) <= torch.tensor([len(ids) for _, ids in answers])[:, None]
    return {layer: states.pop(layer)[inside] for layer in captured}


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
