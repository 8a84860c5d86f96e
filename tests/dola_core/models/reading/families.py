"""A tiny random model of every family of causal LMs that `transformers` ships.

Configs are shrunk by the names of their fields; what a family needs beyond that stands in `NEEDS`.
"""

from copy import deepcopy
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

LAYERS, WORDS, WINDOW = 4, 97, 16
SMALL = {
    "vocab_size": WORDS, "initializer_range": 0.2, "type_vocab_size": 2,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "n_embed", "embedding_size", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 128),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "decoder_ffn_dim"), 48),
    "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 48,
    "num_key_value_heads": 2, "head_dim": 8,
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "window_size"), WINDOW),
    "moe_intermediate_size": 24, "shared_expert_intermediate_size": 24, "n_shared_experts": 1,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "n_group": 1, "topk_group": 1,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8,
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "index_head_dim": 8, "index_n_heads": 2, "index_topk": 64,  # where texts of these families end
    "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_num_heads": 8,
    "mamba_head_dim": 8, "ssm_state_size": 8, "state_size": 8, "n_mamba_heads": 2,
    "vocab_size_per_layer_input": WORDS, "hidden_size_per_layer_input": 8,
    "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8,
    "dense_intermediate_size": 48, "image_size": 32, "patch_size": 8, "depth": 1, "out_hidden_size": 32,
    "hidden_size_global": 32, "output_embedding_size": 32, "input_embedding_size": 32, "output_channels": 8,
    **dict.fromkeys(("d_inner", "shared_intermediate_size", "moe_shared_expert_intermediate_size"), 48),
}  # fmt: skip
"""The sizes of all that is called so, in a config or in the configs inside it."""

WIDE, NEAR, STATE, CONV, BOTH = "full_attention", "sliding_attention", "linear_attention", "conv", "hybrid"
WINDOWED = {"layer_types": [NEAR, WIDE, NEAR, WIDE]}
WITH_STATE = {"layer_types": [STATE, WIDE, STATE, WIDE]}
WITH_CONV = {"layer_types": [CONV, WIDE, CONV, WIDE]}
QWEN_WINDOWS = WINDOWED | {"use_sliding_window": True, "max_window_layers": 2}
MLA = {"num_key_value_heads": 4}
INKLING = {"layer_types": ["hybrid_sliding", BOTH, "hybrid_sliding", BOTH], "unpadded_vocab_size": WORDS, "d_rel": 4}
GEMMA4 = WINDOWED | {"global_head_dim": 16, "num_kv_shared_layers": 2}
LLAMA4 = {"interleave_moe_layer_step": 2, "num_experts_per_tok": 1, "intermediate_size_mlp": 48}
DOTS3 = MLA | {
    "layer_types": ["indexed_attention", NEAR, "indexed_attention", NEAR],
    "swa_num_attention_heads": 4, "swa_num_key_value_heads": 4, "swa_q_lora_rank": 16, "swa_kv_lora_rank": 16,
    "swa_head_dim": 16, "swa_qk_nope_head_dim": 8, "swa_v_head_dim": 8, "shared_experts_intermediate_size": 24,
}  # fmt: skip
NEEDS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ("axk1", "axk2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "minicpm3", "youtu"), MLA
    ),
    **dict.fromkeys(("gemma3_text", "kolibri1", "laguna", "mellum", "ministral"), WINDOWED),
    **dict.fromkeys(("qwen2", "qwen3", "smollm3"), QWEN_WINDOWS),
    "bailing_hybrid": WITH_STATE | {"num_key_value_heads": 4, "num_mtp_layers": 0},
    "bamba": {"attn_layer_indices": [1, 3]},
    "blt": {"encoder_hash_byte_group_vocab": 64, "local_attention_window_len": WINDOW, "patch_size": 4},
    "codegen": {"rotary_dim": 4},
    "cohere_compass_text": WINDOWED | {
        "rope_parameters": {NEAR: {"rope_type": "default", "rope_theta": 1e4}, WIDE: None},
    },
    "cpmant": {"dim_head": 8, "dim_ff": 48, "prompt_length": 4},
    "ctrl": {"dff": 48},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0}},
    "deepseek_v2": MLA | {"first_k_dense_replace": 1},
    "deepseek_v4": {
        "layer_types": [NEAR, "heavily_compressed_attention", "compressed_sparse_attention", NEAR],
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
        "mlp_layer_types": ["hash_moe", "moe", "hash_moe", "moe"], "num_key_value_heads": 1, "index_topk": 2,
        "o_groups": 2, "o_lora_rank": 8,
    },
    "dots1": WINDOWED | {"first_k_dense_replace": 1},
    "dots3_note_audio_encoder": {"adapter_input_size": 32, "adapter_out_dim": 32, "downsample_hidden_size": 8},
    "dots3_note_text": DOTS3,
    "dots3_note_vision_encoder": {
        "mlp_layer_types": ["dense", "sparse"] * 2, "adapter_in_dim": 32, "adapter_out_dim": 32,
    },
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma3": {"mm_tokens_per_image": 16},
    "gemma3n_text": WINDOWED | {
        "num_kv_shared_layers": 2, "activation_sparsity_pattern": [0.9, 0.9, 0.0, 0.0], "laurel_rank": 8,
    },
    "gemma4": {"text_config": {"enable_moe_block": True, "top_k_experts": 2}},
    "gemma4_text": GEMMA4,
    "gemma4_unified_text": GEMMA4,
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": WITH_STATE,
    "inkling_text": INKLING | {"mlp_layer_types": ["dense", "sparse", "sparse", "sparse"]},
    "inkling2_text": INKLING,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 3, "expert_layer_offset": 0},
    "kimi_linear": WITH_STATE | MLA | {"linear_head_dim": 8, "linear_num_heads": 4},
    "lfm2": WITH_CONV,
    "lfm2_moe": WITH_CONV,
    "lfm3": {"layer_types": [CONV, WIDE, CONV, NEAR]},
    "llama4_text": LLAMA4,
    "longcat_flash": MLA | {"num_hidden_layers": 2 * LAYERS, "zero_expert_num": 2},
    "mamba2": {"num_heads": 8, "n_groups": 2},
    "minimax_m3_vl_text": {
        "layer_types": [WIDE, "minimax_m3_sparse", WIDE, "minimax_m3_sparse"], "index_block_size": 4,
        "index_topk_blocks": 2, "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
    },
    "phi4_multimodal_audio": {
        "num_blocks": 1, "ext_pw_out_channel": 32, "depthwise_separable_out_channel": 32, "nemo_conv_channels": 32,
    },
    "phi4_multimodal_vision": {"crop_size": 32},
    "prophetnet": {"num_encoder_layers": LAYERS, "num_decoder_layers": LAYERS, "num_encoder_attention_heads": 4},
    "qwen2_moe": QWEN_WINDOWS | {"mlp_only_layers": [0]},
    "qwen3_moe": {"mlp_only_layers": [0]},
    "qwen4_exp_text": {
        "layer_types": [STATE, "indexed_attention"] * 2, "indexer_n_heads": 2, "indexer_kv_heads": 1,
        "indexer_head_dim": 8, "indexer_budget": 8, "indexer_compress_ratio": 4, "hc_lowrank": 8, "ple_layer_ids": [3],
        "ngram_vocab_size_base": 64, "heads_per_ngram": 2, "split_ngram_parts": 1,
    },
    "reformer": {
        "attn_layers": ["local", "lsh"] * 2, "axial_pos_shape": [8, 16], "axial_pos_embds_dim": [8, 24],
        "attention_head_size": 8, "feed_forward_size": 48, "hash_seed": 0, "num_hidden_layers": None,
    },
    "roc_bert": {
        "pronunciation_embed_dim": 8, "pronunciation_vocab_size": WORDS,
        "shape_embed_dim": 8, "shape_vocab_size": WORDS,
    },
    "xlstm": {"hidden_size": 128, "embedding_dim": 128},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": [STATE, BOTH] * 2, "mamba_dt_rank": 4,
        "attention_hidden_size": None, "attention_head_dim": None,
    },
    "zamba2": {"layers_block_type": [STATE, BOTH] * 2, "adapter_rank": 8},
    "zaya": {"layer_types": [BOTH, "hybrid_sliding"] * 2, "num_experts_per_tok": 1, "router_hidden_size": 16},
}  # fmt: skip
"""What a family, or a config inside one, needs besides, None for what must keep its default."""

CANNOT = {
    "gemma3n": "its vision part needs the package timm",
    "gemma4_assistant": "it drafts for another model and reads that model's states",
    "gemma4_unified_assistant": "it drafts for another model and reads that model's states",
    "musicgen": "its config is that of a whole text-to-music model, which its causal LM does not read",
    "musicgen_melody": "its config is that of a whole text-to-music model, which its causal LM does not read",
}
"""The families that are not built here, and why."""


def families() -> list[str]:
    """The model types that `AutoModelForCausalLM` knows."""
    return sorted({config.model_type for config in MODEL_FOR_CAUSAL_LM_MAPPING})


def tiny_config(family: str, **changes: Any) -> PreTrainedConfig:
    """A config of the family in which all that has a size is small."""
    config = _tiny(CONFIG_MAPPING[family], changes)
    if hasattr(config, "is_decoder"):
        config.is_decoder = True
    return config


def _tiny(kind: type[PreTrainedConfig], changes: dict[str, Any]) -> PreTrainedConfig:
    """A small config of the kind, and small configs inside it."""
    default = kind()
    known = default.to_dict().keys() | default.attribute_map.keys()
    settings: dict[str, Any] = {name: size for name, size in SMALL.items() if name in known}
    settings |= deepcopy(NEEDS.get(kind.model_type, {})) | changes
    for name, part in vars(default).items():
        if isinstance(part, PreTrainedConfig):
            settings[name] = _tiny(type(part), settings.get(name, {}))
    return kind(**{name: value for name, value in settings.items() if value is not None})


def tiny_family(config: PreTrainedConfig, *, weights: float = 1.0, seed: int = 0) -> PreTrainedModel:
    """A random model whose norms matter, its matrices `weights` times as large as they begin."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1 and ("norm" in name or "ln_" in name):
                weight.uniform_(0.3, 1.7)
            elif weight.dim() > 1:
                weight.mul_(weights)
    generation = model.generation_config
    for rule in ("eos_token_id", "bos_token_id", "forced_eos_token_id", "begin_suppress_tokens"):
        setattr(generation, rule, None)
    generation.encoder_no_repeat_ngram_size = None
    generation.pad_token_id = 0
    return model
