"""Where a model computes and in which number format: devices, dtypes, and whether memory ran out."""

from collections.abc import Mapping
from typing import Any

import torch

from dola_core.errors import LoadError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SHORT_NAMES = {torch.float32: "float32", torch.bfloat16: "bf16", torch.float16: "fp16"}
BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
"""PyTorch's names of the instructions, of x86 and of ARM, that multiply matrices in bfloat16."""
SPLIT = "split"
"""The device name that stands for all GPUs together, with a part of the model on each."""


def find_device(name: str) -> torch.device:
    """The device called `name`; "auto" is CUDA, else Apple's MPS, else the CPU. Raises `LoadError` if there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise LoadError(f"There is no device {name!r} here; use auto, cpu, cuda, cuda:0 or split.") from error
    return device


def device_label(device: torch.device) -> str:
    """The name of a device for people."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor has instructions for it, else float32, or float16 on an older CUDA device.

    What the processor reports decides, not a measurement, so that a command takes the same dtype every time.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type != "cpu":
        return torch.float32
    # Releases of PyTorch before 2.12 do not report what the processor has.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if any(capabilities.get(name) for name in BF16_INSTRUCTIONS) else torch.float32


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out.

    CUDA and Python say so by the error's type. For CPU and MPS, PyTorch raises a plain `RuntimeError`, so this is the
    one place where an error is told by its text.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(s in str(error) for s in ("can't allocate memory", "out of memory"))
