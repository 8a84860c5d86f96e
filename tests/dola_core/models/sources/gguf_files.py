"""Tiny GGUF files, written as llama.cpp's converter writes them."""

import json
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from dola_core.files.paths import SHIPPED_MODEL
from tests.dola_core.tiny import LLAMA, N, prepared

MERGED = 640
"""How many merges of the shipped tokenizer are taken, so that a file is read in a moment."""
TOKENIZER = json.loads((SHIPPED_MODEL / "tokenizer.json").read_text(encoding="utf-8"))
MERGES = TOKENIZER["model"]["merges"][:MERGED]
VOCABULARY = sorted(TOKENIZER["model"]["vocab"], key=TOKENIZER["model"]["vocab"].__getitem__)[: 3 + 256 + MERGED]
"""Three special tokens, the bytes, and what the first merges make."""
BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Names of a block's weights in GGUF files and in `transformers`."""


def original_tokenizer() -> Tokenizer:
    """The tokenizer that the files hold, made without them."""
    model = TOKENIZER["model"] | {"vocab": {token: i for i, token in enumerate(VOCABULARY)}, "merges": MERGES}
    return Tokenizer.from_str(json.dumps(TOKENIZER | {"model": model}))


@cache
def tiny_llama() -> LlamaForCausalLM:
    """A model with the vocabulary of the files' tokenizer, and rows as long as one block of Q8_0 or two."""
    torch.manual_seed(0)
    settings = LLAMA | {"vocab_size": len(VOCABULARY), "intermediate_size": 64, "bos_token_id": 0, "eos_token_id": 1}
    return prepared(LlamaForCausalLM(LlamaConfig(**settings)))


def dequantised(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """A copy of `model` with what is left of its matrices once they were kept as Q8_0."""
    copy = LlamaForCausalLM(model.config)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            kept = weight.numpy()
            if weight.dim() == 2:
                packed = gguf.quantize(kept, GGMLQuantizationType.Q8_0)
                kept = gguf.dequantize(packed, GGMLQuantizationType.Q8_0)
            copy.state_dict()[name].copy_(torch.from_numpy(kept))
    return copy.eval()


def write_gguf(
    file: Path,
    model: LlamaForCausalLM | None = None,
    *,
    q8_0: bool = False,
    rule: str | None = "gpt-2",
    kind: str = "gpt2",
    architecture: str = "llama",
    add_bos: bool | None = True,
    without: Collection[str] = (),
    merges: Sequence[Sequence[str]] = MERGES,
) -> Path:
    """`model` as a GGUF file, `without` some weights, with a tokenizer that cuts text by GPT-2's rule."""
    model = model or tiny_llama()
    config, writer = model.config, GGUFWriter(file, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0 if q8_0 else LlamaFileType.ALL_F32)
    writer.add_tokenizer_model(kind)
    if rule is not None:
        writer.add_tokenizer_pre(rule)
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(VOCABULARY) - 3))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(2)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    for name, weight in _weights(model).items():
        if name in without:
            continue
        if q8_0 and weight.ndim == 2:
            packed = gguf.quantize(weight, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _weights(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """Weights by the names of GGUF files."""
    own = {name: weight.detach().numpy() for name, weight in model.state_dict().items()}
    weights = {
        "token_embd.weight": own["model.embed_tokens.weight"],
        "output_norm.weight": own["model.norm.weight"],
        "output.weight": own["lm_head.weight"],
    }
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    for number in range(N):
        for name, ours in BLOCK.items():
            weight = own[f"model.layers.{number}.{ours}.weight"]
            weights[f"blk.{number}.{name}.weight"] = _interleaved(weight, heads[name]) if name in heads else weight
    return weights


def _interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys in llama.cpp's order, which rotates neighbours where `transformers` rotates halves."""
    rows, width = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, width)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, width))
