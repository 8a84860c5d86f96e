"""Packs documents into batches of equal length; a batch depends on the seed and the step alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from corpus import documents
from torch import Tensor
from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Packing:
    """`rows` x `length` tokens a step; every `long_every`-th step has a quarter of the rows, four times as long."""

    seed: int
    finish_from: int | None = None
    """The step from which on documents are those of the last part."""
    rows: int = 8
    length: int = 128
    long_every: int = 8

    def shape(self, step: int) -> tuple[int, int]:
        """Rows and length of the batch of a step."""
        if step % self.long_every == self.long_every - 1:
            return max(1, self.rows // 4), self.length * 4
        return self.rows, self.length

    def batch(self, step: int, tokenizer: PreTrainedTokenizerFast) -> Tensor:
        """Token ids `[rows, length]`; each row starts with a document and its last document is cut."""
        rows, length = self.shape(step)
        texts = documents(
            f"{self.seed} step {step}", finishing=self.finish_from is not None and step >= self.finish_from
        )
        packed = []
        for _ in range(rows):
            ids: list[int] = []
            while len(ids) < length:
                ids += [*tokenizer.encode(next(texts)), tokenizer.eos_token_id]
            packed.append(ids[:length])
        return torch.tensor(packed)
