"""Memory that the steps of a comparison work in, one after the other."""

import torch
from torch import Tensor


class Workspace:
    """Float32 tensors by name, each handed out again for the next step.

    Fresh memory for each step would cost as much as the arithmetic: the system hands out and takes back its pages anew.
    """

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def like(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of that name, shaped and placed like `tensor`, with whatever was left in it."""
        flat = self._flat.get(name)
        if flat is None or flat.numel() < tensor.numel() or flat.device != tensor.device:
            flat = self._flat[name] = torch.empty(tensor.numel(), device=tensor.device)
        return flat[: tensor.numel()].view(tensor.shape)
