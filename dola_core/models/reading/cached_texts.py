"""Texts that a model is reading: their ids, and the cache of what it has read so far.

Every pass gets its inputs from the model's own `prepare_inputs_for_generation`, with the arguments that `generate`
hands to it, so that positions, masks and resets of the cache are the model's own.
"""

import inspect
from collections.abc import Callable, Hashable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from dola_core.errors import UnsupportedModelError
from dola_core.models.reading.image_inputs import ImageInputs, joined_arguments, placed
from dola_core.models.reading.parts import model_name
from dola_core.models.reading.readout import Readout
from dola_core.models.reading.workspace import Workspace


@dataclass(frozen=True)
class ReadingRules:
    """How a model may read texts so that its logits are those of uncached passes; `proof.reading_rules` finds out."""

    own_cache: bool = False
    """Let the model make its cache in the first pass, instead of a `DynamicCache`."""
    in_chunks: bool = True
    """A prompt may be read in several passes."""
    rows_together: bool = True
    """One cache may hold several texts, to be copied and reordered. If not, every text has a cache of its own."""
    shortened: bool = True
    """What a cache has read last may be taken off again."""
    longest: int | None = None
    """The most tokens of a text; beyond, the model would read what is cached by another rule. None for no limit."""
    padded: bool = False
    """One cache may hold texts of different lengths, the shorter ones padded on the left."""


class CachedTexts:
    """Texts `ids` `[rows, T]`, with what the model has cached of their beginnings.

    They have one length, unless `joined` has put texts of several together: then the shorter ones begin with padding.
    """

    def __init__(
        self, readout: Readout, ids: Tensor, rules: ReadingRules, images: Sequence[ImageInputs | None] = ()
    ) -> None:
        """Take over `ids`, of which nothing is read yet, and the `images` of each row, all of which or none have any.

        Images of several rows are of equal sizes.
        """
        self.readout, self.ids, self.rules = readout, ids, rules
        self.images: list[ImageInputs | None] = list(images) or [None] * len(ids)
        self.padding: list[int] = [0] * len(ids)
        """How many ids at the beginning of each row are no part of its text; attention does not see them."""
        self.caches: list[Cache | None] = []
        """One for each of the `groups`; None where the model makes its own in the first pass."""
        self._known: list[int] = []
        """How many tokens each cache holds."""
        self._forget(len(ids))

    @property
    def known(self) -> int:
        """How many tokens of the texts are read."""
        return min(self._known)

    @property
    def groups(self) -> list[range]:
        """The rows that are read in one pass: all of them, or each by itself."""
        rows = range(len(self.ids))
        return [rows] if self.rules.rows_together else [rows[row : row + 1] for row in rows]

    def chunk_end(self, chunk: int) -> int:
        """Up to where a pass reads that takes `chunk` tokens; the first takes all images, whatever they have."""
        return max([self.known + chunk, *(inputs.end for inputs in self.images if inputs)])

    def read(self, until: int | None = None) -> None:
        """Read the tokens before position `until` (None: all), in one pass for each of the `groups`."""
        for rows in self.groups:
            self.read_group(rows, until)

    def append(self, tokens: Tensor) -> None:
        """Extend every text by tokens `[rows, n]`, to be read later."""
        self.ids = torch.cat([self.ids, tokens.to(self.ids.device)], dim=1)

    def select(self, rows: Sequence[int]) -> None:
        """Replace the texts: new row n is a copy of old row `rows[n]`."""
        if list(rows) == list(range(len(self.ids))):
            return
        index = torch.tensor(rows)  # on the CPU, from where it can select on every layer's device
        self.ids = self.ids[index.to(self.ids.device)]
        self.padding, self.images = [self.padding[row] for row in rows], [self.images[row] for row in rows]
        if not self.known:
            self._forget(len(rows))
        elif self.rules.rows_together:
            cast(Cache, self.caches[0]).reorder_cache(cast(torch.LongTensor, index))
        else:
            first = [row not in rows[:place] for place, row in enumerate(rows)]
            caches = [self.caches[row] for row in rows]
            self.caches = [c if is_first else deepcopy(c) for c, is_first in zip(caches, first, strict=True)]
            self._known = [self._known[row] for row in rows]

    def copy(self) -> "CachedTexts":
        """The same texts with caches of their own."""
        copied = CachedTexts(self.readout, self.ids, self.rules, self.images)
        copied.caches, copied._known = deepcopy(self.caches), list(self._known)
        copied.padding = list(self.padding)
        return copied

    @property
    def can_be_shortened(self) -> bool:
        """Whether `shorten` works."""
        # The exact type: subclasses keep a window only, or more than keys and values, and are shortened in another way.
        plain = all(type(layer) is DynamicLayer for cache in self.caches if cache for layer in cache.layers)
        return plain and self.rules.shortened and self.rules.in_chunks and None not in self.caches

    def shorten(self, known: int) -> None:
        """Take off the ids from position `known` on, and what was read of them."""
        for number, cache in enumerate(self.caches):
            if cache is not None and known < self._known[number]:
                cache.crop(known - self._known[number])  # a negative number removes that many tokens
                self._known[number] = known
        self.ids = self.ids[:, :known]

    def all_read(self) -> None:
        """Say that the caches, which were filled from elsewhere, hold all of the ids."""
        self._known = [self.ids.shape[1]] * len(self._known)

    def _forget(self, rows: int) -> None:
        """Begin with empty caches for so many rows."""
        count = 1 if self.rules.rows_together else rows
        config = self.readout.model.config.get_text_config(decoder=True)
        self.caches = [None if self.rules.own_cache else DynamicCache(config=config) for _ in range(count)]
        self._known = [0] * count

    def read_group(self, rows: range, until: int | None = None, *, every_position: bool = False) -> None:
        """Read the tokens of one of the `groups` before position `until` (None: all) in one pass.

        Some models compute their last blocks for the last position only, unless asked for `every_position`.
        """
        number = 0 if self.rules.rows_together else rows.start
        ids = self.ids[rows.start : rows.stop, :until]
        known = self._known[number]
        model = cast(Any, self.readout.model)
        accepted = _arguments(cast(Hashable, type(self.readout.model)))
        own = self.images[rows.start : rows.stop]
        images = [inputs for inputs in own if inputs]
        settings = dict[str, Any]()
        if images and not known:
            settings.update(joined_arguments(images, ids.shape[1], ids.device))
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        mask = torch.ones_like(ids)
        if any(self.padding):
            positions = positions - torch.tensor(self.padding[rows.start : rows.stop], device=ids.device)[:, None]
            mask = (positions >= 0).to(ids.dtype)
            positions = positions.clamp_min(0)
        if images:
            positions = placed(positions, own, known)
        if "attention_mask" in accepted:
            settings["attention_mask"] = mask
        if "position_ids" in accepted:
            settings["position_ids"] = positions
        if "logits_to_keep" in accepted and not every_position:
            settings["logits_to_keep"] = 1
        inputs = model.prepare_inputs_for_generation(
            ids,
            past_key_values=self.caches[number],
            use_cache=True,
            next_sequence_length=ids.shape[1] - known,
            is_first_iteration=known == 0,
            **settings,
        )
        cache = model(**inputs, return_dict=True).get("past_key_values")
        if not isinstance(cache, Cache):
            raise UnsupportedModelError(
                f"{model_name(model)} cannot decode in lock step: it hands on no cache of what it has read."
            )
        self.caches[number], self._known[number] = cache, ids.shape[1]
        self.images[rows.start : rows.stop] = [inputs and inputs.once_read() for inputs in own]


@lru_cache(maxsize=64)
def _arguments(kind: type[Any]) -> frozenset[str]:
    """The arguments that the `forward` of a class of models names."""
    return frozenset(inspect.signature(kind.forward).parameters)


def read_logits(
    texts: CachedTexts,
    pairs: Sequence[tuple[int, int]],
    *,
    early_norm: bool | Sequence[bool],
    workspace: Workspace | None = None,
) -> Tensor:
    """Read what is left of `texts` and return logits of the last position: `[pairs + rows, V]`, float32.

    First come the (layer, row) `pairs`, in their order, then the last layer's read-out of every row. Each pass of the
    model has one product of its head. `early_norm` says of each pair whether it is read through the final norm, or of
    all of them.
    """
    return read_step(texts, pairs, early_norm=early_norm, workspace=workspace)[0]


@torch.inference_mode()
def read_step(
    texts: CachedTexts,
    pairs: Sequence[tuple[int, int]],
    *,
    early_norm: bool | Sequence[bool],
    keep: Sequence[int] = (),
    workspace: Workspace | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The same, and the outputs of the layers `keep` at the last position, `[keep, rows, d]`; None if none are kept."""
    readout, output = texts.readout, None
    kept = list[Tensor]()
    normed = [early_norm] * len(pairs) if isinstance(early_norm, bool) else early_norm
    for rows in texts.groups:
        places = [place for place, (_, row) in enumerate(pairs) if row in rows]
        own = [pairs[place] for place in places]
        product, states = _read_group(texts, rows, own, [normed[place] for place in places], keep)
        if states is not None:
            kept.append(states)
        if len(rows) == len(texts.ids):
            output = product
        else:
            output = product.new_empty(len(pairs) + len(texts.ids), product.shape[-1]) if output is None else output
            output[[*places, *(len(pairs) + row for row in rows)]] = product
    if output is None:
        raise ValueError("There is no text to read.")
    logits, states = readout.parts.after_head(output), torch.cat(kept, dim=1) if kept else None
    if workspace is None or logits.dtype is torch.float32:
        return logits.float(), states
    return workspace.like("logits", logits).copy_(logits), states


@torch.inference_mode()
def read_states(texts: CachedTexts, layers: Sequence[int], pick: Callable[[Tensor], Tensor]) -> dict[int, Tensor]:
    """Read what is left of `texts` and return what `pick` takes of the blocks' outputs `[rows, n, d]`, by layer.

    Nothing but the last position goes through the head.
    """
    groups = []
    for rows in texts.groups:
        with texts.readout.capture(layers, pick=pick) as captured, texts.readout.beside_head(lambda x: x[:0]):
            texts.read_group(rows, every_position=True)
        groups.append(captured)
    return {layer: torch.cat([captured.pop(layer) for captured in groups]) for layer in layers}


def _read_group(
    texts: CachedTexts,
    rows: range,
    pairs: Sequence[tuple[int, int]],
    normed: Sequence[bool],
    keep: Sequence[int],
) -> tuple[Tensor, Tensor | None]:
    """The head's output `[pairs + rows, V]` of one pass, for (layer, row) `pairs` of its rows, and the states to keep.

    `normed` says which of the pairs are read through the final norm.
    """
    readout, layers = texts.readout, list(dict.fromkeys(layer for layer, _ in pairs))

    def early(x: Tensor) -> Tensor:
        if not pairs:
            return x[:0]
        h = torch.cat([captured[layer].to(x.device) for layer in layers])  # [layers · rows, d]
        places = [layers.index(layer) * len(rows) + row - rows.start for layer, row in pairs]
        if places != list(range(len(h))):
            h = h[places]
        return readout.ready(h, normed)

    with readout.capture({*layers, *keep}) as captured, readout.beside_head(early) as product:
        texts.read_group(rows)
    output = cast(Tensor, product.output)
    return output, torch.stack([captured[layer].to(output.device) for layer in keep]) if keep else None
