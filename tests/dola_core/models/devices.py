"""Two devices that are not there: tensors are marked as lying on one, and what mixes them fails, as it would on GPUs.

The numbers are computed on the CPU. A `TorchFunctionMode` sees every call of PyTorch: it answers `.device`, obeys
`.to(device)` and `device=`, marks results, and raises where a GPU would.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree  # private, but what PyTorch's own modes are written with
from torch.utils.weak import WeakTensorKeyDictionary

from dola_core.models.reading.readout import Readout

CPU, ONE, TWO = torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 1)
ACROSS = ("copy_", "__getitem__", "__setitem__", "index_put_")
"""What takes indices from the CPU, or copies between devices."""


class FakeDevices(TorchFunctionMode):
    """Within it, tensors lie where they were put."""

    def __init__(self) -> None:
        super().__init__()
        self.places = WeakTensorKeyDictionary()

    def place(self, tensor: Tensor) -> torch.device:
        """Where a tensor lies."""
        return self.places.get(tensor, CPU)

    def put(self, module: nn.Module, place: torch.device) -> None:
        """Lay a module's weights on a device."""
        for tensor in (*module.parameters(), *module.buffers()):
            self.places[tensor] = place

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Every call of PyTorch comes here."""
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if func == Tensor.device.__get__:
            return self.place(args[0])
        if name in ("to", "cpu"):
            return self._moved(func, args, kwargs)
        asked = kwargs.get("device")
        if asked is not None and torch.device(asked).type == "cuda":
            return self._marked(func(*args, **kwargs | {"device": CPU}), torch.device(asked))
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        places = {self.place(tensor) for tensor in tensors if tensor.dim() or self.place(tensor) != CPU}
        if name in ACROSS:
            strangers = {self.place(tensor) for tensor in tensors[1:]} - {CPU, self.place(tensors[0])}
            if strangers and name != "copy_":
                raise RuntimeError(f"{name}: indices lie on {strangers}")
            places = {self.place(tensors[0])}
        if len(places) > 1:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {places}")
        return self._marked(func(*args, **kwargs), next(iter(places), CPU))

    def _moved(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        asked = [arg for arg in (*args[1:], *kwargs.values()) if isinstance(arg, (torch.device, str, Tensor))]
        if func.__name__ == "cpu":
            asked = [CPU]
        if not asked:
            return self._marked(func(*args, **kwargs), self.place(args[0]))
        place = self.place(asked[0]) if isinstance(asked[0], Tensor) else torch.device(asked[0])
        rest = [arg for arg in (*args[1:], *kwargs.values()) if isinstance(arg, torch.dtype)]
        if place == self.place(args[0]):
            return self._marked(args[0].to(*rest), place) if rest else args[0]
        copied = args[0].clone()
        return self._marked(copied.to(*rest) if rest else copied, place)

    def _marked(self, result: Any, place: torch.device) -> Any:
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf not in self.places:
                self.places[leaf] = place
        return result


@contextmanager
def split(readout: Readout) -> Iterator[FakeDevices]:
    """A model in two halves: embeddings and the first blocks on one device, norm on the other, the head on the first.

    As with `device_map="auto"`, each part moves what comes to it.
    """
    devices, half = FakeDevices(), readout.n_layers // 2
    parts = [(readout.model.get_input_embeddings(), ONE), (readout.ln_out, TWO), (readout.phi, ONE)]
    parts += [(block, ONE if number < half else TWO) for number, block in enumerate(readout.blocks)]
    if (rotary := getattr(readout.decoder, "rotary_emb", None)) is not None:
        parts.append((rotary, ONE))

    def mover(place: torch.device) -> Any:
        def move(_module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            return pytree.tree_map_only(Tensor, lambda tensor: tensor.to(place), (args, kwargs))

        return move

    handles = []
    for part, place in parts:
        devices.put(part, place)
        handles.append(part.register_forward_pre_hook(mover(place), with_kwargs=True))
    try:
        with devices:
            yield devices
    finally:
        for handle in handles:
            handle.remove()
