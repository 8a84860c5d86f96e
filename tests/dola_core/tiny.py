"""Tiny random models of 30 layers whose layers really differ, so that reading the wrong one changes the text."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from dola_core.decoding.lockstep import compare
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import ModelInfo, Trace

N, V, WIDTH = 30, 97, 32

_SMALL = {
    "vocab_size": V,
    "hidden_size": WIDTH,
    "num_hidden_layers": N,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
LLAMA = _SMALL | {"intermediate_size": 48, "num_key_value_heads": 2}

_JANUS = {
    "text_config": {"model_type": "llama", **LLAMA},
    "vision_config": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
        "projection_dim": 32,
        "mlp_ratio": 2.0,
        "num_image_tokens": 4,
    },
    "vq_config": {
        "embed_dim": 8,
        "num_embeddings": 16,
        "latent_channels": 8,
        "base_channels": 32,
        "channel_multiplier": [1, 1],
        "num_res_blocks": 1,
        "num_patches": 4,
        "projection_dim": 32,
        "image_token_embed_dim": 32,
    },
}

CONFIGS = {
    "llama": lambda: LlamaConfig(**LLAMA),
    "llama-tied": lambda: LlamaConfig(**LLAMA, tie_word_embeddings=True),
    "mistral": lambda: MistralConfig(**LLAMA, sliding_window=8),
    "qwen2": lambda: Qwen2Config(**LLAMA),
    "qwen3": lambda: Qwen3Config(**LLAMA, head_dim=8),
    "gemma2": lambda: Gemma2Config(**LLAMA, head_dim=8, final_logit_softcapping=2.0, sliding_window=8),
    "phi3": lambda: Phi3Config(**LLAMA),
    "olmo2": lambda: Olmo2Config(**LLAMA),
    "gpt2": lambda: GPT2Config(**_SMALL),
    "gpt-neox": lambda: GPTNeoXConfig(**_SMALL, intermediate_size=48),
    "cohere": lambda: CohereConfig(**LLAMA, logit_scale=0.25),
    "granite": lambda: GraniteConfig(**LLAMA, logits_scaling=3.0),
    "janus": lambda: JanusConfig(**_JANUS),
}


@cache
def tiny(name: str) -> PreTrainedModel:
    """The tiny model of one architecture, the same object every time."""
    config = CONFIGS[name]()
    torch.manual_seed(0)
    if name == "janus":
        return prepared(JanusForConditionalGeneration(config))
    return prepared(AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def prepared(model: PreTrainedModel, *, sharpness: float = 1.5) -> PreTrainedModel:
    """`model` with norms that matter (with weights of 1, norming twice would go unseen) and a sharper head."""
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if weight.dim() == 1 and ("norm" in name or "ln_" in name):
            weight.data.uniform_(0.3, 1.7, generator=generator)
    head = model.get_output_embeddings()
    if head is not None and head.weight is not model.get_input_embeddings().weight:
        head.weight.data.mul_(sharpness)
    model.generation_config.eos_token_id = model.generation_config.bos_token_id = None
    model.generation_config.pad_token_id = 0
    return model.eval()


def hooks_on(model: torch.nn.Module) -> int:
    """How many forward hooks hang on any part of `model`."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def prompt(length: int, seed: int = 0) -> list[int]:
    """Random ids; never 0, which pads."""
    return torch.randint(1, V, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def texts(comparison) -> list[list[int]]:
    """What each lane wrote, from the steps of a comparison."""
    written: dict[int, list[int]] = {}
    for advance in comparison:
        for lane, token in advance.tokens.items():
            written.setdefault(lane, []).append(token)
    return [written[lane] for lane in sorted(written)]


def recorded(readout, prompt_ids, lanes, decoding, **kwargs) -> Trace:
    """A whole comparison's trace; token n is spelled " tn"."""
    info = ModelInfo(name="tiny", dtype="float32", n_layers=readout.n_layers, vocab_size=readout.vocab_size)
    recorder = Recorder(info, "a prompt", prompt_ids, lanes, decoding)
    for advance in compare(readout, prompt_ids, lanes, decoding, **kwargs):
        recorder.add(advance.tokens, advance.ends, advance.steps)
    return recorder.trace(piece=lambda i: f" t{i}", text=lambda ids: "".join(f" t{i}" for i in ids))


@contextmanager
def tokens_read(readout) -> Iterator[list[int]]:
    """How many tokens a row each forward pass reads."""
    read = []
    hook = readout.decoder.register_forward_hook(lambda module, inputs, output: read.append(output[0].shape[1]))
    try:
        yield read
    finally:
        hook.remove()
