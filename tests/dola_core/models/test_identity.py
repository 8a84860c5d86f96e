"""The identity of a model changes with every weight, with its tokenizer and its template, and with nothing else."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import PreTokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from dola_core.files.paths import SHIPPED_MODEL
from dola_core.models import identity
from dola_core.models.identity import memory_identity, model_identity, text_identity, weights_identity
from dola_core.models.info import ModelInfo
from dola_core.models.loading import load_model
from tests.dola_core.models.test_loading import folder
from tests.dola_core.tiny import CONFIGS, prepared, tiny

SAFE = "model.safetensors"


@pytest.fixture(autouse=True)
def hashed(monkeypatch, tmp_path_factory) -> list[Path]:
    """The files that were really read, with a cache of its own for each test."""
    cache, read = tmp_path_factory.mktemp("cache"), []
    monkeypatch.setattr(identity, "cached_assets_path", lambda **_: cache)
    for name in ("_safetensors_sum", "_bytes_hash"):
        hash_file = getattr(identity, name)
        monkeypatch.setattr(identity, name, lambda file, *, f=hash_file: (read.append(file), f(file))[1])
    return read


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return folder(tiny("llama"), tmp_path_factory.mktemp("original"))


@pytest.fixture
def where(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "model")


def in_folder(where: Path) -> str:
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
    return weights_identity(model)


def edit(file: Path, change) -> None:
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(SHIPPED_MODEL)


def test_any_single_number_of_any_weight_counts(where):
    """Also in a middle layer, where neither the head nor the final norm shows it."""
    found = {in_folder(where)}
    names = ["model.layers.14.mlp.up_proj.weight", "model.layers.3.self_attn.k_proj.weight", "model.norm.weight"]
    for name in (*names, "model.embed_tokens.weight", "lm_head.weight"):
        edit(where / SAFE, lambda weights, name=name: weights[name].view(-1)[-1].add_(1e-3))
        found.add(in_folder(where))
    assert len(found) == 6


def test_two_layers_that_changed_places_count(where):
    before = in_folder(where)

    def swap(weights):
        one, other = "model.layers.4.mlp.up_proj.weight", "model.layers.5.mlp.up_proj.weight"
        weights[one], weights[other] = weights[other], weights[one]

    edit(where / SAFE, swap)
    assert in_folder(where) != before


def test_the_dtype_it_is_loaded_in_and_the_place_do_not_count(where, tmp_path):
    names = [load_model(where, device="cpu", dtype=dtype).info.identity for dtype in ("float32", "bfloat16", "float16")]
    moved = where.rename(tmp_path / "elsewhere")
    assert {*names, load_model(moved, device="cpu", dtype="float32").info.identity} == {names[0]}


def test_the_number_of_files_does_not_count(original, tmp_path):
    parts = folder(tiny("llama"), tmp_path / "parts", max_shard_size="120KB")
    assert not (parts / SAFE).exists()
    assert in_folder(parts) == in_folder(original)


def test_files_of_pickled_weights_count(where):
    torch.save(load_file(where / SAFE), where / "pytorch_model.bin")
    (where / SAFE).unlink()
    before = in_folder(where)
    weights = torch.load(where / "pytorch_model.bin")
    weights["model.layers.14.mlp.up_proj.weight"].view(-1)[0] += 1e-3
    torch.save(weights, where / "pytorch_model.bin")
    assert in_folder(where) != before


def test_a_file_is_read_once_and_again_when_it_has_changed(where, hashed):
    first = in_folder(where)
    assert hashed == [where / SAFE]
    assert in_folder(where) == first
    assert len(hashed) == 1
    about = (where / SAFE).stat()
    edit(where / SAFE, lambda weights: weights["lm_head.weight"].neg_())
    os.utime(where / SAFE, ns=(about.st_atime_ns, about.st_mtime_ns))  # as a copying program sets it
    assert (where / SAFE).stat().st_size == about.st_size
    assert in_folder(where) != first
    assert len(hashed) == 2


@pytest.mark.parametrize("content", ["", "no number"])
def test_a_spoiled_cache_is_not_believed(where, hashed, content):
    first = in_folder(where)
    for kept in identity._cache().iterdir():
        kept.write_text(content)
    assert in_folder(where) == first
    assert len(hashed) == 2


@pytest.mark.parametrize("error", [PermissionError("read-only"), ValueError("a file lies in its place")], ids=repr)
def test_without_a_cache_it_is_only_slower(where, hashed, monkeypatch, error):
    def fail(**_):
        raise error

    monkeypatch.setattr(identity, "cached_assets_path", fail)
    assert in_folder(where) == in_folder(where)
    assert len(hashed) == 2


def test_a_model_that_came_from_no_file_is_hashed_in_memory():
    torch.manual_seed(0)
    model = prepared(AutoModelForCausalLM.from_config(CONFIGS["llama"](), dtype=torch.bfloat16))
    before = weights_identity(model)
    assert before == memory_identity(model)
    with torch.no_grad():
        model.model.layers[14].mlp.up_proj.weight[0, 0] += 1.0
    assert weights_identity(model) != before


def test_what_is_changed_in_memory_counts_there(where):
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
    before = memory_identity(model), weights_identity(model)
    with torch.no_grad():
        model.model.layers[14].mlp.up_proj.weight[0, 0] += 1e-3
    assert memory_identity(model) != before[0]
    assert weights_identity(model) == before[1]


def test_the_template_the_special_tokens_and_the_vocabulary_count(tokenizer):
    found = [text_identity(tokenizer)]
    tokenizer.chat_template = "{{ messages }}"
    found.append(text_identity(tokenizer))
    tokenizer.eos_token = "x"
    found.append(text_identity(tokenizer))
    tokenizer.add_tokens(["a whole new token"])
    found.append(text_identity(tokenizer))
    assert len({*found}) == 4


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("normalizer", {"type": "Lowercase"}),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}),
        ("post_processor", None),
    ],
)
def test_the_rules_count(part, content, tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path)
    rules = json.loads((tmp_path / "tokenizer.json").read_text())
    assert rules[part] != content
    (tmp_path / "tokenizer.json").write_text(json.dumps(rules | {part: content}))
    assert text_identity(AutoTokenizer.from_pretrained(tmp_path)) != text_identity(tokenizer)


def test_what_a_tokenizer_was_last_asked_for_does_not_count(tokenizer):
    before = text_identity(tokenizer)
    tokenizer(["one", "two and more"], padding=True, truncation=True, max_length=3)
    assert text_identity(tokenizer) == before


def test_a_tokenizer_in_python_has_an_identity_too(tokenizer):
    class Spelled:
        special_tokens_map, chat_template = {"eos_token": "</s>"}, None

        def get_vocab(self):
            return {"a": 0, "b": 1}

        def __call__(self, text):
            raise ValueError("no text is read here")

    assert len(text_identity(Spelled())) == len(text_identity(tokenizer)) == 16


def test_a_tokenizer_with_a_part_in_python_has_one_too(tokenizer):
    class Splitter:
        def pre_tokenize(self, text):
            pass

    before = text_identity(tokenizer)
    tokenizer.backend_tokenizer.pre_tokenizer = PreTokenizer.custom(Splitter())
    with pytest.raises(Exception, match="cannot be serialized"):
        tokenizer.backend_tokenizer.to_str()
    assert text_identity(tokenizer) != before


def test_a_loaded_model_carries_its_identity_into_its_info(where):
    loaded = load_model(where, device="cpu", dtype="float32")
    assert loaded.info.identity == model_identity(loaded.model, loaded.tokenizer)
    again = ModelInfo.model_validate_json(loaded.info.model_dump_json())
    assert again == loaded.info


def test_infos_of_earlier_versions_are_read_and_compared_by_name_and_shape():
    old = ModelInfo.model_validate({"name": "m", "revision": None, "dtype": "float32", "n_layers": 4, "vocab_size": 9})
    assert old.identity is None
    ours = old.model_copy(update={"identity": "0" * 24 + "-" + "1" * 16})
    other = old.model_copy(update={"identity": "0" * 24 + "-" + "2" * 16})
    assert ours.is_same_model(old)
    assert old.is_same_model(ours)
    assert not ours.is_same_model(other)
    assert ours.is_same_model(ours.model_copy(update={"name": "moved", "dtype": "bfloat16"}))
    assert not old.is_same_model(old.model_copy(update={"n_layers": 5}))
    for spoiled in ("", "0" * 41, "x" * 24 + "-" + "0" * 16):
        with pytest.raises(ValidationError):
            ModelInfo(name="m", dtype="float32", n_layers=4, vocab_size=9, identity=spoiled)
