"""Keep the weights of linear layers in eight or four bits, as bitsandbytes does it, for a GPU with little memory."""

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

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
    quieten()
    if bits == "8bit":
        # By default, the columns that are not rounded are chosen by all rows of a batch together. Then what one lane
        # reads would depend on the lanes beside it, and a prompt in two pieces would be another than in one.
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    else:
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    return {"device_map": device_map, "quantization_config": config}


def quieten() -> None:
    """Keep what bitsandbytes logs below an error off the terminal, unless a program has set its level.

    It logs a line for each product of a matrix, and one for a package of faster kernels that it does without.
    """
    logger = logging.getLogger("bitsandbytes")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)


def is_packed(model: PreTrainedModel) -> bool:
    """Whether linear layers of `model` are in few bits, by bitsandbytes."""
    return any(getattr(model, f"is_loaded_in_{bits}", False) for bits in QUANTISATIONS)


@contextmanager
def plain_products(model: PreTrainedModel) -> Iterator[None]:
    """While the body runs the model, let layers of eight bits multiply their inputs as they are by their weights.

    They round their inputs to eight bits, too, which makes a large difference of one in the last digit. Without that
    rounding, a fault in how texts are read cannot hide behind it. Other layers are left as they are.
    """
    handles = []
    if getattr(model, "is_loaded_in_8bit", False):
        from bitsandbytes.nn import Linear8bitLt

        layers = [module for module in model.modules() if isinstance(module, Linear8bitLt)]
        handles = [layer.register_forward_hook(_plain_product) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _plain_product(layer: nn.Module, args: tuple, output: Tensor) -> Tensor:
    """What a layer of eight bits gives without rounding its input, in the dtype of its own `output`."""
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    packed, bias = cast(nn.Parameter, layer.weight), cast(Tensor | None, layer.bias)
    weight = dequantize_bnb_weight(packed, layer.state).to(output)
    return nn.functional.linear(args[0].to(output), weight, None if bias is None else bias.to(output))
