"""GGUF files that cannot be loaded, each with one sentence that says what to do."""

import errno
import importlib.util
from pathlib import Path

import pytest

from dola_core.models.loading import load_model
from dola_core.models.sources import gguf
from tests.dola_core.models.sources.gguf_files import write_gguf
from tests.dola_core.models.sources.refused import refused


def without(monkeypatch, *packages: str) -> None:
    """Let packages look as if they were not installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in packages else found(name))


@pytest.fixture(scope="module")
def content(gguf_file) -> bytes:
    return gguf_file.read_bytes()


def test_a_file_that_is_not_there(tmp_path):
    said = refused(tmp_path / "no.gguf")
    assert (
        said == f"There is no file {tmp_path / 'no.gguf'}; give the path of a GGUF file, or owner/repository:file.gguf."
    )


def test_a_folder_that_is_called_like_a_file_is_read_as_a_folder(tmp_path):
    (tmp_path / "x.gguf").mkdir()
    assert "x.gguf holds no model: it has no config.json" in refused(tmp_path / "x.gguf")


@pytest.mark.parametrize("content", [b"", b"GGU", b"\x80PK\x03 something else", b"ggml" * 100])
def test_a_file_that_is_no_gguf(content, tmp_path):
    (tmp_path / "x.gguf").write_bytes(content)
    assert refused(tmp_path / "x.gguf").endswith("x.gguf is no GGUF file, or is damaged; download it again.")


@pytest.mark.parametrize("length", [4, 20, 300, 30_000, 400_000, -100_000, -1])
def test_a_file_that_is_cut_off(length, content, tmp_path):
    (tmp_path / "x.gguf").write_bytes(content[:length])
    size = len(content[:length])
    assert refused(tmp_path / "x.gguf").endswith(f"x.gguf is damaged or cut off ({size:,} bytes); download it again.")


def test_numbers_that_promise_too_much(content, tmp_path):
    """A damaged count of tensors or fields must not be waited for."""
    for place in (8, 16):
        damaged = content[:place] + b"\xff" * 7 + b"\x00" + content[place + 8 :]
        (tmp_path / "x.gguf").write_bytes(damaged)
        assert "is damaged or cut off" in refused(tmp_path / "x.gguf")


def test_one_of_several_parts(content, tmp_path):
    (tmp_path / "x-00002-of-00003.gguf").write_bytes(content)
    assert "is one of 3 parts of a model; join them with llama-gguf-split --merge" in refused(
        tmp_path / "x-00002-of-00003.gguf"
    )


def test_a_file_that_may_not_be_read(gguf_file, monkeypatch):
    own = Path.open

    def deny(self, *arguments, **named):
        if self == gguf_file:
            raise PermissionError(errno.EACCES, "Permission denied")
        return own(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", deny)
    assert refused(gguf_file) == f"{gguf_file} cannot be read: Permission denied."


def test_an_architecture_that_transformers_does_not_have(tmp_path):
    file = write_gguf(tmp_path / "x.gguf", architecture="from-the-future")
    assert refused(file) == (
        f"{file} holds a model of the architecture 'from-the-future', which transformers cannot read from a GGUF file; "
        "give the model's folder or its name on the Hub."
    )


@pytest.mark.parametrize("rule", ["from-the-future", None])
def test_a_tokenizer_whose_rule_is_not_known(rule, tmp_path):
    said = refused(write_gguf(tmp_path / "x.gguf", rule=rule))
    assert said.endswith("put the model's tokenizer.json beside the file.")


def test_a_kind_of_tokenizer_that_transformers_does_not_have(tmp_path):
    file = write_gguf(tmp_path / "x.gguf", kind="from-the-future")
    assert refused(file) == (
        f"{file} holds a tokenizer of the kind 'from-the-future' that transformers cannot read; put the model's "
        "tokenizer.json beside the file."
    )


@pytest.mark.parametrize("lacking", ["blk.7.ffn_up.weight", "output_norm.weight"])
def test_a_file_that_lacks_a_weight(lacking, tmp_path):
    file = write_gguf(tmp_path / "x.gguf", without=[lacking])
    said = refused(file)
    assert said.startswith(f"{file} lacks the weight model.")
    assert said.endswith("; download it again.")


def test_a_file_without_a_head_has_that_of_its_embeddings(tmp_path):
    loaded = load_model(write_gguf(tmp_path / "x.gguf", without=["output.weight"]), device="cpu", dtype="float32")
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight


def test_packages_that_are_not_installed(gguf_file, monkeypatch):
    without(monkeypatch, "gguf")
    assert refused(gguf_file) == "GGUF files need packages that are not installed: pip install gguf."
    without(monkeypatch, "gguf", "accelerate")
    assert refused("some-one/model:x.gguf").endswith("pip install gguf accelerate.")


def test_a_file_is_not_quantised_again(gguf_file):
    assert refused(gguf_file, quantize="8bit").endswith(
        "is quantised in its own way; leave out quantize, or give a folder."
    )


def test_a_file_on_the_hub_that_cannot_be_had(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "check the name and the network" in refused("some-one/model:x.gguf")
    monkeypatch.setattr(gguf, "hf_hub_download", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    assert "cannot be downloaded: the disk is full" in refused("some-one/model:x.gguf")
