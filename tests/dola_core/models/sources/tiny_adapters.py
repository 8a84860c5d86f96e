"""Tiny adapters, made by PEFT."""

import copy
import warnings
from pathlib import Path

import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

LORA = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
IA3 = IA3Config(
    target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
)


def fresh(base: Path) -> AutoModelForCausalLM:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def adapted(base: Path, config=LORA, seed: int = 0) -> PeftModel:
    """An adapter on the model in `base` whose weights differ from those that change nothing."""
    with warnings.catch_warnings():  # PEFT asks transformers by an old name
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(fresh(base), copy.deepcopy(config))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name or "ia3_" in name:
                weight.copy_(("ia3_" in name) + torch.randn(weight.shape, generator=generator) * 0.3)
    return model.eval()


def saved(model: PeftModel, where: Path) -> Path:
    model.save_pretrained(where)
    return where
