"""What DoLa-static adds to a call of `generate`: logits processors that read, contrast and penalise."""

from typing import cast

import torch
from torch import Tensor
from transformers import LogitsProcessor, RepetitionPenaltyLogitsProcessor

from dola_core.contrast import closeness, log_softmax
from dola_core.lanes import Lane
from dola_core.models.reading.readout import HeadProduct, Readout


class ContrastProcessor(LogitsProcessor):
    """Scores of the final layer → a lane's log-probabilities, row by row; `[rows, V]` → `[rows, V]`, float32.

    Each beam and each batch row is contrasted with its own early distributions. `captured`, from
    `Readout.capture(lane.reads)`, holds the block outputs of the forward pass that gave these scores. `product`, from
    `Readout.beside_head`, holds what the head made of them, if it has read them beside the last layer.
    """

    def __init__(
        self,
        readout: Readout,
        lane: Lane,
        captured: dict[int, Tensor],
        product: HeadProduct | None = None,
        *,
        early_norm: bool = True,
        after: list[LogitsProcessor] | None = None,
    ) -> None:
        self.readout, self.lane, self.captured = readout, lane, captured
        self.product = product or HeadProduct()
        self.early_norm, self.after = early_norm, after or []
        self.calls = 0
        self._taken: tuple[list[Tensor | None], Tensor | None] | None = None

    def take(self) -> None:
        """Take what the pass of this step has left, before anything else uses the model."""
        states = [self.captured.pop(layer, None) for layer in self.lane.reads]
        self._taken = states, self.product.take_early(self.readout)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Contrast one step. Raises `RuntimeError` if the block outputs of its forward pass were not captured."""
        if self._taken is None:
            self.take()
        (states, logits), self._taken = cast("tuple[list[Tensor | None], Tensor | None]", self._taken), None
        known = [h for h in states if h is not None and len(h) == len(scores)]
        if len(known) < len(states):
            layers = ", ".join(map(str, self.lane.reads))
            raise RuntimeError(
                f"The output of layer {layers} was not captured for this step, so it cannot be contrasted."
            )
        self.calls += 1
        if logits is None:
            logits = self.readout.logits(torch.cat(known), early_norm=self.early_norm)
        # Log-softmax leaves log-probabilities (which beam search passes in) as they are.
        log_q_N = log_softmax(scores)
        log_q = log_softmax(logits).to(scores.device).view(len(states), *scores.shape)
        F = self.lane.scores(log_q_N, log_q, closeness(log_q_N, log_q) if self.lane.chooses_layer else None)
        for processor in self.after:
            F = processor(input_ids, F)
        return F.log_softmax(-1)


class TakeStates(LogitsProcessor):
    """Runs before the caller's processors, since one of them may run the model itself; it changes no score."""

    def __init__(self, contrast: ContrastProcessor) -> None:
        self.contrast = contrast

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Let the contrast take its states."""
        self.contrast.take()
        return scores


class ReadLastLayer(LogitsProcessor):
    """Keeps what `Readout` reads of the last block at each step of a `generate`, and changes no score."""

    def __init__(self, readout: Readout, captured: dict[int, Tensor], product: HeadProduct) -> None:
        self.readout, self.captured, self.product = readout, captured, product
        self.read: list[tuple[Tensor | None, Tensor]] = []
        """At each step, the logits from the head's own product, and the last block's output."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Keep what one step has left."""
        self.read.append((self.product.take_early(self.readout), self.captured.pop(self.readout.n_layers)))
        return scores


class RowwisePenalty(LogitsProcessor):
    """`transformers`' repetition penalty, skipping each row's left padding as `generate` does."""

    def __init__(self, penalty: float, padding: Tensor | None) -> None:
        self.penalty, self.padding = penalty, padding

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Apply the penalty. The rows of several beams or returned sequences have the padding of their prompt."""
        skip = None if self.padding is None else self.padding.repeat_interleave(len(scores) // len(self.padding))
        return RepetitionPenaltyLogitsProcessor(self.penalty, prompt_ignore_length=skip)(input_ids, scores)
