"""Where a model computes and in which number format: devices, dtypes, and whether memory ran out."""

import time

import torch

from dola_core.errors import LoadError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SHORT_NAMES = {torch.float32: "float32", torch.bfloat16: "bf16", torch.float16: "fp16"}
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
    """bfloat16 where a small decoding product really runs faster in it than in float32, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type != "cpu":
        return torch.float32

    def seconds(dtype: torch.dtype) -> float:
        weight, rows = torch.ones(1024, 1024, dtype=dtype), torch.ones(2, 1024, dtype=dtype)
        best = float("inf")
        for _ in range(40):  # with few, other work on the machine decides, and a page starts in another dtype
            start = time.perf_counter()
            rows @ weight.T
            best = min(best, time.perf_counter() - start)
        return best

    return torch.bfloat16 if seconds(torch.bfloat16) < 0.7 * seconds(torch.float32) else torch.float32


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out.

    CUDA and Python say so by the error's type. For CPU and MPS, PyTorch raises a plain `RuntimeError`, so this is the
    one place where an error is told by its text.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(s in str(error) for s in ("can't allocate memory", "out of memory"))
