"""Memory that one step of a comparison after the other works in."""

import torch
from torch import Tensor


class Workspace:
    """Float32 buffers by name, reused from step to step.

    Allocating them anew at every step would cost as much as the arithmetic, since the system maps the pages each time.
    """

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def like(self, name: str, tensor: Tensor) -> Tensor:
        """The buffer `name`, with the shape and device of `tensor`; its contents are undefined."""
        flat = self._flat.get(name)
        if flat is None or flat.numel() < tensor.numel() or flat.device != tensor.device:
            flat = self._flat[name] = torch.empty(tensor.numel(), device=tensor.device)
        return flat[: tensor.numel()].view(tensor.shape)
