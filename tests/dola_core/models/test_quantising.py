"""Weights in few bits: what they read does not depend on what is read beside them, and a fault in reading shows."""

import importlib.util
import logging
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from dola_core.errors import UnsupportedModelError
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models import quantising
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.models.quantising import is_packed, plain_products, quantised
from dola_core.models.reading.cached_texts import CachedTexts
from dola_core.models.reading.proof import find_rules
from dola_core.models.reading.readout import Readout
from dola_core.models.text_ids import embedded_size
from tests.dola_core.models.sources.refused import refused
from tests.dola_core.models.sources.tiny_adapters import adapted, saved
from tests.dola_core.models.test_loading import folder
from tests.dola_core.tiny import LLAMA, compare, hooks_on, prompt, recorded, texts, tiny

IDS = torch.tensor([prompt(9)])
LANES = (Baseline(name="baseline"), DolaStatic(name="near", layer=3), DolaStatic(name="dola", layer=22))
STEPS = DecodingConfig(max_new_tokens=8)


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> Path:
    """A model whose rows are as long as a block of four bits."""
    torch.manual_seed(0)
    config = LlamaConfig(**LLAMA | {"hidden_size": 64, "intermediate_size": 128})
    return folder(AutoModelForCausalLM.from_config(config).eval(), tmp_path_factory.mktemp("wide") / "wide")


@pytest.fixture(scope="module", params=["8bit", "4bit"])
def loaded(request, where) -> LoadedModel:
    return load_model(where, device="cpu", dtype="float32", quantize=request.param)


def bits(loaded: LoadedModel) -> str:
    return "8bit" if getattr(loaded.model, "is_loaded_in_8bit", False) else "4bit"


def test_linear_layers_are_packed_and_nothing_else(loaded):
    packed = [name for name, module in loaded.model.named_modules() if type(module).__module__.startswith("bits")]
    assert len(packed) == 30 * 7
    assert "lm_head" not in packed
    plain = [name for name, weight in loaded.model.named_parameters() if weight.dtype == torch.float32]
    assert len(plain) == 2 * 30 + 3
    assert is_packed(loaded.model)
    assert not is_packed(tiny("llama"))


def test_label_and_trace_say_so_and_the_identity_is_that_of_the_files(loaded, where):
    assert loaded.label == f"wide ({bits(loaded)} by bitsandbytes) · 30 layers · 97 tokens · CPU float32"
    assert loaded.info.dtype == f"float32, {bits(loaded)}"
    assert load_model(where, device="cpu", dtype="float32").info.identity == loaded.info.identity


@torch.no_grad()
def test_a_text_is_read_as_it_is_whatever_is_read_with_it(loaded):
    whole = loaded.model(IDS).logits[0]
    assert torch.allclose(loaded.model(IDS[:, :5]).logits[0], whole[:5], atol=1e-4)
    beside = torch.cat([IDS, torch.tensor([prompt(9, seed=4)])])
    assert torch.allclose(loaded.model(beside).logits[0], whole, atol=1e-4)


def test_lanes_write_and_are_recorded(loaded):
    trace = recorded(loaded.readout, prompt(9), LANES, STEPS)
    written = [trace.lane_ids(lane) for lane in range(3)]
    assert [len(ids) for ids in written] == [8, 8, 8]
    assert texts(compare(loaded.readout, prompt(9), LANES, STEPS)) == [list(ids) for ids in written]


def test_the_baseline_is_what_generate_writes(where):
    """Of eight bits. For one row, four bits have another product, which rounds in another way on some processors."""
    loaded = load_model(where, device="cpu", dtype="float32", quantize="8bit")
    own = loaded.model.generate(
        IDS, attention_mask=torch.ones_like(IDS), do_sample=False, max_new_tokens=8, eos_token_id=-1, pad_token_id=0
    )
    assert texts(compare(loaded.readout, prompt(9), LANES, STEPS))[0] == own[0, IDS.shape[1] :].tolist()


@torch.no_grad()
def test_plain_products_are_those_of_the_weights_that_are_kept(where):
    loaded = load_model(where, device="cpu", dtype="float32", quantize="8bit")
    exact = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
    layer, own = loaded.model.model.layers[3].mlp.up_proj, exact.model.layers[3].mlp.up_proj
    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    rounded = layer(x)
    with plain_products(loaded.model):
        plain = layer(x)
    assert torch.equal(layer(x), rounded)
    assert not torch.equal(plain, rounded)
    assert torch.allclose(plain, rounded, atol=0.03 * float(plain.abs().max()))
    assert torch.allclose(plain, own(x), atol=0.05 * float(own(x).abs().max()))
    with plain_products(loaded.model):  # no rounding: it is linear
        assert torch.allclose(layer(x[:1] + x[1:2]), plain[:1] + plain[1:2], atol=1e-5)


def test_a_model_proves_itself_without_the_rounding_of_inputs(loaded, monkeypatch):
    plain, called = quantising._plain_product, []
    monkeypatch.setattr(quantising, "_plain_product", lambda *given: (called.append(1), plain(*given))[1])
    find_rules(Readout.of(loaded.model))
    assert bool(called) == (bits(loaded) == "8bit")
    assert hooks_on(loaded.model) == 0


def test_a_fault_in_reading_is_not_taken_for_rounding(loaded, monkeypatch):
    """Reading every text one token late."""
    own = CachedTexts.read_group

    def late(self, rows, until=None, **how):
        ids = self.ids
        self.ids = ids.roll(1, dims=1)
        own(self, rows, until, **how)
        self.ids = ids

    monkeypatch.setattr(CachedTexts, "read_group", late)
    with pytest.raises(UnsupportedModelError, match="differs from the logits of its own uncached passes"):
        find_rules(Readout.of(loaded.model))


def test_a_checkpoint_that_is_packed_already_loads_as_it_is(where, tmp_path):
    how = quantised("4bit", torch.float32, {"": "cpu"})
    saved = folder(AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **how), tmp_path / "packed")
    loaded = load_model(saved, device="cpu", dtype="float32")
    assert is_packed(loaded.model)
    own = load_model(where, device="cpu", dtype="float32", quantize="4bit")
    with torch.no_grad():
        assert torch.equal(loaded.model(IDS).logits, own.model(IDS).logits)


@dataclass
class PackedHead:
    """Puts four bits in the place of a model's head or embedding."""

    model: nn.Module

    def head(self) -> nn.Module:
        from bitsandbytes.nn import Linear4bit

        own = self.model.lm_head
        packed = Linear4bit(own.in_features, own.out_features, bias=False, quant_type="nf4")
        packed.load_state_dict({"weight": own.weight.detach()})
        self.model.lm_head = packed.to("cpu")
        return self.model.lm_head

    def embedding(self) -> nn.Module:
        from bitsandbytes.nn import Embedding4bit

        own = self.model.model.embed_tokens
        packed = Embedding4bit(own.num_embeddings, own.embedding_dim)
        packed.load_state_dict({"weight": own.weight.detach()})
        self.model.model.embed_tokens = packed.to("cpu")
        return self.model.model.embed_tokens


@pytest.mark.parametrize("part", ["head", "embedding"])
def test_a_packed_part_is_as_wide_as_its_logits(part, where):
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
    packed = getattr(PackedHead(model), part)()
    assert len(packed.weight) != 97
    readout = Readout.of(model)
    assert readout.vocab_size == 97
    assert embedded_size(model, readout.vocab_size) == 97
    trace = recorded(readout, prompt(9), LANES, STEPS)
    assert len(trace.lane_ids(0)) == 8


@torch.no_grad()
def test_an_adapter_on_weights_in_few_bits_is_that_of_peft(loaded, where, tmp_path):
    lora = saved(adapted(where), tmp_path / "lora")
    how = quantised(bits(loaded), torch.float32, {"": "cpu"})
    base = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **how)
    with warnings.catch_warnings():  # PEFT asks transformers by an old name
        warnings.simplefilter("ignore", FutureWarning)
        own = PeftModel.from_pretrained(base, lora).eval()
    fine = load_model(lora, device="cpu", dtype="float32", quantize=bits(loaded))
    assert torch.equal(fine.model(IDS).logits, own(IDS).logits)
    assert fine.label.startswith(f"lora (adapter on wide, {bits(loaded)} by bitsandbytes) · ")


def test_nothing_is_said_on_the_terminal(where):
    """Neither a line for each product, nor one for kernels that are not installed."""
    script = (
        "import sys; from dola_core import load_model; import transformers\n"
        "transformers.utils.logging.disable_progress_bar()\n"
        "for bits in ('8bit', '4bit'):\n"
        "    load_model(sys.argv[1], device='cpu', dtype='bfloat16', quantize=bits)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(where)], capture_output=True, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_level_of_ones_own_is_left_alone(monkeypatch):
    logger = logging.getLogger("bitsandbytes")
    monkeypatch.setattr(logger, "level", logging.INFO)
    quantising.quieten()
    assert logger.level == logging.INFO
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    quantising.quieten()
    assert logger.level == logging.ERROR


def test_what_cannot_be_quantised_is_said_in_a_sentence(where, monkeypatch):
    assert refused(where, quantize="2bit") == "Unknown quantisation '2bit'; use 8bit or 4bit."
    narrow = folder(tiny("llama"), where.parent / "narrow")
    assert refused(narrow, quantize="4bit") == f"{narrow} does not compute in 4bit on cpu; leave out quantize."
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else found(name))
    assert refused(where, quantize="8bit") == (
        "Quantising needs packages that are not installed: pip install bitsandbytes."
    )


def test_a_model_that_is_spread_may_be_quantised(where):
    loaded = load_model(where, device="split", dtype="float32", quantize="8bit")
    assert is_packed(loaded.model)
    assert len(texts(compare(loaded.readout, prompt(9), LANES, STEPS))[0]) == 8
