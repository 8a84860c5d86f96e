"""Models of text and images, or of text and sound, load from folders and complete text as by themselves."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForMultimodalLM,
    Gemma3Config,
    Idefics3Config,
    Llama4Config,
    LlavaConfig,
    Mistral3Config,
    MllamaConfig,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2AudioConfig,
    Qwen2VLConfig,
    Qwen3_5Config,
    SmolVLMConfig,
)

from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.checkpoint import load_whole
from dola_core.models.loading import load_model
from tests.dola_core.models.test_loading import folder, sentence
from tests.dola_core.tiny import compare, texts

WORDS = 6144
"""The vocabulary of the tokenizer that the folders get."""
TEXT: dict[str, Any] = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "initializer_range": 0.3,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip
MROPE = TEXT | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}}
EYE = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 16, "patch_size": 8, "projection_dim": 16,
}  # fmt: skip
QWEN_IDS = {"image_token_id": 5, "video_token_id": 6, "vision_start_token_id": 7, "vision_end_token_id": 8}
QWEN_EYE = {
    "depth": 1, "hidden_size": 16, "intermediate_size": 16, "out_hidden_size": 32, "num_heads": 2,
    "num_position_embeddings": 16,
}  # fmt: skip
LINEAR = {
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8
}  # fmt: skip
LLAMA4_EYE = EYE | {
    "intermediate_size": 64, "vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32
}  # fmt: skip
EAR = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "num_mel_bins": 8}

KINDS: dict[str, Callable[[], PreTrainedConfig]] = {
    "qwen2-vl": lambda: Qwen2VLConfig(
        text_config=MROPE, vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2}, **QWEN_IDS
    ),
    "qwen2.5-vl": lambda: Qwen2_5_VLConfig(
        text_config=MROPE, vision_config=QWEN_EYE | {"fullatt_block_indexes": [0]}, **QWEN_IDS
    ),
    "llava": lambda: LlavaConfig(
        text_config=TEXT | {"model_type": "llama"},
        vision_config=EYE | {"model_type": "clip_vision_model"},
        image_token_index=5,
    ),
    "mistral3": lambda: Mistral3Config(
        text_config=TEXT | {"model_type": "mistral"},
        vision_config=EYE | {"model_type": "pixtral"},
        image_token_index=5,
    ),
    "idefics3": lambda: Idefics3Config(
        text_config=TEXT | {"model_type": "llama"}, vision_config=EYE, image_token_id=5, scale_factor=2
    ),
    "smolvlm": lambda: SmolVLMConfig(
        text_config=TEXT | {"model_type": "llama"}, vision_config=EYE, image_token_id=5, scale_factor=2
    ),
    "gemma3": lambda: Gemma3Config(
        text_config=TEXT | {"query_pre_attn_scalar": 8}, vision_config=EYE, image_token_index=5, mm_tokens_per_image=4
    ),
    "qwen2-audio": lambda: Qwen2AudioConfig(
        text_config=TEXT | {"model_type": "qwen2"}, audio_config=EAR, audio_token_index=5
    ),
    # These two have a class for text alone. Qwen3.5's leaves out the eye on purpose; Llama 4's would leave it over.
    "qwen3.5": lambda: Qwen3_5Config(text_config=TEXT | LINEAR, vision_config=QWEN_EYE, **QWEN_IDS),
    "llama4": lambda: Llama4Config(
        text_config=TEXT | {"intermediate_size_mlp": 48, "num_local_experts": 2},
        vision_config=LLAMA4_EYE,
        image_token_index=5,
    ),
}


def made(config: PreTrainedConfig):
    torch.manual_seed(0)
    return AutoModelForMultimodalLM.from_config(config, dtype=torch.float32).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_from_a_folder_and_writes_what_it_writes_by_itself(kind, tmp_path):
    model = made(KINDS[kind]())
    loaded = load_model(folder(model, tmp_path), device="cpu", dtype="float32")
    assert loaded.readout.n_layers == 4
    assert kind == "qwen2-audio" or type(loaded.model) is type(model), "with its eyes"
    prompt = torch.tensor([loaded.encode("The capital of Japan is")])
    written = model.generate(prompt, max_new_tokens=8, do_sample=False)[0, prompt.shape[1] :].tolist()
    lanes = [Baseline(name="baseline"), DolaStatic(name="dola", layer=2)]
    steps = compare(loaded.readout, prompt[0].tolist(), lanes, DecodingConfig(max_new_tokens=8), eos_ids=loaded.eos_ids)
    assert texts(steps)[0] == written


def test_a_text_class_that_would_leave_weights_out_gives_way_to_the_whole_model(tmp_path):
    where = folder(made(KINDS["llama4"]()), tmp_path)
    model = load_whole(str(where), AutoConfig.from_pretrained(where), dtype=torch.float32)
    assert type(model).__name__ == "Llama4ForConditionalGeneration"


def test_a_model_whose_blocks_do_not_all_run_on_text_is_refused(tmp_path):
    eye = EYE | {"num_global_layers": 1, "attention_heads": 2, "vision_output_dim": 32}
    config = MllamaConfig(
        text_config=TEXT | {"cross_attention_layers": [1]},
        vision_config=eye | {"intermediate_layers_indices": [0]},
        image_token_index=5,
    )
    assert "blocks that do not run on text" in sentence(folder(made(config), tmp_path))
