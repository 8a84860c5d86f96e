"""Beam search for the lanes of a comparison: each lane's beams, shown when they are done.

Beams are not in lock step: stock `generate` (with the contrast, for DoLa lanes) searches each lane in turn on a worker
thread, so that progress can be shown and the search can be cancelled at any step.

Stock beam search applies the repetition penalty to log-probabilities, where greedy decoding applies it to logits. The
contrasted search does the same, so at a penalty other than 1 a single beam need not equal greedy decoding.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from dola_core.comparison import Comparison
from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Lane
from dola_core.models.readout import Readout
from dola_core.trace.schema import EndReason


@dataclass(frozen=True)
class Beam:
    """One finished beam."""

    ids: tuple[int, ...]
    score: float
    """Sum of the lane's log-probabilities divided by the length, as `generate` ranks beams."""
    end: EndReason


@dataclass(frozen=True)
class BeamProgress:
    """A search under way: `lane` has done `step` steps."""

    lane: int
    step: int


@dataclass(frozen=True)
class BeamResult:
    """All beams of one lane, the best first."""

    lane: int
    beams: tuple[Beam, ...]


def search_beams(
    readout: Readout,
    comparison: Comparison,
    limit: int,
    eos_ids: Sequence[int],
    text_of: Callable[[Sequence[int]], str],
) -> Generator[BeamProgress | BeamResult, None, None]:
    """Search every lane with `config.num_beams` beams of at most `limit` new tokens, one lane after the other.

    Yields the progress of each lane and then its result; may be abandoned at any point. `text_of` gives the text of new
    ids, in which stop strings are searched.
    """
    config = comparison.config

    def stopped(ids: list[int]) -> bool:
        text = text_of(ids) if config.stop else ""
        return any(s in text for s in config.stop)

    generation = GenerationConfig(
        max_new_tokens=limit,
        num_beams=config.num_beams,
        num_return_sequences=config.num_beams,
        do_sample=False,
        repetition_penalty=config.repetition_penalty,
        eos_token_id=list(eos_ids) or None,
        pad_token_id=eos_ids[0] if eos_ids else 0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    prompt = torch.tensor([comparison.prompt_ids], device=readout.device)
    for number, lane in enumerate(comparison.lanes):
        watch = _Watch(len(comparison.prompt_ids), stopped)

        def work(lane: Lane = lane, watch: _Watch = watch) -> Any:
            return generate_with_dola_static(
                readout.model,
                prompt,
                layer=lane.layer,
                alpha=lane.alpha,
                use_dola_lm_static=lane.layer is not None,
                early_norm=config.early_norm,
                penalty_position=config.penalty_position,
                attention_mask=torch.ones_like(prompt),
                generation_config=generation,
                stopping_criteria=StoppingCriteriaList([watch]),
            )

        worker = _Worker(work, watch)
        try:
            yield from (BeamProgress(number, step) for step in worker.steps())
        finally:
            # Not waited for: a generator may be closed on a server's event loop, and a step can take seconds.
            watch.abandoned.set()
        output = worker.result()
        beams = zip(
            output.sequences[:, len(comparison.prompt_ids) :].tolist(), output.sequences_scores.tolist(), strict=True
        )
        yield BeamResult(number, tuple(_beam(ids, score, eos_ids, stopped) for ids, score in beams))


def _beam(ids: list[int], score: float, eos_ids: Sequence[int], stopped: Callable[[list[int]], bool]) -> Beam:
    """A beam, cut at its end of text or stop string; `generate` pads it after that."""
    for length in range(1, len(ids) + 1):
        if ids[length - 1] in eos_ids:
            return Beam(tuple(ids[:length]), score, "eos")
        if stopped(ids[:length]):
            return Beam(tuple(ids[:length]), score, "stop")
    return Beam(tuple(ids), score, "length")


class _Watch(StoppingCriteria):
    """Counts the steps of a `generate` call, ends texts at stop strings, and ends the call when it is abandoned."""

    def __init__(self, prompt_length: int, stopped: Callable[[list[int]], bool]) -> None:
        self.prompt_length, self.stopped = prompt_length, stopped
        self.steps: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.abandoned = threading.Event()
        self.done = 0

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """`generate` calls this once a step with every candidate text."""
        self.done += 1
        self.steps.put(self.done)
        texts = input_ids[:, self.prompt_length :].tolist()
        ended = [self.abandoned.is_set() or self.stopped(ids) for ids in texts]
        return torch.tensor(ended, device=input_ids.device)


class _Worker:
    """Runs one search on a thread of its own; yields its steps, then returns its result or raises its error."""

    def __init__(self, work: Any, watch: _Watch) -> None:
        self.watch, self.value, self.error = watch, None, None

        def run() -> None:
            try:
                self.value = work()
            except BaseException as error:  # handed to the caller's thread by result()
                self.error = error
            finally:
                watch.steps.put(None)

        self.thread = threading.Thread(target=run, name="beam-search", daemon=True)
        self.thread.start()

    def steps(self) -> Iterator[int]:
        yield from iter(self.watch.steps.get, None)

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value
