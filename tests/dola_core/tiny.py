"""Tiny random models of 30 layers whose layers really differ, so that reading the wrong one changes the text."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

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

from dola_core.comparison import Comparison
from dola_core.decoding.beam_search import BeamProgress, BeamResult
from dola_core.decoding.compiled.static_step import StaticStep
from dola_core.decoding.engine import Engine
from dola_core.decoding.lockstep import StepOutput
from dola_core.decoding.prefix_cache import PrefixCache
from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic, Lane
from dola_core.models.info import ModelInfo
from dola_core.models.reading.readout import Readout
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace

N, V, WIDTH = 30, 97, 32
TextOf = Callable[[Sequence[int]], str]

DECODERS: list[Lane] = [
    Baseline(),
    DolaStatic(layer=22),
    DolaStatic(layer=3, alpha=0.05, early_norm=False),
    DolaStatic(layer=12, repetition_penalty=1.4),
    DolaDynamic(bucket="high"),
    DolaDynamic(bucket="low"),
]
"""One of each way to read layers."""

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


def spelled(ids: Sequence[int]) -> str:
    """The text of ids where token n is spelled " tn"."""
    return "".join(f" t{i}" for i in ids)


def engine_of(readout: Readout, *, eos_ids: Collection[int] = (), text_of: TextOf = spelled) -> Engine:
    """An engine on a model that has no tokenizer."""
    loaded = SimpleNamespace(
        model=readout.model, readout=readout, info=info_of(readout), eos_ids=tuple(eos_ids), text=text_of
    )
    return Engine(loaded)


def info_of(readout: Readout) -> ModelInfo:
    return ModelInfo(name="tiny", dtype="float32", n_layers=readout.n_layers, vocab_size=readout.vocab_size)


def asked(prompt_ids: Sequence[int], lanes: Sequence[Lane], config: DecodingConfig) -> Comparison:
    return Comparison("a prompt", tuple(prompt_ids), tuple(lanes), config)


def compare(
    readout: Readout,
    prompt_ids: Sequence[int],
    lanes: Sequence[Lane],
    config: DecodingConfig,
    *,
    eos_ids: Collection[int] = (),
    text_of: TextOf = spelled,
    prefix_cache: PrefixCache | None = None,
    static_step: StaticStep | None = None,
    **how: Any,
) -> Iterator[StepOutput]:
    """`Engine.compare` on a model without a tokenizer, with a prefix cache and a static batch if they are given."""
    engine = engine_of(readout, eos_ids=eos_ids, text_of=text_of)
    engine.static_step = static_step
    if prefix_cache is not None:
        engine.prefix_cache = prefix_cache
        how["reuse_prefix"] = True
    return engine.compare(asked(prompt_ids, lanes, config), **how)


def beam_search(
    readout: Readout, prompt_ids: Sequence[int], lanes: Sequence[Lane], config: DecodingConfig, **named: Any
) -> Iterator[BeamProgress | BeamResult]:
    """`Engine.beam_search` on a model without a tokenizer."""
    return engine_of(readout, **named).beam_search(asked(prompt_ids, lanes, config))


def layer_and_alpha(lane: Lane) -> tuple[int | None, float]:
    """(j*, α) of a DoLa-static lane; (None, 0.1) of a plain one."""
    return (lane.layer, lane.alpha) if isinstance(lane, DolaStatic) else (None, 0.1)


def texts(steps: Iterable[StepOutput]) -> list[list[int]]:
    """What each lane wrote, from the steps of a comparison."""
    written: dict[int, list[int]] = {}
    for output in steps:
        for lane, token in output.tokens.items():
            written.setdefault(lane, []).append(token)
    return [written[lane] for lane in sorted(written)]


def recorded(readout, prompt_ids, lanes, config, **how) -> Trace:
    """A whole comparison's trace; token n is spelled " tn"."""
    recorder = Recorder(engine_of(readout).fitted(asked(prompt_ids, lanes, config)), info_of(readout))
    for output in compare(readout, prompt_ids, lanes, config, **how):
        recorder.add(output.tokens, output.ends, output.steps)
    return recorder.trace(piece=lambda i: f" t{i}", text=spelled)


@contextmanager
def tokens_read(readout) -> Iterator[list[int]]:
    """How many tokens a row each forward pass reads."""
    read = []
    hook = readout.decoder.register_forward_hook(lambda module, inputs, output: read.append(output[0].shape[1]))
    try:
        yield read
    finally:
        hook.remove()
