"""Beam search for the lanes of a comparison: each lane's beams, shown when they are done.

Beams are not in lock step: stock `generate` (with the contrast, for DoLa lanes) searches each lane in turn on a worker
thread, so that progress can be shown and the search can be cancelled at any step.

Where fewer texts are possible than there are beams, as on a small plausible head, `generate` fills up with texts that
it did not find. They are dropped and counted.

Stock beam search applies the repetition penalty to log-probabilities, where greedy decoding applies it to logits. The
contrasted search does the same, so at a penalty other than 1 a single beam need not equal greedy decoding.
"""

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from dola_core.comparison import Comparison
from dola_core.decoding.lockstep import EndRules
from dola_core.errors import UnsupportedModelError
from dola_core.generation import generate_with_dola
from dola_core.lanes import Lane
from dola_core.models.reading.image_inputs import joined_arguments
from dola_core.models.reading.readout import Readout
from dola_core.trace.schema import EndReason

FILLER = -1e9
"""The sum of log-probabilities with which `generate` begins every beam but the first."""


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
    dropped: int = 0
    """How many of the beams that were asked for found no text of their own."""


def search_beams(
    readout: Readout,
    comparison: Comparison,
    rules: EndRules,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Generator[BeamProgress | BeamResult, None, None]:
    """Search every lane with `config.num_beams` beams that end by `rules`, one lane after the other.

    Yields the progress of each lane and then its result; may be abandoned at any point. `generate` asks for a
    `tokenizer` if the model's own generation config has stop strings. Raises `UnsupportedModelError` if that config
    makes another search of it.
    """
    _check_search(readout.model)
    return _searches(readout, comparison, rules, tokenizer)


def _check_search(model: PreTrainedModel) -> None:
    own: Any = model.generation_config or GenerationConfig()
    others = {"constraints", "force_words_ids", "watermarking_config", "num_beam_groups", "prompt_lookup_num_tokens",
              "assistant_early_exit", "use_mtp", "dola_layers"}  # fmt: skip
    asked = sorted(name for name in others if getattr(own, name, None) not in (None, False, 0, 1))
    if asked:
        raise UnsupportedModelError(
            f"The model's generation_config asks for {', '.join(asked)}, with which beams are not searched; take one "
            "beam, or remove that entry of it."
        )


def _searches(
    readout: Readout, comparison: Comparison, rules: EndRules, tokenizer: PreTrainedTokenizerBase | None
) -> Generator[BeamProgress | BeamResult, None, None]:
    config, eos_ids = comparison.config, sorted(rules.eos_ids)
    own: Any = readout.model.generation_config or GenerationConfig()
    own_stops: dict[str, Any] = {"tokenizer": tokenizer} if own.stop_strings else {}

    generation = GenerationConfig(
        max_new_tokens=rules.limit,
        num_beams=config.num_beams,
        num_return_sequences=config.num_beams,
        do_sample=False,
        repetition_penalty=config.repetition_penalty,
        guidance_scale=1.0,
        token_healing=False,
        eos_token_id=eos_ids or None,
        pad_token_id=eos_ids[0] if eos_ids else 0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    prompt = torch.tensor([comparison.prompt_ids], device=readout.device)
    for number, lane in enumerate(comparison.lanes):
        watch = _Watch(len(comparison.prompt_ids), rules)

        def work(lane: Lane = lane, watch: _Watch = watch) -> Any:
            own, shown = lane.decoding(config), comparison.images
            inputs = (shown.inputs if lane.image else shown.blank) if shown else None
            beside = joined_arguments([inputs], prompt.shape[1], prompt.device) if inputs else {}
            names = ("repetition_penalty", "penalty_position", "early_norm")
            return generate_with_dola(
                readout.model,
                prompt,
                lane=lane.model_copy(update={name: getattr(own, name) for name in names}),
                attention_mask=torch.ones_like(prompt),
                generation_config=generation,
                stopping_criteria=StoppingCriteriaList([watch]),
                **own_stops,
                **beside,
            )

        worker = _Worker(work, watch)
        try:
            yield from (BeamProgress(number, step) for step in worker.steps())
        finally:
            # Not waited for: a generator may be closed on a server's event loop, and a step can take seconds.
            watch.abandoned.set()
        output = worker.result()
        texts = output.sequences[:, len(comparison.prompt_ids) :].tolist()
        beams = [_beam(ids, score, rules) for ids, score in zip(texts, output.sequences_scores.tolist(), strict=True)]
        power = 1.0 if own.length_penalty is None else own.length_penalty
        found = [beam for beam in beams if not beam.score * len(beam.ids) ** power < FILLER / 2] or beams[:1]
        yield BeamResult(number, tuple(found), len(beams) - len(found))


def _beam(ids: list[int], score: float, rules: EndRules) -> Beam:
    """A beam, cut at its end of text or stop string; `generate` pads it after that."""
    for length in range(1, len(ids) + 1):
        if end := rules.reason(ids[:length]):
            return Beam(tuple(ids[:length]), score, end)
    return Beam(tuple(ids), score, "length")


class _Watch(StoppingCriteria):
    """Counts the steps of a `generate` call, ends texts at stop strings, and ends the call when it is abandoned."""

    def __init__(self, prompt_length: int, rules: EndRules) -> None:
        self.prompt_length, self.rules = prompt_length, rules
        self.steps: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.abandoned = threading.Event()
        self.done = 0

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """`generate` calls this once a step with every candidate text."""
        self.done += 1
        self.steps.put(self.done)
        texts = input_ids[:, self.prompt_length :].tolist()
        ended = [self.abandoned.is_set() or self.rules.reason(ids) == "stop" for ids in texts]
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
