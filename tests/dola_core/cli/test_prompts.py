"""What a prompt holds and what a model brings, in the terminal: one sentence, or shown in the texts."""

import json
import re

import pytest

from dola_core.cli import compare as command
from dola_core.models import loading
from tests.dola_core.models.small_tokenizers import END, byte_level, loaded_with


@pytest.fixture
def tokenizer(monkeypatch):
    """The tokenizer of the model that the command finds."""
    ours = byte_level(behind="</s>")
    ours.add_tokens([*(f"<filler{n}>" for n in range(100)), "<far>"])
    ours.chat_template = "{{ raise_exception('Users only.') }}"
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: loaded_with(ours))
    return ours


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["\x07"], "The model's tokenizer has no token for U+0007; leave that out."),
        (["a☃"], "The model's tokenizer has no token for “☃” (U+2603); leave that out."),
        (
            ["to <far>"],
            "The model's tokenizer has a token for “<far>”, but the model itself has none; leave that out.",
        ),
        (["a", "--chat"], "The model's chat template refuses the prompt (Users only); leave out chat."),
    ],
)
def test_a_prompt_that_cannot_be_read_is_refused_in_one_sentence(tokenizer, capsys, given, said):
    assert command.main(given) == 2
    assert capsys.readouterr().err == f"python -m dola_core: {said}\n"


def test_control_characters_without_a_token_are_left_out_and_named(tokenizer, capsys, tmp_path):
    texts = []
    for prompt in ("ab", "a\x07b\x04"):
        assert command.main([prompt, "--max-new-tokens", "3", "--trace", str(tmp_path / "t.json")]) == 0
        texts.append((tmp_path / "t.json").read_text())
        said = capsys.readouterr().err
    assert texts[0] == texts[1]
    sentence = "not read, since the model's tokenizer has no token for it: U+0007, U+0004."
    assert said == f"python -m dola_core: {sentence}\n"


@pytest.fixture
def settings(llama, monkeypatch):
    """A way to set entries of the model's generation config."""
    return lambda **own: [monkeypatch.setattr(llama.generation_config, name, value) for name, value in own.items()]


def test_the_token_that_ends_a_turn_of_the_chat_ends_the_text_and_is_shown(tokenizer, settings, capsys, tmp_path):
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}<|turn|>"
    settings(sequence_bias=[[[END], 60.0]], min_new_tokens=3)
    file = tmp_path / "out.json"
    assert command.main(["a", "--chat", "--max-new-tokens", "9", "--trace", str(file)]) == 0
    assert re.findall(r"tokens: (.*)\n|tokens: (.*)\.\n", capsys.readouterr().out)[0] == ("end of text (<|end|>)", "")
    trace = json.loads(file.read_text())
    assert trace["ends"] == ["eos", "eos"]
    assert trace["steps"][-1]["taken"] == [END]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], "repetition penalty 1.4 before the contrast"),
        (["--repetition-penalty", "1.2"], "repetition penalty 1.2 before the contrast"),
        (["--repetition-penalty", "1"], "greedy · at most"),
    ],
)
def test_the_penalty_is_the_models_own_unless_one_is_asked_for(tokenizer, settings, capsys, options, shown):
    settings(repetition_penalty=1.4)
    assert command.main(["a", "--max-new-tokens", "2", *options]) == 0
    assert shown in capsys.readouterr().out.splitlines()[1]


def test_a_broken_generation_config_ends_in_one_sentence(tokenizer, settings, capsys):
    settings(bad_words_ids=[])
    assert command.main(["a"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("python -m dola_core: The model's generation_config cannot be followed (")
    assert said.count("\n") == 1
