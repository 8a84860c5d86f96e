"""The models that are timed: the shipped one, and larger shapes with random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from dola_core.models.loading import SHIPPED_MODEL, load_model

SHAPES = {"135M": (576, 1536, 9, 3), "445M": (1024, 3072, 16, 8), "1.65B": (2048, 6144, 32, 8)}
"""Width, width inside the MLP, heads and their keys, each of 30 layers."""
ATLAS = "Atlas-30L (shipped)"
VOCABULARY, LAYERS = 49_152, 30


@dataclass(frozen=True)
class Timed:
    """A model to time, built when its turn comes."""

    name: str
    dtype: str
    build: Callable[[], PreTrainedModel]


def shipped(dtype: str) -> PreTrainedModel:
    """Atlas-30L."""
    model = load_model(SHIPPED_MODEL, device="cpu", dtype=dtype).model
    model.generation_config.eos_token_id = None  # so that every run is as long
    return model


def random_llama(
    width: int, inner: int, heads: int, keys: int, dtype: str, *, layers: int = LAYERS, vocabulary: int = VOCABULARY
) -> PreTrainedModel:
    """A LLaMA with random weights: its lanes part at the first step, the most that lock step can cost."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=keys, max_position_embeddings=4096, eos_token_id=None,
        bos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(default)
    model.generation_config.eos_token_id = None
    return model.eval()


def all_models() -> list[Timed]:
    """In the order of their size, bfloat16 first."""
    builders: dict[str, Callable[[str], PreTrainedModel]] = {ATLAS: shipped}
    builders |= {name: partial(random_llama, *shape) for name, shape in SHAPES.items()}
    return [
        Timed(name, dtype, partial(build, dtype))
        for name, build in builders.items()
        for dtype in ("bfloat16", "float32")
    ]
