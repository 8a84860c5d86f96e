"""Questions as turns of a chat: what is scored is what the model's template writes."""

import pytest
import torch

from dola_core.errors import PromptError
from dola_core.lanes import DecodingConfig
from dola_core.layer_search.answers.question_ids import QuestionIds
from dola_core.layer_search.answers.scoring import answer_ids, score_items
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.search import search_layers
from dola_core.layer_search.search_config import SearchConfig
from tests.dola_core.layer_search.conftest import CHAT_TEMPLATE
from tests.dola_core.layer_search.questions import ITEMS

LAYERS, ALPHAS = (3, 22), (0.0, 0.1)
PROMPT, ANSWER = "What is the capital of Peru?", "Lima"

TEMPLATES = {
    "line": CHAT_TEMPLATE,
    "space": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}",
    "nothing": "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
    "parts": "{% for m in messages %}<{{ m.role }}>{{ m.content[0].text + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
}


@pytest.fixture
def with_template(chatty, monkeypatch):
    def change(template: str):
        monkeypatch.setattr(chatty.tokenizer, "chat_template", template)
        return chatty

    return change


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_answer_follows_as_the_template_writes_what_the_assistant_says(with_template, name):
    loaded = with_template(TEMPLATES[name])
    question = QuestionIds.of(loaded, PROMPT, chat=True)
    turns = [("user", PROMPT), ("assistant", ANSWER)]
    if name == "parts":
        chat = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]
    else:
        chat = [{"role": role, "content": text} for role, text in turns]
    whole = loaded.tokenizer.apply_chat_template(chat, tokenize=False)
    ids = loaded.tokenizer(whole, add_special_tokens=False)["input_ids"]
    read = question.prompt + question.answer(ANSWER)
    assert loaded.tokenizer.decode(read) == loaded.tokenizer.decode(ids[: len(read)])
    assert question.prompt == loaded.encode(PROMPT, chat=True)
    assert question.answer(ANSWER) == answer_ids(loaded, PROMPT, ANSWER, chat=True)


@pytest.mark.parametrize(
    ("ending", "gap"), [("assistant\n", ""), ("assistant ", ""), ("assistant:", " "), ("<answer>", " ")]
)
def test_where_a_template_does_not_tell_a_space_parts_the_answer_from_a_word(with_template, ending, gap):
    """Some templates write past answers otherwise, such as without what a model thought."""
    loaded = with_template(
        "{% for m in messages %}{{ '(past) ' if m.role == 'assistant' else '' }}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}" + ending + "{% endif %}"
    )
    assert QuestionIds.of(loaded, PROMPT, chat=True).gap == gap


def test_an_answer_that_cannot_be_read_is_refused_in_a_chat_too(chatty, monkeypatch):
    question = QuestionIds.of(chatty, PROMPT, chat=True)
    monkeypatch.setattr(chatty.text_ids, "size", 300)
    with pytest.raises(PromptError, match="but the model itself has none; leave that out"):
        question.answer(ANSWER)


def test_a_chat_is_scored_as_the_model_reads_the_text_that_its_template_writes(chatty):
    item = Item(prompt=PROMPT, answers=(ANSWER, "It is Lima."), wrong=("Cusco",))
    ((_, scored),) = next(score_items(chatty, [item], LAYERS, ALPHAS, chat=True))
    begun = chatty.tokenizer(f"[user]\n{PROMPT}</s>\n[assistant]\n", add_special_tokens=False)["input_ids"]
    for row, text in zip((*scored.right, *scored.wrong), (*item.answers, *item.wrong), strict=True):
        ids = begun + chatty.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            log_q_N = chatty.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        places = range(len(begun), len(ids))
        assert row[0] == pytest.approx(sum(log_q_N[place - 1, ids[place]].item() for place in places), abs=1e-4)


def test_a_search_puts_every_prompt_as_a_chat_whatever_the_task(chatty, monkeypatch):
    asked = []
    encode = type(chatty).encode

    def seen(loaded, prompt, *, chat=False, **more):
        asked.append((prompt, chat))
        return encode(loaded, prompt, chat=chat, **more)

    monkeypatch.setattr(type(chatty), "encode", seen)
    for config in (
        SearchConfig(strategy="grid", alphas=(0.1,), metric="accuracy", chat=True),
        SearchConfig(strategy="grid", alphas=(0.1,), metric="said", chat=True),
        SearchConfig(
            strategy="grid", alphas=(0.1,), metric="contains", chat=True, task="generate",
            decoding=DecodingConfig(max_new_tokens=3),
        ),
    ):  # fmt: skip
        search_layers(chatty, ITEMS[:4], config)
    assert {prompt for prompt, _ in asked} == {item.prompt for item in ITEMS[:4]}
    assert all(chat for _, chat in asked)


def test_a_model_without_a_template_is_refused_before_anything_is_read(atlas, monkeypatch):
    monkeypatch.setattr(type(atlas), "encode", lambda *_, **__: pytest.fail("a question was read"))
    with pytest.raises(ValueError, match=r"^atlas-30l has no chat template; leave out chat\.$"):
        search_layers(atlas, ITEMS, SearchConfig(chat=True))


def test_solved_examples_stand_before_what_the_model_reads(atlas):
    config = SearchConfig(strategy="grid", alphas=(0.1,), metric="accuracy", few_shot=2, limit=6, seed=3)
    result = search_layers(atlas, ITEMS, config)
    first, second = (ITEMS[number] for number in result.data.examples)
    assert result.before == f"{first.prompt} {first.answers[0]}\n\n{second.prompt} {second.answers[0]}\n\n"
    names = {first.entity, second.entity}
    others = [item for item in ITEMS if item.entity not in names]
    assert (result.data.of, result.data.left_out) == (6, len(ITEMS) - len(others))
    by_hand = [item.model_copy(update={"prompt": result.before + item.prompt}) for item in others]
    plain = config.model_copy(update={"few_shot": 0, "limit": None})
    everything = search_layers(atlas, ITEMS, config.model_copy(update={"limit": None}))
    assert everything.curves == search_layers(atlas, by_hand, plain).curves
    assert everything.curves != search_layers(atlas, others, plain).curves


@pytest.mark.parametrize("other", [{"chat": True}, {"preamble": True}])
def test_solved_examples_stand_in_plain_text_only(other):
    with pytest.raises(ValueError, match="leave out few_shot, or else chat and preamble"):
        SearchConfig(few_shot=1, **other)
