"""The rows of several comparisons in one KV cache, so that one forward pass reads the next tokens of all of them.

Decoding reads every weight once for each forward pass, whatever the number of rows, so that many comparisons together
take little longer than one.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dola_core.decoding.batch import DynamicBatch, EarlyReadout, Plan
from dola_core.models.reading.cached_texts import CachedTexts, read_step
from dola_core.models.reading.joined_texts import joined
from dola_core.models.reading.workspace import Workspace

Piece = tuple[CachedTexts, list[int]]
"""Texts, and which of their rows."""


class SharedBatch:
    """Holds the rows of comparisons that have read their prompts. They join with a first plan, and leave without one.

    What a comparison reads, and its logits, stay with its own `DynamicBatch`. Used by one thread.
    """

    def __init__(self) -> None:
        self.workspace = Workspace()
        self._texts: CachedTexts | None = None
        self._rows: dict[DynamicBatch, range] = {}

    def advance(self, plans: Mapping[DynamicBatch, Plan]) -> dict[DynamicBatch, Exception]:
        """Do what `DynamicBatch.advance` does, for all batches with a plan in one pass. Other batches have left.

        Returns the errors of those for which it failed. They are out; the others are as if these had never been in.
        """
        failed: dict[DynamicBatch, Exception] = {}
        plans = dict(sorted(plans.items(), key=lambda item: item[0].texts is not None))  # the rows that are in, first
        while plans:
            try:
                self._rearrange(plans)
                break
            except Exception as error:  # such as no memory for the rows of the one that joins last
                newest = list(plans)[-1]
                failed[newest] = error
                del plans[newest]
        if not plans:
            self.clear()
            return failed
        try:
            self._read(plans)
        except Exception as error:
            failed |= self._apart(plans, error)
        return failed

    def release(self, batch: DynamicBatch) -> None:
        """Let a batch leave, with its rows if it has a prefix cache to leave them in."""
        rows = self._rows.pop(batch, None)
        if rows is None or self._texts is None or batch.prefix_cache is None:
            return
        # Rows of others may still be there, who have left since the last pass.
        is_whole = len(rows) == len(self._texts.ids) and not any(self._texts.padding)
        batch.texts = self._texts if is_whole else joined([(self._texts, list(rows))])
        if not self._rows:
            self.clear()

    def _rearrange(self, plans: Mapping[DynamicBatch, Plan]) -> None:
        """Let batches join and leave, and copy rows where their plans say so."""
        pieces, rows, first = list[Piece](), dict[DynamicBatch, range](), 0
        for batch, plan in plans.items():
            if batch.texts is not None:
                pieces.append((batch.texts, batch.cache_rows(plan.parents, len(batch.ids))))
            else:
                own = [self._rows[batch][parent] for parent in batch.cache_rows(plan.parents, len(batch.ids))]
                if pieces and pieces[-1][0] is self._texts:
                    own = pieces.pop()[1] + own
                pieces.append((_held(self._texts), own))
            rows[batch] = range(first, first + len(plan.parents) * len(batch.sees))
            first += len(rows[batch])
        if len(plans) == 1:  # in place, as a comparison by itself
            texts, parents = pieces[0]
            if len(self._rows) > 1 or any(texts.padding):
                texts = joined(pieces)
            else:
                texts.select(parents)
        elif len(pieces) == 1 and pieces[0][1] == list(range(len(_held(self._texts).ids))):
            texts = _held(self._texts)
        else:
            texts = joined(pieces)
        self._texts, self._rows = texts, rows
        for batch in plans:
            batch.texts = None

    def _read(self, plans: Mapping[DynamicBatch, Plan]) -> None:
        """Read the new tokens, and give every batch its logits."""
        texts = _held(self._texts)
        tokens = [token for batch, plan in plans.items() for _ in batch.sees for token in plan.tokens]
        texts.append(torch.tensor(tokens)[:, None])
        wanted = list[tuple[EarlyReadout, int]]()
        of_batch = dict[DynamicBatch, range]()
        for batch, plan in plans.items():
            rows, count, first = self._rows[batch], len(plan.tokens), len(wanted)
            own = batch.wanted(count, plan.row_of)
            wanted += [(early, rows[batch.cache_row(early, row, count)]) for early, row in own]
            of_batch[batch] = range(first, len(wanted))
        pairs, normed = [(early.layer, row) for early, row in wanted], [early.normed for early, _ in wanted]
        keep = list(dict.fromkeys(layer for batch in plans for layer in batch.keep))
        logits, states = read_step(texts, pairs, early_norm=normed, keep=keep, workspace=self.workspace)
        for batch, of_logits in of_batch.items():
            rows, count = self._rows[batch], len(plans[batch].tokens)
            own_logits, own_states = logits, states
            if len(plans) > 1:
                own_logits = _copied(logits, [*of_logits, *(len(wanted) + row for row in rows)], batch.workspace)
                if states is not None:
                    own_states = states[[keep.index(layer) for layer in batch.keep], rows.start : rows.stop]
            batch.take(texts.ids[rows.start : rows.start + count, texts.padding[rows.start] :], own_logits, own_states)

    def _apart(self, plans: Mapping[DynamicBatch, Plan], error: Exception) -> dict[DynamicBatch, Exception]:
        """Read each batch by itself after a pass over all of them has failed: returns the errors of those that fail.

        If none does, the rows were too many for one pass: then it was the one too many that joined last.
        """
        texts, all_rows = _held(self._texts), self._rows
        self.clear()
        if len(plans) == 1:
            return dict.fromkeys(plans, error)
        failed: dict[DynamicBatch, Exception] = {}
        for batch, plan in plans.items():
            try:
                batch.texts = joined([(texts, list(all_rows[batch]))])
                batch.texts.append(torch.tensor(plan.tokens * len(batch.sees))[:, None])
                batch.read(plan.row_of)
            except Exception as own:
                failed[batch] = own
        return failed or {list(plans)[-1]: error}

    def clear(self) -> None:
        """Let all batches leave, without their rows."""
        self._texts, self._rows = None, {}


def _held(texts: CachedTexts | None) -> CachedTexts:
    if texts is None:
        raise RuntimeError("The shared batch holds no rows.")
    return texts


def _copied(logits: Tensor, index: Sequence[int], workspace: Workspace) -> Tensor:
    """The entries `index` of `logits` `[K, V]`, in memory that is used again."""
    out = workspace.like("own", logits[: len(index)])
    return torch.index_select(logits, 0, torch.tensor(index, device=logits.device), out=out)
