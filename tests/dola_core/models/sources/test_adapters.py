"""Adapters of PEFT on top of a model: the logits, the text and the identity that PEFT's own model has."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.loading import load_model
from dola_core.models.sources import adapters, source
from tests.dola_core.models.sources.tiny_adapters import IA3, adapted, saved
from tests.dola_core.models.test_loading import folder
from tests.dola_core.tiny import compare, prompt, texts, tiny

IDS = torch.tensor([prompt(9)])


@pytest.fixture(scope="module")
def lora(base, tmp_path_factory) -> Path:
    return saved(adapted(base), tmp_path_factory.mktemp("lora") / "fine")


@pytest.fixture(scope="module")
def loaded(lora):
    return load_model(lora, device="cpu", dtype="float32")


@torch.no_grad()
def test_logits_are_those_of_peft(loaded, base):
    own = adapted(base)(IDS).logits
    assert torch.allclose(loaded.model(IDS).logits, own, atol=1e-5)
    assert (own - tiny("llama")(IDS).logits).abs().max() > 0.1
    assert loaded.label.startswith("fine (adapter on tiny) · 30 layers · 97 tokens · ")


def test_the_baseline_is_what_generate_writes(loaded):
    steps = compare(
        loaded.readout,
        prompt(9),
        (Baseline(name="a"), DolaStatic(name="b", layer=22)),
        DecodingConfig(max_new_tokens=8),
    )
    written = texts(steps)
    own = loaded.model.generate(
        IDS, attention_mask=torch.ones_like(IDS), do_sample=False, max_new_tokens=8, eos_token_id=-1, pad_token_id=0
    )
    assert written[0] == own[0, IDS.shape[1] :].tolist()
    assert written[0] != written[1]


def test_the_identity_is_of_base_and_adapter(loaded, base, lora, tmp_path):
    other = saved(adapted(base, seed=1), tmp_path / "other")
    identity = loaded.info.identity
    assert load_model(lora, device="cpu", dtype="bfloat16").info.identity == identity
    assert load_model(base, device="cpu", dtype="float32").info.identity != identity
    assert load_model(other, device="cpu", dtype="float32").info.identity != identity


def test_a_tokenizer_of_its_own_is_taken(lora, tmp_path):
    where = Path(shutil.copytree(lora, tmp_path / "own"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source.SHIPPED_MODEL / name, where / name)
    config = json.loads((where / "tokenizer_config.json").read_text())
    (where / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": "its own"}))
    assert load_model(where, device="cpu", dtype="float32").tokenizer.chat_template == "its own"


def test_a_base_may_be_named_from_the_working_folder_or_from_the_adapters(base, lora, tmp_path, monkeypatch):
    where = Path(shutil.copytree(lora, tmp_path / "relative"))
    config = json.loads((where / adapters.CONFIG).read_text())

    def base_of(named: str) -> Path:
        (where / adapters.CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": named}))
        found = source.find_source(str(where))
        return Path(found.place).resolve()

    monkeypatch.chdir(base.parent)
    assert base_of("./tiny") == base_of("tiny") == base
    monkeypatch.chdir("/")
    assert base_of(os.path.relpath(base, where)) == base


@torch.no_grad()
def test_a_merged_adapter_is_a_model_like_any_other(base, tmp_path):
    merged = adapted(base).merge_and_unload()
    loaded = load_model(folder(merged, tmp_path / "whole"), device="cpu", dtype="float32")
    assert torch.allclose(loaded.model(IDS).logits, adapted(base)(IDS).logits, atol=1e-4)
    assert loaded.label.startswith("whole · ")


@torch.no_grad()
def test_another_kind_that_changes_weights_works_as_well(base, tmp_path):
    loaded = load_model(saved(adapted(base, IA3), tmp_path / "ia3"), device="cpu", dtype="float32")
    assert torch.allclose(loaded.model(IDS).logits, adapted(base, IA3)(IDS).logits, atol=1e-5)


def test_an_adapter_on_the_hub_is_found_where_no_model_is(lora, base, monkeypatch):
    """`find_source` takes the name for a model's; only when its files lack is it asked whether it is an adapter."""
    monkeypatch.setattr(adapters, "hf_hub_download", lambda name, file: str(lora / file))
    found = source.as_adapter(source.find_source("some-one/fine"))
    assert found is not None
    assert (found.adapter, found.place, found.name) == (lora, str(base), "some-one/fine")
    assert source.as_adapter(source.find_source(str(lora))) is None
