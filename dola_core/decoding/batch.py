"""The model's side of lock step: a batch whose rows are the distinct texts, with the KV cache that has read them.

There are two kinds of batch. `DynamicBatch` (here) copies a row of the cache when the lanes on it part, so lanes that
still agree cost one row. `StaticBatch` (`static_batch.py`) has a row for every lane from the start, in a cache of fixed
size, which can be compiled.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from dola_core.decoding.prefix_cache import PrefixCache
from dola_core.models.reading.cached_texts import CachedTexts, read_logits
from dola_core.models.reading.proof import reading_rules
from dola_core.models.reading.readout import Readout
from dola_core.models.reading.workspace import Workspace


class Batch(Protocol):
    """What the lock-step loop asks of a batch. No hook outlives a call."""

    logits: Tensor
    """`[K, V]`, float32: read-outs of the last position, early layers first, then the last layer's `rows`."""

    @property
    def ids(self) -> Tensor:
        """`[rows, T]`: the distinct texts."""

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
        self.workspace = Workspace()
        self._texts: CachedTexts | None = None
        self._indices: dict[tuple[int, int], int] = {}

    @property
    def ids(self) -> Tensor:
        """`[rows, T]`: the distinct texts."""
        return self._started.ids

    def start(self, prompt_ids: list[int], chunk: int | None = None) -> Iterator[int]:
        """Read the prompt, except for what the prefix cache has read already; in one piece if the model needs that."""
        ids = torch.tensor([prompt_ids], device=self.readout.device)
        texts = self.prefix_cache.take(prompt_ids) if self.prefix_cache else None
        if texts is None:
            texts = CachedTexts(self.readout, ids, reading_rules(self.readout))
        else:
            texts.append(ids[:, texts.known :])
        self._texts = texts
        while chunk and texts.rules.in_chunks and len(prompt_ids) - texts.known > chunk:
            texts.read(texts.known + chunk)
            yield texts.known
        self._read(dict.fromkeys(range(len(self.layers)), 0))

    def advance(self, parents: list[int], tokens: list[int], row_of: Mapping[int, int]) -> None:
        """Copy rows of the cache where `parents` says so, and read the new tokens."""
        self._started.select(parents)
        self._started.append(torch.tensor(tokens)[:, None])
        self._read(row_of)

    def logit_index(self, layer: int, row: int) -> int:
        """Index into `logits` of `layer`'s read-out for `row`."""
        return self._indices[layer, row]

    def close(self) -> None:
        """Leave the cache for the next comparison, unless a failed forward pass has left it half done."""
        if self.prefix_cache and self._texts and self._texts.known == self._texts.ids.shape[1]:
            self.prefix_cache.keep(self._texts)

    @property
    def _started(self) -> CachedTexts:
        if self._texts is None:
            raise RuntimeError("The batch has no prompt yet; call start.")
        return self._texts

    def _read(self, row_of: Mapping[int, int]) -> None:
        texts = self._started
        if self.all_layers:
            wanted = [(layer, row) for layer in range(1, self.readout.n_layers) for row in range(len(texts.ids))]
        else:
            wanted = [(layer, row_of[lane]) for lane, layer in enumerate(self.layers) if layer and lane in row_of]
        self._indices = {pair: index for index, pair in enumerate(dict.fromkeys(wanted))}
        self.logits = read_logits(texts, list(self._indices), early_norm=self.early_norm, workspace=self.workspace)
