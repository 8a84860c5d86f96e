"""The models that the tests of the layer search share: the shipped one, and a small one that chats."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dola_core.files.paths import SHIPPED_MODEL
from dola_core.models.info import ModelInfo
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.models.preset import Preset
from dola_core.models.reading.readout import Readout
from tests.dola_core.tiny import CONFIGS, N, prepared

CHAT_TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)


@pytest.fixture(scope="session")
def atlas() -> LoadedModel:
    return load_model(device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def chatty() -> LoadedModel:
    """A random model with the shipped tokenizer and a chat template."""
    config = CONFIGS["llama"]()
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_MODEL)
    tokenizer.chat_template = CHAT_TEMPLATE
    config.vocab_size = len(tokenizer)
    torch.manual_seed(0)
    model = prepared(AutoModelForCausalLM.from_config(config))
    info = ModelInfo(name="chatty", dtype="float32", n_layers=N, vocab_size=len(tokenizer))
    return LoadedModel(model, tokenizer, Readout.of(model), "chatty", info, Preset(layer=22))
