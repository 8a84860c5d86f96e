"""The models that are timed: the shipped one, SmolLM2, and larger shapes with random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from dola_core.contrast import default_layer
from dola_core.decoding.engine import Engine
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.models.info import ModelInfo
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.models.preset import Preset
from dola_core.models.reading.readout import Readout
from dola_core.models.sources import smollm2

SHAPES = {"135M": (576, 1536, 9, 3), "445M": (1024, 3072, 16, 8), "1.65B": (2048, 6144, 32, 8)}
"""{name: (width, width inside the MLP, attention heads, key-value heads)}, each with 30 layers."""
DEEPSEEK_7B, DEEPSEEK_VOCABULARY = (4096, 11_008, 32, 32), 102_400
"""The shape of DeepSeek-LLM-7B, and of the language model inside Janus-Pro-7B; for a GPU."""
ATLAS, SMOLLM2 = "Atlas-30L (shipped)", "SmolLM2-135M (its weights)"
REAL = {ATLAS: str(SHIPPED_MODEL), SMOLLM2: "smollm2"}
"""{name: what `load_model` takes} of the models with weights of their own, which are asked a question."""
VOCABULARY, LAYERS = 49_152, 30


@dataclass(frozen=True)
class Timed:
    """A model to time, built when its turn comes."""

    name: str
    dtype: str
    build: Callable[[], PreTrainedModel]


def real(name: str, dtype: str) -> PreTrainedModel:
    """One of `REAL`, without an EOS token."""
    model = load_model(REAL[name], device="cpu", dtype=dtype).model
    # So that every run is as long. Lock step ends at the tokens of both configs.
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    return model


def random_llama(
    width: int,
    inner: int,
    heads: int,
    keys: int,
    dtype: str,
    *,
    layers: int = LAYERS,
    vocabulary: int = VOCABULARY,
    device: str = "cpu",
) -> PreTrainedModel:
    """A LLaMA with random weights. Its lanes part at the first step, which is the most that lock step can cost."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=keys, max_position_embeddings=4096, eos_token_id=None,
        bos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(default)
    model.generation_config.eos_token_id = None
    return model.eval()


def engine_of(model: PreTrainedModel, *, compiled: bool = False) -> Engine:
    """An engine for prompts as ids. Its tokenizer knows no word, and no token ends a text: every run is as long."""
    readout = Readout.of(model)
    info = ModelInfo(name="timed", dtype="", n_layers=readout.n_layers, vocab_size=readout.vocab_size)
    preset = Preset(layer=default_layer(readout.n_layers))
    no_words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({})))
    loaded = LoadedModel(model, no_words, readout, "timed", info, preset)
    return Engine(loaded, compiled=compiled)


def all_models() -> list[Timed]:
    """All models in the order of their size, each in bfloat16 first; without SmolLM2 where its package is missing."""
    named = [name for name in REAL if name != SMOLLM2 or smollm2.packaged_file()]
    builders: dict[str, Callable[[str], PreTrainedModel]] = {name: partial(real, name) for name in named}
    builders |= {name: partial(random_llama, *shape) for name, shape in SHAPES.items()}
    return [
        Timed(name, dtype, partial(build, dtype))
        for name, build in builders.items()
        for dtype in ("bfloat16", "float32")
    ]
