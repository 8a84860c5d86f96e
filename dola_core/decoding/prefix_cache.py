"""What the last comparison has read, kept so that going on from one of its steps need not read it again."""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class PrefixMemory:
    """The KV cache of one comparison: the texts of its rows, and the cache that has read them.

    Several threads may use it: what one takes is no longer there for another.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[Tensor, DynamicCache]] = deque(maxlen=1)

    def keep(self, ids: Tensor, cache: DynamicCache) -> None:
        """Keep `cache`, which has read `ids` `[rows, T]`, instead of what was kept before.

        A cache that cannot be shortened, as one of sliding windows, is let go.
        """
        # A subclass may hold more than keys and values, and shortens differently.
        whole = all(type(layer) is DynamicLayer for layer in cache.layers)
        self._kept.clear()
        if whole:
            self._kept.append((ids, cache))

    def forget(self) -> None:
        """Let go of what was kept."""
        self._kept.clear()

    @torch.no_grad()
    def take(self, prompt_ids: Sequence[int]) -> tuple[DynamicCache, int] | None:
        """A cache of one row that has read the first tokens of `prompt_ids`, and how many; the memory is empty then.

        It never has read the last of them, whose logits are still to come. None if nothing that is kept begins so.
        """
        try:
            ids, cache = self._kept.pop()
        except IndexError:
            return None
        length = min(ids.shape[1], len(prompt_ids) - 1)
        same = ids[:, :length] == torch.tensor(prompt_ids[:length], device=ids.device)
        lengths = same.int().cumprod(1).sum(1)
        row = int(lengths.argmax())
        common = int(lengths[row])
        if common == 0:
            return None
        cache.batch_select_indices(torch.tensor([row]))
        if common < ids.shape[1]:
            cache.crop(common - ids.shape[1])  # a negative number: so many tokens less
        return cache, common
