"""The KV cache of the last comparison, kept so that going on from one of its steps does not read the prefix again."""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class PrefixCache:
    """Holds the KV cache of at most one comparison, with the texts that it has read.

    Several threads may use it: what one takes is gone for the others.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[Tensor, DynamicCache]] = deque(maxlen=1)

    def keep(self, ids: Tensor, cache: DynamicCache) -> None:
        """Keep `cache`, which has read `ids` `[rows, T]`, instead of what was kept before.

        A cache that cannot be shortened, such as one of sliding windows, is not kept.
        """
        # The exact type: a subclass may hold more than keys and values, and is shortened in another way.
        can_be_shortened = all(type(layer) is DynamicLayer for layer in cache.layers)
        self._kept.clear()
        if can_be_shortened:
            self._kept.append((ids, cache))

    def forget(self) -> None:
        """Drop what is kept."""
        self._kept.clear()

    @torch.no_grad()
    def take(self, prompt_ids: Sequence[int]) -> tuple[DynamicCache, int] | None:
        """A cache of one row that has read the first tokens of `prompt_ids`, and how many; nothing is kept any more.

        It never has read the last token of the prompt, whose logits are still to come. None if no kept text begins like
        the prompt.
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
            cache.crop(common - ids.shape[1])  # a negative number removes that many tokens
        return cache, common
