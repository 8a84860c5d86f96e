"""A batch that decodes by a compiled step: one row for every lane, whether lanes have parted or not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import Cache

from dola_core.decoding.batch import EarlyReadout, ReadingBatch
from dola_core.decoding.compiled.static_step import StaticStep
from dola_core.models.reading.cached_texts import CachedTexts, read_step
from dola_core.models.reading.proof import reading_rules


class StaticBatch(ReadingBatch):
    """The rows of a `StaticStep` while one comparison has them.

    The prompt is read eagerly, once, and its cache is copied to every row. Lanes on one text read the same tokens.
    """

    def __init__(
        self,
        step: StaticStep,
        of_lanes: Sequence[Sequence[EarlyReadout]],
        *,
        of_every_row: Sequence[EarlyReadout] = (),
        keep: Sequence[int] = (),
    ) -> None:
        """Take the rows of `step`; the other arguments are those of `DynamicBatch`."""
        super().__init__(of_lanes, of_every_row, keep)
        self.step, self.readout = step, step.readout
        self.logits_dtype = torch.float32  # a compiled product may leave out that its sums are rounded
        one_each = not of_every_row and all(len(early) <= 1 for early in of_lanes)
        self._in_step = [early[0] if early else None for early in of_lanes] if one_each else None
        """What each lane reads, if the compiled step can read it."""

    @staticmethod
    def suits(step: StaticStep, early: Sequence[EarlyReadout], lanes: int, length: int) -> bool:
        """Whether a comparison with these read-outs, on so many lanes and tokens, can be decoded by a step."""
        return lanes <= step.rows and length <= step.length and all(one.layer for one in early)

    def start(self, prompt_ids: list[int], chunk: int | None = None) -> Iterator[int]:
        """Read the prompt eagerly into a cache of one row, and copy that to every row."""
        ids = torch.tensor([prompt_ids], device=self.readout.device)
        texts = CachedTexts(self.readout, ids, reading_rules(self.readout))
        while chunk and texts.rules.in_chunks and len(prompt_ids) - texts.known > chunk:
            texts.read(texts.known + chunk)
            yield texts.known
        wanted = self.wanted(1, dict.fromkeys(range(len(self.of_lanes)), 0))
        pairs, normed = [(early.layer, row) for early, row in wanted], [early.normed for early, _ in wanted]
        self.take(ids, *read_step(texts, pairs, early_norm=normed, keep=self.keep))
        self.step.take_over(cast(Cache, texts.caches[0]))

    @torch.no_grad()
    def advance(self, parents: list[int], tokens: list[int], row_of: Mapping[int, int]) -> None:
        """Read every lane's token. What an ended lane reads does not matter."""
        device = self.ids.device
        new = torch.tensor(tokens, device=device)[:, None]
        ids = torch.cat([self.ids[torch.tensor(parents, device=device)], new], dim=1)
        rows = self.step.rows
        of_lanes = new[torch.tensor([row_of.get(lane, 0) for lane in range(rows)], device=device)]
        early = [*(self._in_step or []), *[None] * rows][:rows]
        logits, states = self.step.read(of_lanes, early)
        lane_of = {row: lane for lane, row in reversed(list(row_of.items()))}
        lanes = [lane_of[row] for row in range(len(tokens))]
        # The indexing copies: the next step overwrites what this one returned.
        kept = states[[layer - 1 for layer in self.keep]][:, lanes] if self.keep else None
        self.take(ids, self._logits(logits, states, lanes, row_of), kept)

    def _logits(self, logits: Tensor, states: Tensor, lanes: Sequence[int], row_of: Mapping[int, int]) -> Tensor:
        """What is wanted of the rows, which are those of `lanes` in the step, then their last layer: `[K, V]`."""
        wanted, rows = self.wanted(len(lanes), row_of), self.step.rows
        last = [rows + lane for lane in lanes]
        if self._in_step is not None:
            own = {(self._in_step[lane], row): lane for lane, row in row_of.items()}
            return logits[[*(own[pair] for pair in wanted), *last]]
        h = states[[early.layer - 1 for early, _ in wanted], [lanes[row] for _, row in wanted]]
        ready = self.readout.ready(h, [early.normed for early, _ in wanted])
        return torch.cat([self.readout.lm_logits(ready), logits[last]])

    def close(self) -> None:
        """Nothing to do: the next comparison overwrites the cache."""
