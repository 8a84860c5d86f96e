"""Text becomes ids that a model can go on from, or is refused with what cannot be read."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from dola_core.errors import PROMPT_ERRORS, PromptError, QuestionPromptError
from dola_core.layer_search.answers.scoring import answer_ids, score_items
from dola_core.layer_search.evaluate import MetricTable, evaluate_items
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.loaded_model import LoadedModel
from tests.dola_core.models.small_tokenizers import BOS, EOS, LETTERS, byte_level, loaded_with, word_level
from tests.dola_core.tiny import V

TEXT = "the capital of"


@pytest.mark.parametrize("make", [byte_level, word_level])
@pytest.mark.parametrize("before", ["", "<s> ", "<|turn|> <s> "])
@pytest.mark.parametrize("behind", ["", "</s>", "<|end|> </s>"])
class TestPrompts:
    def test_nothing_stands_behind_the_text(self, make, before, behind):
        loaded, plain = loaded_with(make(before=before, behind=behind)), make(before=before)
        assert loaded.encode(TEXT) == list(plain(TEXT)["input_ids"])

    def test_a_pasted_beginning_is_not_doubled(self, make, before, behind):
        loaded = loaded_with(make(before=before, behind=behind))
        pasted = before.replace(" ", "") or "<s>"
        expected = loaded.encode(TEXT) if before else [BOS, *loaded.encode(TEXT)]
        assert loaded.encode(pasted + TEXT) == expected
        assert loaded.encode(pasted + pasted + TEXT) == expected

    def test_an_end_that_the_text_itself_holds_stays(self, make, before, behind):
        loaded = loaded_with(make(before=before, behind=behind))
        assert loaded.encode(f"{TEXT}</s>") == [*loaded.encode(TEXT), EOS]

    def test_answers_follow_their_prompt_and_end_with_their_own_text(self, make, before, behind):
        loaded = loaded_with(make(before=before, behind=behind))
        ids = answer_ids(loaded, TEXT, "is the")
        assert ids == loaded.encode(f"{TEXT} is the")[len(loaded.encode(TEXT)) :]
        assert ids[-1] != EOS
        assert loaded.text(ids).strip() in ("is the", "isthe")


def refused(loaded: LoadedModel, text: str, **how: bool) -> str:
    with pytest.raises(PromptError) as error:
        loaded.encode(text, **how)
    return str(error.value)


UNREADABLE = [
    (byte_level(), "a\x07b", "U+0007"),
    (byte_level(), "a\x1cb", "U+001C"),
    (byte_level(), "a\nb", "U+000A"),
    (byte_level(), "café", "“é” (U+00E9)"),
    (byte_level(), "☃ and \u200b", "“☃” (U+2603), U+200B"),
    (byte_level(without={"q"}), "a quiz", "“q”"),
    (byte_level(), "\u0007\u0008\u000e\u000f\u0010\u0011", "U+0007, U+0008, U+000E, U+000F, U+0010, …"),
    (word_level(), "the zebra is", "“zebra”"),
    (word_level(), "the\x07 capital", "U+0007"),
    (word_level(), "x" * 50, f"“{'x' * 20}…”"),
]


@pytest.mark.parametrize(("tokenizer", "text", "named"), UNREADABLE, ids=[named for _, _, named in UNREADABLE])
def test_what_has_no_token_is_named(tokenizer, text, named):
    expected = f"The model's tokenizer has no token for {named}; leave that out."
    loaded = loaded_with(tokenizer)
    assert refused(loaded, text) == expected
    tokenizer.chat_template = "{{ messages[0].content }}"
    assert refused(loaded, text, chat=True) == expected


def test_what_is_only_another_spelling_is_read():
    """White space between words, capitals, accents: the tokenizer's own normalising is no loss."""
    loaded = loaded_with(word_level())
    assert loaded.encode("  The\tCAPITAL\n") == loaded.encode("the capital") == loaded.encode("thé capital")
    assert loaded.encode("the <unk>")[-1] == loaded.tokenizer.unk_token_id


@given(st.text(st.sampled_from([*LETTERS, " ", "é", "\x07", "\u200b", "日"]), min_size=1, max_size=30))
def test_a_byte_level_prompt_is_read_whole_or_refused(text):
    """Either the ids spell the whole text, or the message names every character that they would leave out."""
    loaded = loaded_with(_BYTES)
    lost = [c for c in dict.fromkeys(text) if c not in LETTERS + " "]
    if not text.strip():
        assert refused(loaded, text) == PROMPT_ERRORS["empty"]
    elif lost:
        said = refused(loaded, text)
        assert all(f"U+{ord(c):04X}" in said for c in lost)
    else:
        assert loaded.tokenizer.decode(loaded.encode(text)[1:]) == text


@given(st.text(st.sampled_from([*LETTERS[:3], " ", "é", "\x07", "\x1b", "日"]), min_size=1, max_size=12))
def test_of_what_cannot_be_read_only_control_characters_are_left_out(text):
    """And only where something else is left; all other text is refused as before."""
    loaded = loaded_with(_BYTES)
    rest, named = loaded.text_ids.without_control(text)
    lost = [c for c in dict.fromkeys(text) if c in "\x07\x1b"]
    without = text.replace("\x07", "").replace("\x1b", "")
    if lost and without.strip():
        assert (rest, named) == (without, ", ".join(f"U+{ord(c):04X}" for c in lost))
    else:
        assert (rest, named) == (text, "")


def test_control_characters_that_have_a_token_stay():
    tokenizer = byte_level()
    tokenizer.add_tokens(["\x07"])
    assert loaded_with(tokenizer).text_ids.without_control("the\x07 is") == ("the\x07 is", "")


_BYTES = byte_level()


class TestIdsBeyondTheEmbedding:
    @pytest.fixture
    def loaded(self) -> LoadedModel:
        tokenizer = byte_level()
        tokenizer.add_tokens(["<tool>", *(f"<filler{n}>" for n in range(V))])
        return loaded_with(tokenizer)

    def test_are_refused_by_name_in_prompts_chats_and_answers(self, loaded):
        beyond = f"<filler{V - 1}>"
        expected = f"The model's tokenizer has a token for “{beyond}”, but the model itself has none; leave that out."
        assert refused(loaded, f"a {beyond} b") == expected
        loaded.tokenizer.chat_template = "{{ messages[0].content }}"
        assert refused(loaded, f"a {beyond} b", chat=True) == expected
        with pytest.raises(PromptError, match=beyond):
            answer_ids(loaded, "a", beyond)

    def test_an_added_token_that_the_model_has_is_read(self, loaded):
        assert loaded.tokenizer.convert_tokens_to_ids("<tool>") in loaded.encode("a <tool>")


@pytest.mark.parametrize(
    ("field", "task"),
    [("prompt", "mc"), ("answers", "mc"), ("wrong", "mc"), ("prompt", "generate"), ("answers", "generate")],
)
def test_a_question_that_cannot_be_read_is_named_by_its_number(field, task):
    texts = {"prompt": "a", "answers": ("b",), "wrong": ("c",)}
    bad = texts | {field: "\x07" if field == "prompt" else ("d", "\x07")}
    items = [Item(**texts), Item(**bad)]
    with pytest.raises(QuestionPromptError) as error:
        _evaluate(loaded_with(byte_level()), items, task)
    assert str(error.value) == "Question 2: The model's tokenizer has no token for U+0007; leave that out."


def _evaluate(loaded: LoadedModel, items: list[Item], task: str) -> None:
    if task == "mc":
        list(score_items(loaded, items, [5], [0.1]))
        return
    config = SearchConfig(task="generate", metric="contains", alphas=(0.1,))
    list(evaluate_items(loaded, items, config, MetricTable(len(items), ("contains",), (5,), (0.1,))))


@pytest.mark.parametrize("kind", PROMPT_ERRORS)
def test_errors_survive_being_sent_to_another_process(kind):
    error = PromptError(kind, 5, 4, texts="“x”", reason="no")
    for one in (error, QuestionPromptError(3, error)):
        again = pickle.loads(pickle.dumps(one))
        assert (type(again), str(again), vars(again).keys()) == (type(one), str(one), vars(one).keys())


def test_a_text_that_begins_with_a_tokenizers_end_token_can_be_gone_on_from():
    """As GPT-2's, whose one special token begins and ends a text."""
    tokenizer: PreTrainedTokenizerFast = byte_level(before="")
    tokenizer.bos_token = tokenizer.eos_token = "</s>"
    assert loaded_with(tokenizer).encode("</s>") == [EOS]
