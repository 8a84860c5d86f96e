"""The passes of the model over questions about one image, whose common beginning, image included, is read once."""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dola_core.layer_search.answers import batches
from dola_core.layer_search.answers.batches import Answers, Question, read_answers
from dola_core.models.quantising import plain_products
from dola_core.models.reading.cached_texts import CachedTexts, read_logits, read_states
from dola_core.models.reading.image_inputs import ImageInputs
from dola_core.models.reading.image_proof import TEXT, uncached_logits
from dola_core.models.reading.proof import Trial, differences, reading_rules
from dola_core.models.reading.readout import Readout, last_position

_SHARE: weakref.WeakKeyDictionary[PreTrainedModel, bool] = weakref.WeakKeyDictionary()
"""{model: whether it reads the beginning of a prompt as it does with the rest}"""


def read_image_answers(
    readout: Readout, questions: Sequence[Question], answers: Answers, layers: tuple[int, ...]
) -> Iterator[tuple[Answers, dict[int, Tensor]]]:
    """Run the model on questions about one image, and yield what `read_answers` yields.

    Where the model allows it, what all prompts begin with is read once. What follows it in each of them is read on
    copies of its cache, each answer behind its prompt, `BATCH_TOKENS` at a time.
    """
    inputs, shared = questions[0].images, _common_length([question.prompt for question in questions])
    if inputs is None or len(questions) == 1 or shared < inputs.end or not _can_share(readout, questions[0], shared):
        for row, question in enumerate(questions):
            own = [(0, ids) for place, ids in answers if place == row]
            yield from read_answers(readout, [question.prompt], own, layers, [question.images])
        return
    captured = [*layers, readout.n_layers]
    texts = _beginning(readout, questions[0], shared)
    longest = max(len(questions[row].prompt) + len(ids) for row, ids in answers)
    group_size = max(1, batches.BATCH_TOKENS // longest)
    for first in range(0, len(answers), group_size):
        group = answers[first : first + group_size]
        own_texts = texts if first + group_size >= len(answers) else texts.copy()
        known = own_texts.known
        _go_on(own_texts, [[*questions[row].prompt[shared:], *ids] for row, ids in group])
        states = read_states(own_texts, captured, lambda h: h)
        places = torch.arange(known, own_texts.ids.shape[1])
        starts = torch.tensor([len(questions[row].prompt) - 1 for row, _ in group])[:, None]
        lengths = torch.tensor([len(ids) + 1 for _, ids in group])[:, None]
        inside = (places >= starts) & (places < starts + lengths)
        yield group, {layer: states.pop(layer)[inside] for layer in captured}


def _common_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many ids all prompts begin with, without the last one of any, whose output predicts its answers."""
    most, first = min(map(len, prompts)) - 1, prompts[0]
    return next((n for n in range(most) if any(prompt[n] != first[n] for prompt in prompts)), most)


def _beginning(readout: Readout, question: Question, length: int) -> CachedTexts:
    """The first `length` ids of a prompt, read unless the model must read a text in one piece.

    What comes behind them is text, whatever was there in `question`.
    """
    inputs, rules = question.images, reading_rules(readout)
    ids = torch.tensor([question.prompt[:length]], device=readout.device)
    texts = CachedTexts(readout, ids, rules, [inputs and _cut(inputs, length)])
    if rules.in_chunks:
        read_states(texts, [readout.n_layers], last_position)
    return texts


def _cut(inputs: ImageInputs, length: int) -> ImageInputs:
    """The images of a prompt of which the first `length` ids are left."""
    beside = {name: each[:, :length] if name in inputs.aligned else each for name, each in inputs.beside.items()}
    return replace(
        inputs, beside=beside, positions=None if inputs.positions is None else inputs.positions[..., :length]
    )


def _go_on(texts: CachedTexts, rows: Sequence[list[int]]) -> None:
    """Make a text into several, each of which goes on with ids of its own."""
    width = max(map(len, rows))
    texts.select([0] * len(rows))
    # Padding on the right needs no mask: attention is causal.
    texts.append(torch.tensor([ids + [0] * (width - len(ids)) for ids in rows]))


def _can_share(readout: Readout, question: Question, shared: int) -> bool:
    """Whether the model goes on from the beginning of a prompt as in one uncached pass; tried once for each model.

    Some read all of a prompt with an image at once, each token seeing those behind it.
    """
    model = readout.model
    if model not in _SHARE:
        _SHARE[model] = _agrees(readout, question, shared)
    return _SHARE[model]


@torch.no_grad()
def _agrees(readout: Readout, question: Question, shared: int) -> bool:
    if question.images is None:
        return False
    with plain_products(readout.model):
        rest = [*question.prompt[shared:], *max(question.answers, key=len)]
        expected = uncached_logits(readout, [*question.prompt[:shared], *rest], question.images)[-1]
        texts = _beginning(readout, question, shared)
        _go_on(texts, [rest[:1], rest])
        read = read_logits(texts, [(readout.n_layers, 1)], early_norm=True)
        both = read[[0, 2]].to(expected.device)  # through `LN_out`, and by the model, of the second row
        return bool((differences(both, expected) <= Trial(readout, TEXT).tolerance).all())
