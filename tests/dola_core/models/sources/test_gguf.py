"""Models in GGUF files: the same logits, ids and identity as those of the model that was written."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import modeling_gguf_pytorch_utils

from dola_core.errors import LoadError
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.models.identity import PROBES
from dola_core.models.loading import load_model
from dola_core.models.sources import gguf
from dola_core.models.sources.gguf import plain_copy
from dola_core.models.sources.source import find_source
from tests.dola_core.models.sources.gguf_files import dequantised, original_tokenizer, tiny_llama, write_gguf

IDS = torch.tensor([[0, 5, 600, 7, 31, 77, 300]])


@pytest.fixture(scope="module")
def loaded(gguf_file):
    return load_model(gguf_file, device="cpu", dtype="float32")


@torch.no_grad()
def test_logits_are_those_of_the_model(loaded):
    assert (loaded.model(IDS).logits - tiny_llama()(IDS).logits).abs().max() <= 1e-5
    assert loaded.label == "tiny (F32) · 30 layers · 899 tokens · CPU float32"


@torch.no_grad()
def test_logits_of_quantised_weights_are_those_of_the_numbers_they_stand_for(tmp_path):
    loaded = load_model(write_gguf(tmp_path / "packed.gguf", q8_0=True), device="cpu", dtype="float32")
    exact, packed = tiny_llama()(IDS).logits, dequantised(tiny_llama())(IDS).logits
    assert (loaded.model(IDS).logits - packed).abs().max() <= 1e-5
    assert (exact - packed).abs().max() > 1e-2
    assert loaded.label.startswith("packed (Q8_0, dequantised) · ")


def test_ids_are_those_of_the_original_tokenizer(loaded):
    original = original_tokenizer()
    for text in (*PROBES[1:], "\n\n1. Tokyo is the capital of Japan, isn't it?"):
        assert loaded.tokenizer(text)["input_ids"] == original.encode(text).ids, text
    assert loaded.encode("Tokyo")[0] == loaded.tokenizer.bos_token_id == 0
    assert loaded.eos_ids == (1,)


def test_the_identity_is_that_of_the_files_bytes(loaded, gguf_file, tmp_path):
    moved = Path(shutil.copy(gguf_file, tmp_path / "of another name.GGUF"))
    assert load_model(str(moved), device="cpu", dtype="bfloat16").info.identity == loaded.info.identity
    content = bytearray(moved.read_bytes())
    content[-1] ^= 1
    moved.write_bytes(content)
    changed = load_model(moved, device="cpu", dtype="float32").info.identity
    assert [a == b for a, b in zip(changed.split("-"), loaded.info.identity.split("-"), strict=True)] == [False, True]


def test_a_tokenizer_beside_the_file_is_taken(tmp_path):
    file = write_gguf(tmp_path / "tiny.gguf", rule="from-the-future")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SHIPPED_MODEL / name, tmp_path / name)
    _, tokenizer = gguf.read_gguf(file, dtype=torch.float32)
    assert len(tokenizer) == 6144


def test_a_file_on_the_hub_is_named_by_its_repository(gguf_file, monkeypatch):
    asked = []
    monkeypatch.setattr(gguf, "hf_hub_download", lambda *names: (asked.append(names), str(gguf_file))[1])
    source = find_source("some-one/a.model:in/tiny.gguf")
    assert asked == [("some-one/a.model", "in/tiny.gguf")]
    assert (source.gguf, source.name, source.note) == (gguf_file, "tiny", "F32")


def test_a_copy_can_be_saved_and_loaded_as_any_other_model(loaded, tmp_path):
    plain_copy(loaded.model).save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = load_model(tmp_path, device="cpu", dtype="float32")
    with torch.no_grad():
        assert torch.equal(again.model(IDS).logits, loaded.model(IDS).logits)
    assert again.info.identity.split("-")[1] == loaded.info.identity.split("-")[1]
    assert again.eos_ids == loaded.eos_ids


def test_what_is_replaced_in_other_packages_while_a_file_is_read_is_there_and_put_back(tmp_path):
    """`read_gguf` lets `transformers` read a file once; an update may move what it replaces for that."""
    import gguf as package

    def replaced():
        return package.GGUFReader, package.get_tensor_name_map, modeling_gguf_pytorch_utils.tqdm

    before = replaced()
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(LoadError):
        gguf.read_gguf(tmp_path / "broken.gguf")
    assert replaced() == before
