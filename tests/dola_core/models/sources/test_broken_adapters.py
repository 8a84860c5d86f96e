"""Adapters that cannot be loaded, each with one sentence that says what to do."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from dola_core.models.sources import adapters
from tests.dola_core.models.sources.refused import refused
from tests.dola_core.models.sources.tiny_adapters import adapted, saved
from tests.dola_core.models.test_loading import folder
from tests.dola_core.tiny import LLAMA, prepared, tiny


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory) -> Path:
    return saved(adapted(base), tmp_path_factory.mktemp("lora") / "fine")


@pytest.fixture
def lora(whole, tmp_path) -> Path:
    """An adapter to break."""
    return Path(shutil.copytree(whole, tmp_path / "fine"))


def change(lora: Path, **settings: object) -> Path:
    config = json.loads((lora / adapters.CONFIG).read_text())
    (lora / adapters.CONFIG).write_text(json.dumps(config | settings))
    return lora


@pytest.mark.parametrize("content", ["{broken", "[]", "{}", '"text"', "\x00"])
def test_a_config_that_is_broken_or_names_no_base(content, lora):
    (lora / adapters.CONFIG).write_text(content)
    said = refused(lora)
    assert said == f"{lora / adapters.CONFIG} does not name the adapter's base model; save the adapter again."


@pytest.mark.parametrize("named", ["", " ", None, 7])
def test_a_base_that_is_no_name(named, lora):
    said = refused(change(lora, base_model_name_or_path=named))
    assert said == f"{lora / adapters.CONFIG} does not name the adapter's base model; write it there."


def test_a_base_that_is_not_there(lora, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = refused(change(lora, base_model_name_or_path="nobody/no-such-model"))
    assert said.startswith("nobody/no-such-model is neither a folder here nor reachable on the Hugging Face Hub; ")
    said = refused(change(lora, base_model_name_or_path="/nowhere/model"))
    assert said.startswith("There is no model called /nowhere/model; ")


def test_a_base_that_is_an_adapter_itself(lora, whole):
    said = refused(change(lora, base_model_name_or_path=str(whole)))
    assert said == f"The adapter in {lora} is for {whole}, which is an adapter itself; merge that one first."
    assert "is an adapter itself" in refused(change(lora, base_model_name_or_path=str(lora)))


def test_a_base_that_it_was_not_made_for(lora, tmp_path):
    torch.manual_seed(0)
    wider = prepared(AutoModelForCausalLM.from_config(LlamaConfig(**LLAMA | {"hidden_size": 64})))
    said = refused(change(lora, base_model_name_or_path=str(folder(wider, tmp_path / "wider"))))
    assert said.startswith(f"The adapter in {lora} does not fit its base model (150 of its weights, first model.")
    other = folder(tiny("gpt2"), tmp_path / "gpt2")
    assert refused(change(lora, base_model_name_or_path=str(other))).startswith(
        f"The adapter in {lora} cannot be put on a GPT2LMHeadModel; "
    )


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_weights_that_are_cut_off(length, lora):
    weights = lora / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    size = weights.stat().st_size
    assert refused(lora) == f"{weights} is damaged or cut off ({size:,} bytes); download it again."


def test_weights_that_are_not_there(lora):
    (lora / "adapter_model.safetensors").unlink()
    assert refused(lora) == (
        f"The adapter in {lora} has no weights (adapter_model.safetensors or adapter_model.bin); save or download it "
        "again."
    )


def test_a_rank_that_its_weights_do_not_have(lora):
    assert refused(change(lora, r=9)).startswith(f"The adapter in {lora} does not fit its base model (180 of ")


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "PREFIX_TUNING"])
def test_a_kind_that_changes_no_weights(kind, lora):
    assert refused(change(lora, peft_type=kind, num_virtual_tokens=4)) == (
        f"The adapter in {lora} is of the kind {kind}, which changes no weights; choose one that does, such as LoRA."
    )


@pytest.mark.parametrize("kind", ["FROM_THE_FUTURE", None])
def test_a_kind_that_is_not_known(kind, lora):
    assert refused(change(lora, peft_type=kind)) == (
        f"The adapter in {lora} is of the kind {kind!r}, which the installed PEFT does not know; try a later one: pip "
        "install -U peft."
    )


def test_a_folder_with_a_whole_model_and_an_adapter(lora, base):
    shutil.copy(base / "model.safetensors", lora / "model.safetensors")
    assert refused(lora) == (
        f"The folder {lora} holds a whole model and an adapter (adapter_config.json); move one of them to a folder of "
        "its own."
    )


def test_peft_is_not_installed(lora, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else found(name))
    assert refused(lora) == "An adapter needs a package that is not installed: pip install peft."
