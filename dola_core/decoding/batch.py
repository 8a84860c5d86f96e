"""The model's side of lock step: a batch whose rows are the distinct texts, with the KV cache that has read them.

There are two kinds of batch. `DynamicBatch` (here) copies a row of the cache when the lanes on it part, so lanes that
still agree cost one row. `StaticBatch` (in `compiled/`) has a row for every lane from the start, in a cache of fixed
size, which can be compiled.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dola_core.decoding.prefix_cache import PrefixCache
from dola_core.models.reading.cached_texts import CachedTexts, read_step
from dola_core.models.reading.image_inputs import ImageInputs
from dola_core.models.reading.proof import reading_rules
from dola_core.models.reading.readout import Readout
from dola_core.models.reading.workspace import Workspace


class EarlyReadout(NamedTuple):
    """A read-out of an early layer at the last position."""

    layer: int
    """1 to N−1, or 0 for the embeddings."""
    normed: bool
    """Whether it is read through the final norm."""
    image: bool = True
    """Whether the images of the prompt are seen, or grey ones of their sizes."""


class Plan(NamedTuple):
    """How a batch goes on after a step; see `Batch.advance`."""

    parents: list[int]
    tokens: list[int]
    row_of: Mapping[int, int]


class Readouts(Protocol):
    """What the lanes of a comparison choose their tokens by."""

    logits: Tensor
    """`[K, V]`, float32: read-outs of the last position, early layers first, then the last layer's: all rows as one of
    `sees` has them, then as the next."""
    ids: Tensor
    """`[rows, T]`: the distinct texts."""
    sees: tuple[bool, ...]
    """Each text is read once for each entry: with the images of the prompt, without them, or both ways."""

    def logit_index(self, early: EarlyReadout, row: int) -> int:
        """Index into `logits` of an early read-out for `row`.

        Where it is read on every row, the other rows come next to it: all rows of layer 1, then of layer 2, …
        """


class Batch(Readouts, Protocol):
    """What the lock-step loop asks of a batch. No hook outlives a call."""

    states: Tensor | None
    """Outputs of the layers that are kept for a later record, `[layers, sees · rows, d]`."""
    places: dict[tuple[EarlyReadout, int], int]
    """Indices into `logits` of the early read-outs."""
    logits_dtype: torch.dtype
    """One that holds all bits of the logits."""

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


def mature_rows(batch: Readouts, *, image: bool) -> slice:
    """Where the last layer's read-outs of all rows are in `batch.logits`, with the prompt's images or without."""
    rows = len(batch.ids)
    first = len(batch.logits) - rows * (len(batch.sees) - batch.sees.index(image))
    return slice(first, first + rows)


class ReadingBatch:
    """What both kinds of batch read of the layers at each step, and what they got of it."""

    sees: tuple[bool, ...] = (True,)

    def __init__(
        self,
        of_lanes: Sequence[Sequence[EarlyReadout]],
        of_every_row: Sequence[EarlyReadout] = (),
        keep: Sequence[int] = (),
    ) -> None:
        """Read as the arguments of `DynamicBatch` say."""
        self.of_lanes, self.of_every_row, self.keep = list(of_lanes), list(of_every_row), list(keep)
        self.places: dict[tuple[EarlyReadout, int], int] = {}
        """Indices into `logits` of the early read-outs."""

    def wanted(self, rows: int, row_of: Mapping[int, int]) -> list[tuple[EarlyReadout, int]]:
        """The early read-outs that a pass over so many rows has to give, each with its row."""
        if self.of_every_row:
            wanted = [(early, row) for early in self.of_every_row for row in range(rows)]
        else:
            wanted = [(early, row) for lane, row in row_of.items() for early in self.of_lanes[lane]]
        self.places = {pair: index for index, pair in enumerate(dict.fromkeys(wanted))}
        return list(self.places)

    def cache_row(self, early: EarlyReadout, row: int, rows: int) -> int:
        """The row in the cache, where all `rows` stand once for each of `sees`, on which a read-out of `row` is had."""
        return self.sees.index(early.image) * rows + row

    def cache_rows(self, some: Sequence[int], rows: int) -> list[int]:
        """The rows in the cache of `some` of the `rows`."""
        return [number * rows + row for number in range(len(self.sees)) for row in some]

    def take(self, ids: Tensor, logits: Tensor, states: Tensor | None) -> None:
        """Take over the texts `[rows, T]` and what a pass gave.

        That is what was `wanted`, then the last layer's rows in the cache, and the states of the layers to `keep`,
        `[keep, rows in the cache, d]`.
        """
        self.ids, self.logits, self.states = ids, logits, states

    def logit_index(self, early: EarlyReadout, row: int) -> int:
        """Index into `logits` of an early read-out for `row`."""
        return self.places[early, row]


class DynamicBatch(ReadingBatch):
    """A batch in a growing cache. A row is copied where lanes part and dropped when its last lane has ended."""

    def __init__(
        self,
        readout: Readout,
        of_lanes: Sequence[Sequence[EarlyReadout]],
        *,
        of_every_row: Sequence[EarlyReadout] = (),
        keep: Sequence[int] = (),
        images: Mapping[bool, ImageInputs] = MappingProxyType({}),
        prefix_cache: PrefixCache | None = None,
        reuse_prefix: bool = True,
    ) -> None:
        """Prepare an empty batch.

        Args:
            readout: the model.
            of_lanes: what each lane reads, on its own row.
            of_every_row: read these on every row, for the trace, and nothing else.
            keep: layers whose states are kept after each pass, for a trace that is recorded later.
            images: what is read with the prompt by lanes that see its images, and by those that do not; empty for a
                prompt without any. Every text has a row in the cache for each of the two.
            prefix_cache: leave the cache here when the batch is closed.
            reuse_prefix: take the beginning of the prompt from there, too. If not, what is there is forgotten.
        """
        super().__init__(of_lanes, of_every_row, keep)
        weight = getattr(readout.phi, "weight", None)
        self.logits_dtype = weight.dtype if weight is not None and weight.is_floating_point() else torch.float32
        self.readout, self.prefix_cache, self.reuse_prefix = readout, prefix_cache, reuse_prefix
        self.images, self.sees = images, tuple(images) or (True,)
        self.workspace = Workspace()
        self.texts: CachedTexts | None = None
        """The rows' texts; None before the start, and while a `SharedBatch` holds them."""

    def start(self, prompt_ids: list[int], chunk: int | None = None) -> Iterator[int]:
        """Read the prompt, except for what the prefix cache has read; in one piece if the model needs that."""
        ids, images = torch.tensor([prompt_ids] * len(self.sees), device=self.readout.device), [*self.images.values()]
        texts = self.prefix_cache.take(prompt_ids, images) if self.prefix_cache and self.reuse_prefix else None
        if self.prefix_cache:
            self.prefix_cache.forget()
        if texts is None:
            texts = CachedTexts(self.readout, ids, reading_rules(self.readout), images)
        else:
            texts.append(ids[:, texts.known :])
        self.texts = texts
        while chunk and texts.rules.in_chunks and texts.chunk_end(chunk) < len(prompt_ids):
            texts.read(texts.chunk_end(chunk))
            yield texts.known
        self.read(dict.fromkeys(range(len(self.of_lanes)), 0))

    def advance(self, parents: list[int], tokens: list[int], row_of: Mapping[int, int]) -> None:
        """Copy rows of the cache where `parents` says so, and read the new tokens."""
        if self.texts is None:
            raise RuntimeError("The batch has no prompt yet; call start.")
        self.texts.select(self.cache_rows(parents, len(self.ids)))
        self.texts.append(torch.tensor(tokens * len(self.sees))[:, None])
        self.read(row_of)

    def read(self, row_of: Mapping[int, int]) -> None:
        """Read what is left of the rows' texts."""
        texts = self.texts
        if texts is None:
            raise RuntimeError("The batch has no prompt yet; call start.")
        rows = len(texts.ids) // len(self.sees)
        wanted = self.wanted(rows, row_of)
        pairs = [(early.layer, self.cache_row(early, row, rows)) for early, row in wanted]
        normed = [early.normed for early, _ in wanted]
        read = read_step(texts, pairs, early_norm=normed, keep=self.keep, workspace=self.workspace)
        self.take(texts.ids[:rows], *read)

    def close(self) -> None:
        """Leave the cache for the next comparison, unless a failed forward pass has left it half done."""
        if self.prefix_cache and self.texts and self.texts.known == self.texts.ids.shape[1]:
            self.prefix_cache.keep(self.texts)
