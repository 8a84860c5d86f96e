"""Packs documents into batches of equal length; a batch depends on the seed and the step alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from corpus import documents
from torch import Tensor
from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Packing:
    """`rows` x `length` tokens a step; every `long_every`-th step has half the rows at twice the length."""

    seed: int
    rows: int = 8
    length: int = 256
    long_every: int = 8

    def shape(self, step: int) -> tuple[int, int]:
        """Rows and length of the batch of a step."""
        if step % self.long_every == self.long_every - 1:
            return max(1, self.rows // 2), self.length * 2
        return self.rows, self.length

    def batch(self, step: int, tokenizer: PreTrainedTokenizerFast) -> Tensor:
        """Token ids `[rows, length]`; each row starts with a document and its last document is cut."""
        rows, length = self.shape(step)
        texts = documents(f"{self.seed} step {step}")
        packed = []
        for _ in range(rows):
            ids: list[int] = []
            while len(ids) < length:
                ids += [*tokenizer.encode(next(texts)), tokenizer.eos_token_id]
            packed.append(ids[:length])
        return torch.tensor(packed)
