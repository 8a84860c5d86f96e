"""How a step is compiled: on a CPU with its weights reordered once, elsewhere as it is.

A product with few rows takes its time from reading the weights. PyTorch's own products on a CPU read them as they lie,
and in float32 copy them first. Reordered as the processor wants them they take much less time, and twice the memory.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch

REORDERED: dict[str, Any] = {
    "freezing": True,
    "max_autotune": True,
    "max_autotune_gemm_backends": "CPP,ATEN",
    "autotune_num_choices_displayed": 0,
}
"""Settings of PyTorch's compiler: weights are constants, which may be reordered, each product takes the faster of
PyTorch's own and a generated one. `torch.compile` takes them as options too, but then
reorders nothing, for it looks at `freezing` before it looks at the options."""


def compiled(step: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`step`, to be compiled when it is first called, for tensors of fixed shapes on a device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler warns of what it does itself
        run = torch.compile(step, dynamic=False)
    return _reordered(run) if device.type == "cpu" else run


def _reordered(run: Callable[..., Any]) -> Callable[..., Any]:
    is_compiled = False

    def reordered(*inputs: Any) -> Any:
        nonlocal is_compiled
        if is_compiled:
            return run(*inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Here, for they take a while to import.
            from torch._dynamo import config as tracing
            from torch._inductor import config

            # Beyond some steps of a process PyTorch would compile no further one, and say nothing.
            with config.patch(REORDERED), tracing.patch(fail_on_recompile_limit_hit=True):
                output = run(*inputs)
        is_compiled = True
        return output

    return reordered
