"""Which questions are read together, and the passes of the model over their prompts and answers.

Texts are read together whose prompts have one length. Questions with an image are read by themselves, those about one
image together: see `image_batches`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from dola_core.errors import PromptError, QuestionPromptError, QuestionTooLongError
from dola_core.layer_search.answers.question_ids import QuestionIds
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.questions.image_files import question_image
from dola_core.models.images.image_file import PromptImage
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.reading.cached_texts import CachedTexts, read_states
from dola_core.models.reading.image_inputs import ImageInputs
from dola_core.models.reading.proof import context_length, reading_rules
from dola_core.models.reading.readout import Readout, last_position

BATCH_TOKENS = 4096
"""Tokens of prompts and answers that are read together."""
OF_ONE_IMAGE = 64
"""The most questions about one image that are read together."""


@dataclass(frozen=True)
class Question:
    """A question as token ids."""

    index: int
    """Index among the items."""
    prompt: list[int]
    answers: list[list[int]]
    """The right answers first."""
    n_right: int
    images: ImageInputs | None = None
    """What the model reads beside the prompt, if it holds an image."""


@dataclass(frozen=True)
class QuestionBatch:
    """Questions that are read together."""

    indices: tuple[int, ...]
    """Their indices among the items."""
    texts: tuple[Question, ...] = ()
    """As token ids; empty where they hold an image, which is opened when they are read."""

    def questions(self, loaded: LoadedModel, items: Sequence[Item], *, chat: bool) -> tuple[Question, ...]:
        """The questions as token ids; raises as `score_items` does."""
        if self.texts:
            return self.texts
        path, first = items[self.indices[0]].image or "", self.indices[0]
        try:
            images = (question_image(path),)
        except PromptError as error:
            raise QuestionPromptError(first + 1, error) from error
        return tuple(_question(loaded, index, items[index], chat, images) for index in self.indices)


def batches_of(loaded: LoadedModel, items: Sequence[Item], *, chat: bool = False) -> list[QuestionBatch]:
    """What `score_items` reads together, in its order.

    Scored by themselves, the items of a batch are one batch again, and have the same scores to the last bit. Raises as
    `score_items` does for questions without an image.
    """
    texts = [_question(loaded, index, item, chat) for index, item in enumerate(items) if item.image is None]
    batches = [
        QuestionBatch(tuple(question.index for question in batch), tuple(batch))
        for batch in _of_one_length(sorted(texts, key=lambda question: len(question.prompt)))
    ]
    of_image = dict[str, list[int]]()
    for index, item in enumerate(items):
        if item.image is not None:
            of_image.setdefault(item.image, []).append(index)
    batches += [
        QuestionBatch(tuple(indices[first : first + OF_ONE_IMAGE]))
        for indices in of_image.values()
        for first in range(0, len(indices), OF_ONE_IMAGE)
    ]
    Random(0).shuffle(batches)  # so that the first results are of a sample, not of the shortest questions
    return batches


def _question(
    loaded: LoadedModel, index: int, item: Item, chat: bool, images: tuple[PromptImage, ...] = ()
) -> Question:
    try:
        ids = QuestionIds.of(loaded, item.prompt, chat=chat, images=images)
        answers = [ids.answer(text) for text in (*item.answers, *item.wrong)]
    except PromptError as error:
        raise QuestionPromptError(index + 1, error) from error
    length, context = len(ids.prompt) + max(map(len, answers)), context_length(loaded.readout)
    if context is not None and length > context:
        raise QuestionTooLongError(index + 1, length, context)
    return Question(index, ids.prompt, answers, len(item.answers), ids.images.inputs if ids.images else None)


def _of_one_length(questions: list[Question]) -> Iterator[list[Question]]:
    """Group questions, sorted by prompt length, into batches whose prompts have one length and need no padding.

    Each batch holds as many as fit into `BATCH_TOKENS` with their padded answers, and at least one question.
    """
    batch: list[Question] = []
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


Answers = list[tuple[int, list[int]]]
"""(row of the prompt in the batch, token ids) of each answer."""


def read_answers(
    readout: Readout,
    prompts: list[list[int]],
    answers: Answers,
    layers: tuple[int, ...],
    images: Sequence[ImageInputs | None] = (),
) -> Iterator[tuple[Answers, dict[int, Tensor]]]:
    """Run the model on prompts of one length, and on their KV cache over the answers, `BATCH_TOKENS` at a time.

    `images` are those of each prompt, of equal sizes, if they hold any. Yields groups of answers with the block outputs
    at the positions that predict their tokens and what follows them, answer after answer:
    {layer: `[Σ (length + 1), d]`} for `layers` and the last layer.
    """
    captured = [*layers, readout.n_layers]
    rules = reading_rules(readout)
    texts = CachedTexts(readout, torch.tensor(prompts, device=readout.device), rules, images)
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
