"""Put texts that were read apart into one cache, so that one forward pass reads the next token of all of them."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from dola_core.models.reading.cached_texts import CachedTexts


@torch.inference_mode()
def joined(pieces: Sequence[tuple[CachedTexts, Sequence[int]]]) -> CachedTexts:
    """New texts: of each piece's texts the given rows, in this order. The pieces stay as they are.

    Rows that are shorter than the longest begin with padding. Ids that no cache holds yet are left out. The rules of
    the model must allow it: `padded` where lengths differ.
    """
    first = pieces[0][0]
    lengths = [texts.known - texts.padding[row] for texts, rows in pieces for row in rows]
    longest = max(lengths)
    ids = [_fitted(texts.ids[list(rows), : texts.known], longest, dim=-1) for texts, rows in pieces]
    together = CachedTexts(first.readout, torch.cat([part.to(first.ids.device) for part in ids]), first.rules)
    together.images = [texts.images[row] for texts, rows in pieces for row in rows]
    together.padding = [longest - length for length in lengths]
    cache = cast(Cache, together.caches[0])
    for number, layers in enumerate(_layers(pieces)):
        keys, values = zip(
            *(
                (_taken(layer.keys, rows, texts.known, longest), _taken(layer.values, rows, texts.known, longest))
                for layer, (texts, rows) in zip(layers, pieces, strict=True)
            ),
            strict=True,
        )
        cache.update(torch.cat(keys), torch.cat(values), number)
    together.all_read()
    return together


def _layers(pieces: Sequence[tuple[CachedTexts, Sequence[int]]]) -> Iterator[tuple[DynamicLayer, ...]]:
    """Of each layer of the caches, what every piece has."""
    caches = [cast(DynamicCache, texts.caches[0]) for texts, _ in pieces]
    return cast(Iterator[tuple[DynamicLayer, ...]], zip(*(cache.layers for cache in caches), strict=True))


def _taken(states: Tensor | None, rows: Sequence[int], known: int, length: int) -> Tensor:
    """Some rows of a layer's keys or values, of the last `length` positions before `known`: `[rows, heads, length, d]`.

    A pass that failed may have left more than `known` positions.
    """
    states = cast(Tensor, states)[..., :known, :]
    if list(rows) != list(range(len(states))):
        states = states[list(rows)]
    return _fitted(states, length, dim=-2)


def _fitted(tensor: Tensor, length: int, *, dim: int) -> Tensor:
    """`tensor` with `length` entries along `dim`: the last ones, or after zeros."""
    missing = length - tensor.shape[dim]
    if missing <= 0:
        return tensor.narrow(dim, -missing, length)
    return pad(tensor, (*[0, 0] * (-1 - dim), missing, 0))
