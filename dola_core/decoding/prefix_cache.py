"""The KV cache of the last comparison, kept so that going on from one of its steps does not read the prefix again."""

from collections import deque
from collections.abc import Sequence

import torch

from dola_core.models.reading.cached_texts import CachedTexts
from dola_core.models.reading.image_inputs import ImageInputs


class PrefixCache:
    """Holds what the model has cached of at most one comparison.

    Several threads may use it: what one takes is gone for the others.
    """

    def __init__(self) -> None:
        self._kept: deque[CachedTexts] = deque(maxlen=1)

    def keep(self, texts: CachedTexts) -> None:
        """Keep `texts`, all of which are read, instead of what was kept before.

        A cache that cannot be shortened, such as one of sliding windows, is not kept.
        """
        self._kept.clear()
        if texts.can_be_shortened:
            self._kept.append(texts)

    def forget(self) -> None:
        """Drop what is kept."""
        self._kept.clear()

    @torch.no_grad()
    def take(self, prompt_ids: Sequence[int], images: Sequence[ImageInputs] = ()) -> CachedTexts | None:
        """The first tokens of `prompt_ids` as a text that is read; nothing is kept any more.

        It never holds the last token of the prompt, whose logits are still to come. None if no kept text begins like
        the prompt, with all of its `images`, or if several rows of images are asked for.
        """
        try:
            texts = self._kept.pop()
        except IndexError:
            return None
        if len(images) > 1:
            return None
        length = min(texts.ids.shape[1], len(prompt_ids) - 1)
        same = texts.ids[:, :length] == torch.tensor(prompt_ids[:length], device=texts.ids.device)
        lengths = same.int().cumprod(1).sum(1)
        key, end = (images[0].key, images[0].end) if images else (None, 1)
        lengths = lengths * torch.tensor([(kept and kept.key) == key for kept in texts.images], device=lengths.device)
        row = int(lengths.argmax())
        common = int(lengths[row])
        if common < end:
            return None
        texts.select([row])
        texts.shorten(common)
        return texts
