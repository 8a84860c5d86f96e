"""A tiny random model of every family that reads images, with its own processor, saved as its makers publish it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoTokenizer,
    Gemma3Config,
    Idefics3Config,
    InternVLConfig,
    JanusConfig,
    LlavaConfig,
    LlavaNextConfig,
    Mistral3Config,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen3VLConfig,
    SmolVLMConfig,
)

from dola_core.files.paths import SHIPPED_MODEL
from tests.dola_core.tiny import prepared

WORDS = 6144
"""The vocabulary of the shipped tokenizer; the tokens of a family come behind it."""
TEXT: dict[str, Any] = {
    "vocab_size": WORDS + 32, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 30,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256,
    "initializer_range": 0.3, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip
MROPE = TEXT | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}}
MROPE_3 = MROPE | {
    "rope_parameters": {
        "rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0, "mrope_interleaved": True
    }
}  # fmt: skip
EYE: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 16, "patch_size": 8, "projection_dim": 16, "initializer_range": 0.3, "initializer_factor": 3.0,
}  # fmt: skip
QWEN_EYE = {
    "depth": 2, "hidden_size": 16, "intermediate_size": 16, "out_hidden_size": 32, "num_heads": 2,
    "num_position_embeddings": 16, "deepstack_visual_indexes": [0], "initializer_range": 0.3,
}  # fmt: skip
QWEN_TOKENS = {
    "image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}  # fmt: skip
TILES = [f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)]
CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
"""A chat template, with what a family writes for an image in the place of IMAGE."""


@dataclass(frozen=True)
class Family:
    """One family of models."""

    config: Callable[[dict[str, int]], PreTrainedConfig]
    """{name of a token: its id} → the config."""
    image_processor: tuple[str, dict[str, Any]]
    """Its class and settings, as in preprocessor_config.json."""
    processor: tuple[str, dict[str, Any]]
    """The same of processor_config.json."""
    tokens: dict[str, str]
    """The tokens that the tokenizer knows by name."""
    mark: str
    """What the chat template writes for an image."""
    others: tuple[str, ...] = ()
    """Further tokens."""


def _qwen_ids(ids: dict[str, int]) -> dict[str, int]:
    return {f"{name}_id": number for name, number in ids.items() if name in QWEN_TOKENS}


def _idefics(kind: type) -> Callable[[dict[str, int]], PreTrainedConfig]:
    return lambda ids: kind(
        text_config=TEXT | {"model_type": "llama"}, vision_config=EYE, image_token_id=ids["image_token"], scale_factor=2
    )


_IDEFICS: dict[str, Any] = {
    "tokens": {
        "image_token": "<image>", "fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    },
    "mark": "<image>",
    "others": tuple(TILES),
}  # fmt: skip
_TILED = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}, "do_image_splitting": True}
_CLIP = {"patch_size": 8, "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
_QWEN: dict[str, Any] = {
    "image_processor": ("Qwen2VLImageProcessor", {"size": {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 6}}),
    "tokens": QWEN_TOKENS,
    "mark": "<|vision_start|><|image_pad|><|vision_end|>",
}

FAMILIES: dict[str, Family] = {
    "janus": Family(
        lambda ids: JanusConfig(
            text_config=TEXT | {"model_type": "llama"},
            vision_config=EYE | {"depth": 1, "projection_dim": 32, "mlp_ratio": 1},
            vq_config={
                "embed_dim": 8, "num_embeddings": 16, "base_channels": 32, "channel_multiplier": [1],
                "num_res_blocks": 1, "latent_channels": 8, "image_token_embed_dim": 32, "projection_dim": 32,
            },
            image_token_id=ids["image_token"],
        ),
        ("JanusImageProcessor", {"size": {"height": 16, "width": 16}}),
        ("JanusProcessor", {"num_image_tokens": 4}),
        {"image_token": "<image_placeholder>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"},
        "<image_placeholder>\n",
    ),
    "llava": Family(
        lambda ids: LlavaConfig(
            text_config=TEXT | {"model_type": "llama"},
            vision_config=EYE | {"model_type": "clip_vision_model"},
            image_token_index=ids["image_token"],
            vision_feature_layer=-1,
        ),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}),
        ("LlavaProcessor", _CLIP),
        {"image_token": "<image>"},
        "<image>\n",
    ),
    "llava-next": Family(
        lambda ids: LlavaNextConfig(
            text_config=TEXT | {"model_type": "llama"},
            vision_config=EYE | {"model_type": "clip_vision_model"},
            image_token_index=ids["image_token"],
            image_grid_pinpoints=[[16, 32], [32, 16], [32, 32]],
            vision_feature_layer=-1,
        ),
        (
            "LlavaNextImageProcessor",
            {
                "size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16},
                "image_grid_pinpoints": [[16, 32], [32, 16], [32, 32]],
            },
        ),
        ("LlavaNextProcessor", _CLIP),
        {"image_token": "<image>"},
        "<image>\n",
    ),
    "qwen2-vl": Family(
        lambda ids: Qwen2VLConfig(
            text_config=MROPE,
            vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2},
            **_qwen_ids(ids),
        ),
        processor=("Qwen2VLProcessor", {}),
        **_QWEN,
    ),
    "qwen2.5-vl": Family(
        lambda ids: Qwen2_5_VLConfig(
            text_config=MROPE, vision_config=QWEN_EYE | {"fullatt_block_indexes": [0]}, **_qwen_ids(ids)
        ),
        processor=("Qwen2_5_VLProcessor", {}),
        **_QWEN,
    ),
    "qwen3-vl": Family(
        lambda ids: Qwen3VLConfig(
            text_config=MROPE_3, vision_config=QWEN_EYE | {"patch_size": 14}, **_qwen_ids(ids)
        ),
        processor=("Qwen3VLProcessor", {}),
        **_QWEN,
    ),
    "gemma3": Family(
        lambda ids: Gemma3Config(
            text_config=TEXT | {"query_pre_attn_scalar": 8, "sliding_window": 16},
            vision_config=EYE,
            image_token_index=ids["image_token"],
            boi_token_index=ids["boi_token"],
            eoi_token_index=ids["eoi_token"],
            mm_tokens_per_image=4,
        ),
        ("Gemma3ImageProcessor", {"size": {"height": 16, "width": 16}}),
        ("Gemma3Processor", {"image_seq_length": 4}),
        {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
        "<start_of_image>",
    ),
    "smolvlm": Family(
        _idefics(SmolVLMConfig),
        ("SmolVLMImageProcessor", _TILED),
        ("SmolVLMProcessor", {"image_seq_len": 1}),
        **_IDEFICS,
    ),
    "idefics3": Family(
        _idefics(Idefics3Config),
        ("Idefics3ImageProcessor", _TILED),
        ("Idefics3Processor", {"image_seq_len": 1}),
        **_IDEFICS,
    ),
    "internvl": Family(
        lambda ids: InternVLConfig(
            text_config=TEXT | {"model_type": "qwen2"},
            vision_config=EYE | {"model_type": "internvl_vision", "image_size": [16, 16], "patch_size": [8, 8]},
            image_token_id=ids["context_image_token"],
            image_seq_length=1,
            vision_feature_layer=-1,
        ),
        ("GotOcr2ImageProcessor", {"size": {"height": 16, "width": 16}, "crop_to_patches": True, "max_patches": 3}),
        ("InternVLProcessor", {"image_seq_length": 1}),
        {
            "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        "<IMG_CONTEXT>\n",
    ),
    "mistral3": Family(
        lambda ids: Mistral3Config(
            text_config=TEXT | {"model_type": "mistral", "sliding_window": None},
            vision_config=EYE | {"model_type": "pixtral", "image_size": 32},
            image_token_index=ids["image_token"],
            spatial_merge_size=2,
        ),
        ("PixtralImageProcessor", {"size": {"longest_edge": 32}, "patch_size": {"height": 8, "width": 8}}),
        ("PixtralProcessor", {"patch_size": 8, "spatial_merge_size": 2}),
        {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"},
        "[IMG]",
    ),
}  # fmt: skip


def save(name: str, folder: Path) -> Path:
    """A folder with the model of a family, its tokenizer with a chat template, and its processor."""
    family = FAMILIES[name]
    # The shipped tokenizer reads tokens' names in a text as plain text.
    tokenizer = AutoTokenizer.from_pretrained(
        SHIPPED_MODEL, extra_special_tokens=family.tokens, split_special_tokens=False
    )
    tokenizer.add_tokens(list(family.others), special_tokens=True)
    tokenizer.chat_template = CHAT.replace("IMAGE", "{{ " + repr(family.mark) + " }}")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = family.config({name: tokenizer.convert_tokens_to_ids(token) for name, token in family.tokens.items()})
    model = prepared(AutoModelForImageTextToText.from_config(config, dtype=torch.float32))
    for weight in model.parameters():
        if weight.dim() > 1 and not weight.any():  # some make what brings images to the text of nothing
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    for file, key, (kind, settings) in (
        ("preprocessor_config.json", "image_processor_type", family.image_processor),
        ("processor_config.json", "processor_class", family.processor),
    ):
        (folder / file).write_text(json.dumps({key: kind} | settings))
    return folder


def picture(seed: int = 0, size: tuple[int, int] = (40, 28)) -> Image.Image:
    """A noisy image, another one for every seed."""
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.to(torch.uint8).numpy())
