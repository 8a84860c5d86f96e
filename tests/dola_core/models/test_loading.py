"""Loading: what loads, and one sentence for everything that does not."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from dola_core.errors import LoadError, PromptError
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models import loading
from dola_core.models.devices import DTYPES, out_of_memory
from dola_core.models.loading import load_model
from dola_core.models.preset import Preset
from dola_core.models.reading import proof, readout, remembered
from tests.dola_core.tiny import compare, tiny


def folder(model, where: Path, **how) -> Path:
    """`model` saved with the shipped tokenizer."""
    model.save_pretrained(where, **how)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SHIPPED_MODEL / name, where / name)
    return where


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory) -> Path:
    return folder(tiny("llama"), tmp_path_factory.mktemp("llama"))


def sentence(*arguments, **named) -> str:
    with pytest.raises(LoadError) as refused:
        load_model(*arguments, **named)
    said = str(refused.value)
    assert "\n" not in said
    assert "Traceback" not in said
    return said


def test_the_shipped_model_loads_by_default_and_with_plain_transformers():
    loaded = load_model(device="cpu", dtype="float32")
    assert loaded.label.startswith("Atlas-30L · 30 layers · ")
    assert loaded.readout.n_layers == 30
    assert type(AutoModelForCausalLM.from_pretrained(SHIPPED_MODEL)) is type(loaded.model)
    assert type(AutoTokenizer.from_pretrained(SHIPPED_MODEL)) is type(loaded.tokenizer)


def test_a_folder_loads_in_the_dtype_that_was_asked_for(llama_folder):
    for name, dtype in DTYPES.items():
        loaded = load_model(llama_folder, device="cpu", dtype=name)
        assert loaded.model.dtype is dtype
        assert loaded.info.dtype == name
        assert not loaded.model.training


def test_auto_dtype_is_one_that_the_processor_computes(llama_folder):
    assert load_model(llama_folder, device="cpu").model.dtype in (torch.float32, torch.bfloat16)


def test_janus_loads_from_a_folder_and_is_compared(janus, tmp_path):
    loaded = load_model(folder(janus, tmp_path), device="cpu", dtype="float32")
    lanes = [Baseline(name="a"), DolaStatic(name="b", layer=22)]
    assert len(list(compare(loaded.readout, [5, 6, 7], lanes, DecodingConfig(max_new_tokens=3)))) == 3


def test_the_settings_to_start_with_are_the_recorded_ones(llama_folder, tmp_path):
    assert load_model(llama_folder, device="cpu", dtype="float32").preset == Preset(layer=22, alpha=0.1)
    recorded = shutil.copytree(llama_folder, tmp_path / "recorded")
    (recorded / "dola_static.json").write_text(json.dumps({"layer": 7, "alpha": 0.2, "finding": "It helps."}))
    assert load_model(recorded, device="cpu", dtype="float32").preset == Preset(layer=7, alpha=0.2, finding="It helps.")


def test_what_is_no_model_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "holds no model: it has no config.json" in sentence(tmp_path)
    assert "neither a folder here nor reachable" in sentence("nobody/no-such-model")
    assert "There is no model called" in sentence("two words!!")
    (tmp_path / "config.json").write_text("{broken")
    assert str(tmp_path) in sentence(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "from-the-future"}))
    assert "an architecture that transformers does not ship" in sentence(tmp_path)


def test_broken_files_are_said_in_a_sentence(llama_folder, tmp_path):
    def broken(name: str, content: bytes) -> Path:
        where = shutil.copytree(llama_folder, tmp_path / name)
        (where / name).write_bytes(content)
        return where

    assert "model.safetensors is damaged or cut off" in sentence(broken("model.safetensors", b"\x00" * 20))
    config = json.loads((llama_folder / "config.json").read_text()) | {"hidden_size": "wide"}
    assert "holds no causal language model" in sentence(broken("config.json", json.dumps(config).encode()))
    assert "must hold a layer from 1 to 29" in sentence(broken("dola_static.json", b'{"layer": 99}'))
    (tmp_path / "config.json" / "config.json").write_text((llama_folder / "config.json").read_text())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "config.json" / name).unlink()
    assert "holds no tokenizer" in sentence(tmp_path / "config.json")


def test_code_from_a_repository_is_never_run_nor_asked_about(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(
            {"model_type": "mine", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
        )
    )
    (tmp_path / "code.py").write_text("raise SystemExit('ran')")
    assert "code from repositories is never run" in sentence(tmp_path)


def test_an_encoder_decoder_model_is_said_to_be_unsupported(tmp_path):
    model = T5ForConditionalGeneration(T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2, vocab_size=50))
    assert str(tmp_path) in sentence(folder(model, tmp_path))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "does not fit into the memory of cpu"),
        (MemoryError(), "does not fit into the memory of cpu"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "does not fit into the memory of cpu",
        ),
        (OSError("no connection"), "check the name and the network"),
    ],
)
def test_what_goes_wrong_while_loading_is_said_in_a_sentence(error, said, monkeypatch):
    def fail(*_args, **_named):
        raise error

    monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
    assert said in sentence("some/model", device="cpu", dtype="float32")


def test_memory_that_runs_out_is_known_as_pytorch_says_it():
    """By its words, as the error has no type of its own on a CPU."""
    with pytest.raises(RuntimeError) as ran_out:
        torch.empty(10**15)
    assert out_of_memory(ran_out.value)
    with pytest.raises(RuntimeError) as other:
        torch.ones(2) @ torch.ones(3)
    assert not out_of_memory(other.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "cannot be downloaded: the disk is full; make room"),
        (EntryNotFoundError("no config.json"), "on the Hugging Face Hub holds no model that transformers can load"),
        (LocalEntryNotFoundError("offline"), "neither a folder here nor reachable"),
        (ImportError("sentencepiece"), "needs a package that is not installed: sentencepiece"),
        (
            ValueError("trust_remote_code Unrecognized out of memory"),
            "some/model could not be loaded: trust_remote_code",
        ),
        (OSError("does not recognize this architecture"), "neither a folder here nor reachable"),
    ],
)
def test_the_type_of_an_error_decides_what_is_said_and_not_its_words(error, said, monkeypatch):
    def fail(*_args, **_named):
        raise error

    monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert said in sentence("some/model", device="cpu", dtype="float32")


@pytest.mark.parametrize(
    ("kind", "said"), [(GatedRepoError, "is gated"), (RepositoryNotFoundError, "There is no model called")]
)
def test_hub_errors_are_told_apart(kind, said, monkeypatch):
    def fail(*_args, **_named):
        raise OSError("wrapped") from kind.__new__(kind)

    monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
    assert said in sentence("some/model", device="cpu", dtype="float32")


@pytest.mark.parametrize("named", [{"device": "abacus"}, {"device": "cuda:77"}, {"dtype": "int3"}])
def test_a_device_or_dtype_that_is_not_there_is_said_in_a_sentence(named, llama_folder):
    said = sentence(llama_folder, **named)
    assert "use auto" in said


def test_a_model_is_spread_over_what_there_is(llama_folder):
    """Here that is the processor alone; `test_devices` has two devices."""
    loaded = load_model(llama_folder, device="split", dtype="float32")
    assert "30 layers · 97 tokens · CPU float32" in loaded.label
    steps = compare(loaded.readout, [1, 2], (DolaStatic(name="dola", layer=3),), DecodingConfig(max_new_tokens=2))
    assert len(list(steps)) == 2


def test_a_model_may_prove_itself_before_it_is_moved(llama_folder, monkeypatch, tmp_path):
    """Where a GPU is only lent to runs, nothing can be computed on it while a model is loaded."""
    events = []
    monkeypatch.setattr(remembered, "rules_folder", lambda: tmp_path)
    move = torch.nn.Module.to
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *a, **k: (events.append("moved"), move(self, *a, **k))[1])
    for module, name in ((readout, "find_parts"), (proof, "find_rules")):
        prove = getattr(module, name)
        monkeypatch.setattr(module, name, lambda given, *, f=prove, name=name: (events.append(name), f(given))[1])
    load_model(llama_folder, device="cpu", dtype="float32", gpu_later=True)
    assert events == ["find_parts", "find_rules", "moved"]
    events.clear()
    monkeypatch.setattr(remembered, "rules_folder", lambda: tmp_path / "other")
    load_model(llama_folder, device="cpu", dtype="float32")
    assert events == ["moved", "find_parts", "find_rules"]


def test_spreading_a_model_says_what_it_needs(llama_folder, monkeypatch):
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda _name: None)
    assert "pip install accelerate" in sentence(llama_folder, device="split")


def test_prompts_are_encoded_with_bos_and_refused_when_blank():
    loaded = load_model(device="cpu", dtype="float32")
    assert loaded.encode("Tokyo")[0] == loaded.tokenizer.bos_token_id
    for blank in ("", " \n"):
        with pytest.raises(PromptError, match="type something"):
            loaded.encode(blank)


def test_a_chat_template_wraps_the_prompt_as_a_turn():
    loaded = load_model(device="cpu", dtype="float32")
    assert not loaded.has_chat_template
    with pytest.raises(PromptError, match=r"^This model has no chat template; leave out chat\.$"):
        loaded.encode("Why?", chat=True)
    loaded.tokenizer.chat_template = "{% for m in messages %}Question: {{ m['content'] }}{% endfor %} Answer:"
    assert loaded.has_chat_template
    assert loaded.tokenizer.decode(loaded.encode("Why?", chat=True)) == "Question: Why? Answer:"


def test_pieces_join_to_the_text():
    loaded = load_model(device="cpu", dtype="float32")
    text = " Tokyo is the capital of Japan."
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert "".join(loaded.piece(i) for i in ids) == text == loaded.text(ids)
