"""Complete many prompts for a visitor, each as a run of its own in the queue, so that others come in between."""

import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial

from app.jobs.comparison import ComparisonUpdate, run
from app.jobs.host import Host
from app.jobs.model_pool import Asked, Loading
from app.jobs.queue.run_queue import Waiting
from app.jobs.queue.visitor import Visitor
from app.jobs.request import ComparisonRequest, Limits, RequestError
from app.language import Language
from dola_core.decoding.engine import Engine
from dola_core.many_prompts.rows import PromptRow, settings_digest
from dola_core.trace.schema import Trace

KEPT = 16 * 2**20
"""Bytes of packed traces that are kept of one visitor's prompts; the rows of further ones are without."""


@dataclass(frozen=True)
class PromptResult:
    """What came of one prompt."""

    row: PromptRow
    packed: bytes = b""
    """The trace as JSON, packed; empty if the prompt could not be run, or if there is no room for it."""

    @classmethod
    def of(cls, row: PromptRow, trace: Trace) -> "PromptResult":
        """The row with its trace."""
        return cls(row, zlib.compress(trace.to_json().encode(), 6))

    def trace(self) -> Trace | None:
        """Everything recorded, if it was kept."""
        return Trace.model_validate_json(zlib.decompress(self.packed)) if self.packed else None


@dataclass(frozen=True)
class PromptProgress:
    """A prompt is being completed."""

    number: int
    """Of the prompt, from 1."""


Update = Waiting | Loading | PromptProgress | PromptResult


def run_many(
    host: Host,
    visitor: Visitor,
    model: str,
    requests: Sequence[ComparisonRequest],
    cancelled: Callable[[], bool],
    words: Language,
) -> Generator[Update, None, None]:
    """Run each request in the visitor's turn, one after the other; yields each result, and how it goes meanwhile.

    A prompt that cannot be completed becomes a row with an error, in the visitor's language. A prompt at which the
    visitor has cancelled has no row. Raises what `Host.in_turn` does, and what a run does.
    """
    kept = 0
    for number, request in enumerate(requests, start=1):
        if cancelled():
            return
        job = partial(_run_one, number=number, request=request, limits=host.limits, words=words)
        with closing(host.in_turn(visitor, model, job, cancelled, rows=request.rows)) as updates:
            for update in updates:
                if isinstance(update, PromptResult):
                    kept += len(update.packed)
                    update = update if kept <= KEPT else replace(update, packed=b"")
                yield update


def _run_one(
    engine: Engine, *, number: int, request: ComparisonRequest, limits: Limits, words: Language, cancelled: Asked
) -> Generator[PromptProgress | PromptResult, None, None]:
    readout, lanes = engine.loaded.readout, request.lanes
    with suppress(ValueError):  # lanes that do not fit are refused by the run
        lanes = tuple(lane.fitted(readout.n_layers, tied=readout.is_tied) for lane in lanes)
    settings = settings_digest(engine.loaded.info, lanes, request.decoding, chat=request.chat)
    last: ComparisonUpdate | None = None
    yield PromptProgress(number)
    try:
        with closing(run(engine, request, limits, cancelled=cancelled)) as updates:
            for update in updates:
                last = update
                yield PromptProgress(number)
    except RequestError as error:
        sentence = error.message(words)
        yield PromptResult(PromptRow(number=number, settings=settings, prompt=request.prompt, error=sentence))
        return
    if last is None or last.halt == "stopped":
        return
    if not all(last.trace.lane_steps(lane) for lane in range(len(last.trace.lanes))):
        sentence = words("prompts.nothing_written")
        yield PromptResult(PromptRow(number=number, settings=settings, prompt=request.prompt, error=sentence))
        return
    row = PromptRow.of(number, settings, last.trace).model_copy(update={"prompt": request.prompt})
    yield PromptResult.of(row, last.trace)
