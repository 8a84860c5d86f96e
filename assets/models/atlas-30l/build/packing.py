"""Packs documents into batches of equal length; a batch depends on the seed and the step alone."""

from dataclasses import dataclass

import torch
from corpus import documents
from torch import Tensor
from transformers import PreTrainedTokenizerFast

IGNORED = -100
"""The label that `transformers` leaves out of the loss."""


@dataclass(frozen=True)
class Packing:
    """`rows` x `length` tokens a step; every `long_every`-th step has a quarter of the rows, four times as long."""

    seed: int
    finish_from: int | None = None
    """The first step of the last part, with documents of its own."""
    rows: int = 8
    length: int = 128
    long_every: int = 8

    def shape(self, step: int) -> tuple[int, int]:
        """Rows and length of the batch of a step."""
        if step % self.long_every == self.long_every - 1:
            return max(1, self.rows // 4), self.length * 4
        return self.rows, self.length

    def batch(self, step: int, tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
        """Token ids and labels, both `[rows, length]`; each row starts with a document and its last document is cut.

        Labels are the ids, but `IGNORED` for what a user types, up to the line break: the atlas is to answer people,
        not to write as they do.
        """
        rows, length = self.shape(step)
        texts = documents(
            f"{self.seed} step {step}", finishing=self.finish_from is not None and step >= self.finish_from
        )
        (line_end,) = tokenizer.encode("\n", add_special_tokens=False)
        packed, labels = [], []
        for _ in range(rows):
            ids: list[int] = []
            learned: list[int] = []
            while len(ids) < length:
                document = [*tokenizer.encode(next(texts)), tokenizer.eos_token_id]
                typed = document.index(line_end) if line_end in document else 0
                ids += document
                learned += [*[IGNORED] * typed, *document[typed:]]
            packed.append(ids[:length])
            labels.append(learned[:length])
        return torch.tensor(packed), torch.tensor(labels)
