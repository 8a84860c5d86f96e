"""The model's side of lock step: a batch whose rows are the distinct texts, with the KV cache that has read them.

There are two kinds of batch. `DynamicBatch` (here) copies a row of the cache when the lanes on it part, so lanes that
still agree cost one row. `StaticBatch` (`static_batch.py`) has a row for every lane from the start, in a cache of fixed
size, which can be compiled.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache

from dola_core.decoding.forward import forward, prefill
from dola_core.decoding.prefix_cache import PrefixCache
from dola_core.models.readout import Readout
from dola_core.models.workspace import Workspace


class Batch(Protocol):
    """What the lock-step loop asks of a batch. No hook outlives a call."""

    ids: Tensor
    """`[rows, T]`: the distinct texts."""
    logits: Tensor
    """`[K, V]`, float32: read-outs of the last position, early layers first, then the last layer's `rows`."""

    def logit_index(self, layer: int, row: int) -> int:
        """Index into `logits` of the read-out of early `layer` for `row`.

        With all layers recorded the order is layer-major: all rows of layer 1, then layer 2, …
        """

    def start(self, prompt_ids: list[int], chunk: int | None = None) -> Iterator[int]:
        """Read the prompt into one row.

        With `chunk`, read that many tokens at a time and yield how many are read after each chunk but the last.
        """

    def advance(self, parents: list[int], tokens: list[int], row_of: Mapping[int, int]) -> None:
        """Replace the rows: new row n is a copy of old row `parents[n]`, extended by `tokens[n]`.

        `row_of` is {lane: its new row} for the lanes that still run.
        """

    def close(self) -> None:
        """The comparison is over, or abandoned."""


class DynamicBatch:
    """A batch in a growing cache. A row is copied where lanes part and dropped when its last lane has ended."""

    def __init__(
        self,
        readout: Readout,
        layers: Sequence[int | None],
        *,
        all_layers: bool,
        early_norm: bool,
        prefix_cache: PrefixCache | None = None,
    ) -> None:
        """Prepare an empty batch.

        Args:
            readout: the model.
            layers: the contrast layer of each lane, None for a lane without one.
            all_layers: read every layer on every row, for the trace; else each lane's own layer on its own row.
            early_norm: read early layers through the final norm.
            prefix_cache: take the beginning of the prompt from here, and leave the cache here when the batch is closed.
        """
        self.readout, self.layers, self.all_layers = readout, list(layers), all_layers
        self.early_norm, self.prefix_cache = early_norm, prefix_cache
        self.cache, self.workspace = DynamicCache(config=readout.decoder.config), Workspace()
        self._indices: dict[tuple[int, int], int] = {}
        self._cache_is_whole = False
        """Whether the cache has read exactly `ids`; a forward pass that fails leaves it half done."""

    def start(self, prompt_ids: list[int], chunk: int | None = None) -> Iterator[int]:
        """Read the prompt, except for what the prefix cache has read already."""
        self.ids = torch.tensor([prompt_ids], device=self.readout.device)
        taken = self.prefix_cache.take(prompt_ids) if self.prefix_cache else None
        self.cache, known = taken or (self.cache, 0)
        while chunk and len(prompt_ids) - known > chunk:
            prefill(self.readout, self.ids[:, known : known + chunk], self.cache)
            known += chunk
            yield known
        self._read(self.ids[:, known:], dict.fromkeys(range(len(self.layers)), 0))

    def advance(self, parents: list[int], tokens: list[int], row_of: Mapping[int, int]) -> None:
        """Copy rows of the cache where `parents` says so, and read the new tokens."""
        self._cache_is_whole = False
        if parents != list(range(self.ids.shape[0])):
            index = torch.tensor(parents)  # on the CPU, from where it can select on every layer's device
            self.cache.reorder_cache(cast(torch.LongTensor, index))
            self.ids = self.ids[index]
        new = torch.tensor(tokens, device=self.ids.device)[:, None]
        self.ids = torch.cat([self.ids, new], dim=1)
        self._read(new, row_of)

    def logit_index(self, layer: int, row: int) -> int:
        """Index into `logits` of `layer`'s read-out for `row`."""
        return self._indices[layer, row]

    def close(self) -> None:
        """Leave the cache for the next comparison, unless a failed forward pass has left it half done."""
        if self.prefix_cache and self._cache_is_whole:
            self.prefix_cache.keep(self.ids, self.cache)

    def _read(self, ids: Tensor, row_of: Mapping[int, int]) -> None:
        if self.all_layers:
            wanted = [(layer, row) for layer in range(1, self.readout.n_layers) for row in range(len(ids))]
        else:
            wanted = [(layer, row_of[lane]) for lane, layer in enumerate(self.layers) if layer and lane in row_of]
        self._indices = {pair: index for index, pair in enumerate(dict.fromkeys(wanted))}
        self.logits = forward(
            self.readout, list(self._indices), ids, self.cache, early_norm=self.early_norm, workspace=self.workspace
        )
        self._cache_is_whole = True
