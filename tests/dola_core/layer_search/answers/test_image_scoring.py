"""Answers to questions about images have the scores of uncached passes of the whole model; an image is read once."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from dola_core.comparison import ChatTurn, Prompt
from dola_core.errors import PromptError, QuestionPromptError
from dola_core.layer_search.answers import batches, image_batches
from dola_core.layer_search.answers.batches import batches_of
from dola_core.layer_search.answers.plausible_heads import OUTSIDE
from dola_core.layer_search.answers.question_ids import QuestionIds
from dola_core.layer_search.answers.scoring import score_items
from dola_core.layer_search.questions.dataset import Item
from dola_core.models.images.image_file import open_image
from tests.dola_core import reference
from tests.dola_core.models.images.cases import BY_HAND, NaiveWithImages, loaded
from tests.dola_core.models.images.families import FAMILIES, picture

LAYERS, ALPHAS = (3, 22), (0.0, 0.1)
NAMES = [name for name in FAMILIES if name not in BY_HAND]
"""The families whose own processor can be loaded without torchvision."""
THOROUGH = ["llava", "qwen2.5-vl", "gemma3", "smolvlm"]
"""Those of them that are asked more."""
CLOSE = {"rel": 1e-5, "abs": 1e-4}
"""How far scores may lie apart: sums of differences of log-probabilities in float32, behind 30 layers."""
QUESTIONS = (
    ("Is it red?", "Yes", "No"),
    ("Is there anything in the picture that a person could eat?", "No", "Yes, there is."),
    ("Is there anything here?", "Yes", "No"),
    ("Red or blue:", "a very dark blue", "red"),
)


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> list[Item]:
    """Questions about two images of different sizes, and without an image, one among the other."""
    folder = tmp_path_factory.mktemp("images")
    for name, size in (("a", (84, 60)), ("b", (58, 88))):
        picture(ord(name), size).save(folder / f"{name}.png")
    images = (str(folder / "a.png"), None, str(folder / "b.png"))
    return [
        Item(prompt=text, answers=(right,), wrong=(wrong,), image=image)
        for text, right, wrong in QUESTIONS
        for image in images
    ]


def scores_of(model, items, **more) -> dict:
    return dict(pair for batch in score_items(model, items, LAYERS, ALPHAS, **more) for pair in batch)


def naive(model, item: Item, answer: str, chat: bool) -> list[float]:
    """The scores of an answer: a pass of the whole model for each of its tokens."""
    images = (open_image(item.image),) if item.image else ()
    turn = ChatTurn() if chat else None
    ids, read = model.read_prompt(Prompt(item.prompt, images, turn))
    gap = "" if chat else " "
    joint, _ = model.read_prompt(Prompt(f"{item.prompt}{gap}{answer}", images, turn))
    behind = model.text_ids.continuation(answer) if chat else joint[len(ids) :]
    decoder = NaiveWithImages(model.model, dict(read.inputs.beside) if read else {}, len(ids))
    totals = np.zeros(1 + len(LAYERS) * len(ALPHAS))
    for place, token in enumerate(behind):
        before = [*ids, *behind[:place]]
        mature, *early = decoder.log_qs(before, *LAYERS)
        totals[0] += mature[token]
        for n, (log_q_J, alpha) in enumerate(product(early, ALPHAS), start=1):
            F = reference.contrast(mature, log_q_J, alpha, 1.0)
            totals[n] += F[token] - np.logaddexp.reduce(F) if np.isfinite(F[token]) else OUTSIDE
    return totals.tolist()


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("name", NAMES)
def test_every_score_is_that_of_uncached_passes_of_the_whole_model(name, chat, items):
    model, few = loaded(name), items if name in THOROUGH and not chat else items[:6]
    scored = scores_of(model, few, chat=chat)
    assert sorted(scored) == list(range(len(few)))
    for number, item in enumerate(few):
        for answer, row in ((item.answers[0], scored[number].right[0]), (item.wrong[0], scored[number].wrong[0])):
            assert row.tolist() == pytest.approx(naive(model, item, answer, chat), **CLOSE), item


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_has_the_ids_that_the_processor_gives_it(name, items):
    model, item = loaded(name), items[0]
    images = (open_image(item.image),)
    question = QuestionIds.of_item(model, item)
    joint, _ = model.read_prompt(Prompt(f"{item.prompt} a dark blue", images))
    assert question.prompt + question.answer("a dark blue") == joint
    chat = QuestionIds.of_item(model, item, chat=True)
    assert chat.gap == ""  # the template writes a space before it
    assert chat.prompt == model.read_prompt(Prompt(item.prompt, images, ChatTurn()))[0]


def read_by(model, run) -> list[tuple[int, int]]:
    """The (rows, tokens) of each pass of the model."""
    read = []
    hook = model.readout.blocks[0].register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple((*args, *kwargs.values())[0].shape[:2])), with_kwargs=True
    )
    try:
        run()
    finally:
        hook.remove()
    return read


@pytest.mark.parametrize("name", NAMES)
def test_what_questions_about_one_image_begin_with_is_read_once(name, items):
    model, about = loaded(name), [item for item in items if item.image == items[0].image]
    scores_of(model, about)  # what is proved once for each model is behind us
    questions = [QuestionIds.of_item(model, item) for item in about]
    prompts = [question.prompt for question in questions]
    shared = next(n for n in range(len(prompts[0])) if len({prompt[n] for prompt in prompts}) > 1)
    assert shared >= questions[0].images.inputs.end
    longest = max(
        len(question.prompt) - shared + len(question.answer(answer))
        for question, item in zip(questions, about, strict=True)
        for answer in (*item.answers, *item.wrong)
    )
    read = read_by(model, lambda: scores_of(model, about))
    assert read == [(1, shared), (2 * len(about), longest)]


def test_in_small_groups_the_image_is_still_read_once(items, monkeypatch):
    model, about = loaded("llava"), [item for item in items if item.image == items[0].image]
    whole = scores_of(model, about)
    monkeypatch.setattr(batches, "BATCH_TOKENS", 70)
    few = {}
    read = read_by(model, lambda: few.update(scores_of(model, about)))
    assert [rows for rows, _ in read] == [1, *[read[1][0]] * (len(read) - 2), read[-1][0]]
    assert sum(rows for rows, _ in read[1:]) == 2 * len(about)
    assert len(read) > 3
    for number in whole:
        assert whole[number].right == pytest.approx(few[number].right, **CLOSE)


@pytest.mark.parametrize("name", THOROUGH)
@pytest.mark.parametrize("rule", ["in_chunks", "rows_together", "apart"])
def test_models_that_read_otherwise_have_the_same_scores(name, rule, items, monkeypatch):
    model = loaded(name)
    usual = scores_of(model, items)
    if rule == "apart":
        monkeypatch.setattr(image_batches, "_can_share", lambda *_: False)
    else:
        rules = replace(image_batches.reading_rules(model.readout), **{rule: False})
        for module in (batches, image_batches):
            monkeypatch.setattr(module, "reading_rules", lambda readout: rules)
    other = scores_of(model, items)
    for number in usual:
        assert usual[number].right == pytest.approx(other[number].right, **CLOSE)
        assert usual[number].wrong == pytest.approx(other[number].wrong, **CLOSE)


def test_a_model_that_sees_what_is_behind_an_image_shares_nothing(items, monkeypatch):
    """As one whose beginning depends on the rest of its prompt."""
    model, about = loaded("llava"), [item for item in items if item.image == items[0].image]
    usual = scores_of(model, about)
    monkeypatch.delitem(image_batches._SHARE, model.readout.model)
    monkeypatch.setattr(image_batches, "_cut", lambda inputs, length: blank)
    blank = QuestionIds.of_item(model, about[0], blank=True).images.blank
    read = read_by(model, lambda: usual.update({-1: scores_of(model, about)}))
    assert image_batches._SHARE.pop(model.readout.model) is False
    for number, scored in usual.pop(-1).items():
        assert usual[number].right == pytest.approx(scored.right, **CLOSE)
    assert len(read) > 2 * len(about)


def test_the_questions_of_a_batch_are_one_batch_again(items, monkeypatch):
    monkeypatch.setattr(batches, "OF_ONE_IMAGE", 3)
    model = loaded("llava")
    found = batches_of(model, items)
    assert sorted(index for batch in found for index in batch.indices) == list(range(len(items)))
    for batch in found:
        own = [items[index] for index in batch.indices]
        assert [again.indices for again in batches_of(model, own)] == [tuple(range(len(own)))]
        assert len({item.image for item in own}) == 1
    whole = scores_of(model, items)
    own = scores_of(model, [items[index] for index in found[0].indices])
    for place, index in enumerate(found[0].indices):
        assert np.array_equal(whole[index].right, own[place].right)


def test_only_the_images_of_the_questions_that_are_scored_are_open(items, monkeypatch):
    opened = []
    monkeypatch.setattr(batches, "question_image", lambda path: opened.append(path) or open_image(path))
    found = score_items(loaded("llava"), items, LAYERS, ALPHAS)
    counts = [len(opened) for _ in found]
    assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) == 1
    assert sorted(opened) == sorted({item.image for item in items} - {None})


@torch.no_grad()
def test_a_model_without_images_says_so_with_the_number_of_the_question(atlas, items):
    with pytest.raises(
        QuestionPromptError, match=r"^Question \d+: This model reads no images; leave the image out"
    ) as no:
        list(score_items(atlas, items, LAYERS, ALPHAS))
    assert isinstance(no.value.reason, PromptError)
    assert items[no.value.number - 1].image
