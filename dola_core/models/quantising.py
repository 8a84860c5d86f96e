"""Keep the weights of linear layers in eight or four bits, as bitsandbytes does it, for a GPU with little memory."""

import importlib.util
from typing import Any, Literal

import torch
from transformers import BitsAndBytesConfig

from dola_core.errors import LoadError

Quantisation = Literal["8bit", "4bit"]
QUANTISATIONS: tuple[Quantisation, ...] = ("8bit", "4bit")
PACKAGES = ("bitsandbytes", "accelerate")


def quantised(bits: Quantisation, dtype: torch.dtype, device_map: Any) -> dict[str, Any]:
    """What `from_pretrained` takes so that linear layers are loaded in `bits`; they compute in `dtype`.

    Raises `LoadError` for other bits, or if a package is missing.
    """
    if bits not in QUANTISATIONS:
        raise LoadError(f"Unknown quantisation {bits!r}; use {' or '.join(QUANTISATIONS)}.")
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise LoadError(f"Quantising needs packages that are not installed: pip install {' '.join(missing)}.")
    if bits == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=dtype)
    return {"device_map": device_map, "quantization_config": config}
