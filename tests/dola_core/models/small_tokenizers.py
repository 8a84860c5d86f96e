"""Small tokenizers of the kinds that models come with, for the tiny models' vocabulary."""

import string
from collections.abc import Callable, Collection

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from dola_core.models.info import ModelInfo
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.preset import Preset
from dola_core.models.reading.readout import Readout
from tests.dola_core.tiny import tiny

SPECIAL = ("<s>", "</s>", "<unk>", "<|turn|>", "<|end|>")
BOS, EOS, UNK, TURN, END = range(5)
LETTERS = string.ascii_lowercase + string.ascii_uppercase[:10] + string.digits + ".,:?!'"


def byte_level(*, before: str = "<s> ", behind: str = "", without: Collection[str] = ()) -> PreTrainedTokenizerFast:
    """Byte-level BPE without merges that has bytes for `LETTERS` and a space only, and none `without`."""
    alphabet = [c for c in (*LETTERS, "Ġ") if c not in without]
    vocabulary = {token: n for n, token in enumerate((*SPECIAL, *alphabet))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return _finished(backend, before, behind)


def word_level(*, before: str = "<s> ", behind: str = "") -> PreTrainedTokenizerFast:
    """A tokenizer of a few whole words, which reads all else as `<unk>` and drops control characters."""
    vocabulary = {token: n for n, token in enumerate((*SPECIAL, "the", "capital", "of", "is"))}
    backend = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.BertNormalizer(lowercase=True), normalizers.Strip()])
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return _finished(backend, before, behind, unk_token="<unk>")


def _finished(backend: Tokenizer, before: str, behind: str, **more: str) -> PreTrainedTokenizerFast:
    template = f"{before}$A{f' {behind}' if behind else ''}"
    backend.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(name, n) for n, name in enumerate(SPECIAL)]
    )
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>",
        additional_special_tokens=["<|turn|>", "<|end|>"], **more,
    )  # fmt: skip


TOKENIZERS: dict[str, Callable[..., PreTrainedTokenizerFast]] = {"byte-level": byte_level, "word-level": word_level}


def loaded_with(tokenizer: PreTrainedTokenizerFast, model_name: str = "llama") -> LoadedModel:
    """A tiny model with a tokenizer of ours."""
    model = tiny(model_name)
    readout = Readout.of(model)
    info = ModelInfo(name="tiny", dtype="float32", n_layers=readout.n_layers, vocab_size=readout.vocab_size)
    return LoadedModel(model, tokenizer, readout, "Tiny", info, Preset.of(model, readout.n_layers))
