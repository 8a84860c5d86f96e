"""Memory that one step of a comparison after the other works in."""

import math
from collections.abc import Sequence

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
        return self.shaped(name, tensor.shape, tensor.device)

    def shaped(self, name: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """The buffer `name`, of this shape and on this device; its contents are undefined."""
        flat, count = self._flat.get(name), math.prod(shape)
        if flat is None or flat.numel() < count or flat.device != device:
            flat = self._flat[name] = torch.empty(count, device=device)
        return flat[:count].view(*shape)
