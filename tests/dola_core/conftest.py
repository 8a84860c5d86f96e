"""Tiny models and what reads them."""

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from dola_core.models.reading.proof import reading_rules
from dola_core.models.reading.readout import Readout
from tests.dola_core.reference import NaiveDecoder
from tests.dola_core.tiny import CONFIGS, hooks_on, prepared, tiny


@pytest.fixture(scope="session")
def llama() -> PreTrainedModel:
    return tiny("llama")


@pytest.fixture(scope="session")
def readout(llama) -> Readout:
    found = Readout.of(llama)
    reading_rules(found)  # so that no test counts the passes of the proof
    return found


@pytest.fixture(scope="session")
def readouts() -> list[Readout]:
    """Models whose heads are wide, usual and narrow, and a bfloat16 one, where many logits are equal."""
    models = []
    for sharpness, dtype in ((0.5, "float32"), (1.5, "float32"), (5.0, "float32"), (1.5, "bfloat16")):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIGS["llama"](), dtype=getattr(torch, dtype))
        models.append(Readout.of(prepared(model, sharpness=sharpness)))
    return models


@pytest.fixture(scope="session")
def naive(llama) -> NaiveDecoder:
    return NaiveDecoder(llama)


@pytest.fixture(scope="session")
def janus() -> PreTrainedModel:
    return tiny("janus")


@pytest.fixture(autouse=True)
def _no_test_leaves_hooks():
    yield
    for name in ("llama",):
        assert hooks_on(tiny(name)) == 0
