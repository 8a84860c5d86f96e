"""Text first: read the other layers of a step, for its record, when the text has gone on.

A lane needs one or a few layers to choose its token; the trace wants all of them, which is more work than the rest of
a step. So a step keeps the hidden states of its layers, which are small, and the logits that its lanes chose by. Later
the layers are read from the states, and what the lanes chose by stands beside them as it was, to the last bit.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dola_core.decoding.batch import Batch, EarlyReadout
from dola_core.decoding.step_chooser import StepChooser
from dola_core.models.reading.readout import Readout
from dola_core.models.reading.workspace import Workspace
from dola_core.trace.step import Step
from dola_core.trace.step_record import Allowance

MOST_BYTES = 48 << 20
"""What the kept steps of a comparison may take. Beyond, a step is recorded for every one that is decoded."""


READ_TOGETHER = 256
"""Rows of one product of the head. Fewer would read its weights more often, more write into memory that is fresh."""


@dataclass(frozen=True)
class KeptStep:
    """What is kept of a step that is not recorded yet."""

    index: int
    row_of: dict[int, int]
    tokens: dict[int, int]
    ids: Tensor
    """`[rows, T]`"""
    states: Tensor
    """Of the layers that the record reads, `[layers, sees · rows, d]`."""
    logits: Tensor
    """What the lanes chose by, `[K, V]`, in the head's dtype: early read-outs, then the last layer's, as in
    `Readouts.logits`."""
    places: Mapping[tuple[EarlyReadout, int], int]
    """Of the early read-outs in `logits`."""

    @property
    def n_bytes(self) -> int:
        """Memory that it takes, nearly."""
        return self.states.nbytes + self.logits.nbytes


class ReadLater:
    """A batch of one kept step, as `StepChooser` wants it: every layer is read on every row."""

    def __init__(self, readout: Readout, of_every_row: Sequence[EarlyReadout], sees: Sequence[bool] = (True,)) -> None:
        self.readout, self.of_every_row, self.workspace = readout, list(of_every_row), Workspace()
        self.sees = tuple(sees)
        self.layers = list(dict.fromkeys(early.layer for early in of_every_row))
        """Whose states a step keeps."""

    @torch.inference_mode()
    def read(self, steps: Sequence[KeptStep]) -> list[Tensor]:
        """Read the layers of some steps in one product of the head, `[of_every_row · rows, V]` of each."""
        readout = self.readout
        states = torch.cat([self._states(step, early) for step in steps for early in self.of_every_row])
        normed = [early.normed for step in steps for early in self.of_every_row for _ in step.ids]
        product = readout.parts.after_head(readout.phi(readout.ready(states, normed)))
        return list(product.split([len(self.of_every_row) * len(step.ids) for step in steps]))

    def _states(self, step: KeptStep, early: EarlyReadout) -> Tensor:
        """What a read-out reads of a step, `[rows, d]`."""
        rows = len(step.ids)
        first = self.sees.index(early.image) * rows
        return step.states[self.layers.index(early.layer), first : first + rows]

    @torch.inference_mode()
    def load(self, step: KeptStep, read: Tensor) -> None:
        """Show a step of which all layers are `read`, but as they were where lanes chose by them."""
        self.ids, rows = step.ids, len(step.ids) * len(self.sees)
        logits = self.workspace.shaped("logits", (len(read) + rows, read.shape[-1]), read.device)
        logits[: len(read)].copy_(read)
        logits[len(read) :].copy_(step.logits[-rows:])
        for (early, row), place in step.places.items():
            logits[self.logit_index(early, row)].copy_(step.logits[place])
        self.logits = logits

    def logit_index(self, early: EarlyReadout, row: int) -> int:
        """Index into `logits` of an early read-out for `row`."""
        return self.of_every_row.index(early) * len(self.ids) + row


class LateRecord:
    """The steps of a comparison that are decoded and not yet recorded, the oldest first."""

    def __init__(self, chooser: StepChooser, batch: ReadLater, allowance: Allowance, forced: Sequence[int]) -> None:
        """`chooser` records the steps of `batch`; the lanes `forced` are given their text."""
        self._chooser, self._batch, self._allowance, self._forced = chooser, batch, allowance, set(forced)
        self._kept: deque[KeptStep] = deque()
        self._read: deque[Tensor] = deque()
        """What the layers of the oldest steps say."""
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def is_full(self) -> bool:
        """Whether the oldest step has to be recorded before more are kept."""
        return self._bytes > MOST_BYTES

    @torch.inference_mode()
    def keep(self, index: int, row_of: Mapping[int, int], tokens: Mapping[int, int], batch: Batch) -> None:
        """Keep what `batch` has read at a step."""
        if batch.states is None:
            raise RuntimeError("The batch keeps no states.")
        logits = batch.logits.to(batch.logits_dtype, copy=True)
        step = KeptStep(index, dict(row_of), dict(tokens), batch.ids, batch.states, logits, batch.places)
        self._kept.append(step)
        self._bytes += step.n_bytes

    def next(self) -> tuple[int, tuple[Step, ...]]:
        """Record the oldest step: its index and its records.

        Raises `FloatingPointError` if a layer gives numbers that are not finite, which the check of the states rules
        out but for what the head does to them.
        """
        if not self._read:
            self._read.extend(self._batch.read(self._next_to_read()))
        step = self._kept.popleft()
        self._bytes -= step.n_bytes
        self._batch.load(step, self._read.popleft())
        choices = self._chooser.choose(step.row_of)
        if choices is None:
            raise FloatingPointError(f"A layer's numbers at step {step.index + 1} are not finite.")
        for lane, token in step.tokens.items():
            if lane not in self._forced:
                choices.chosen[lane][step.row_of[lane]] = token
        return step.index, self._chooser.records(step.index, step.row_of, step.tokens, self._allowance, choices)

    def _next_to_read(self) -> list[KeptStep]:
        """The oldest steps that are read together."""
        steps, rows = list[KeptStep](), 0
        for step in self._kept:
            rows += len(self._batch.of_every_row) * len(step.ids)
            if steps and rows > READ_TOGETHER:
                break
            steps.append(step)
        return steps
