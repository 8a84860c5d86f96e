"""The lock-step loop: any number of lanes complete one prompt with one model, one forward pass a step.

Rows of the batch are the *distinct* texts. Lanes share a row until they choose different tokens; then the row of the
KV cache is copied. There is one prefill, one forward pass per step whatever the number of lanes, and one head product
for the last layer and the early read-outs of all rows.

All rows of a comparison have the same length. Nothing here knows about tokenizers: prompts are ids.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from dola_core.decoding.batch import Batch, Plan
from dola_core.decoding.late_record import LateRecord, ReadLater
from dola_core.decoding.model_settings import MatureProcessors
from dola_core.decoding.step_chooser import StepChooser
from dola_core.lanes import DecodingConfig, Lane
from dola_core.trace.schema import EndReason
from dola_core.trace.step import Step
from dola_core.trace.step_record import Allowance

ForcedContinuation = tuple[Sequence[int], EndReason]
"""The ids of a text that a lane is given instead of choosing, and why it ends after them."""


@dataclass(frozen=True)
class StepOutput:
    """One step of all running lanes."""

    index: int
    """Generated position, from 0."""
    tokens: dict[int, int]
    """{lane: the token it goes on with} for the lanes that were still running."""
    ends: dict[int, EndReason]
    """{lane: why} for the lanes that end with this token."""
    steps: tuple[Step, ...]
    """The records of this step's rows; empty if nothing is recorded."""
    read: int = 0
    """How many tokens of the prompt are read, in the outputs without `tokens` that come while a long one is."""
    pending: int = 0
    """How many steps, this one and earlier ones, are still to be recorded, if the text comes first."""


@dataclass(frozen=True)
class EndRules:
    """When a lane ends by itself."""

    limit: int
    """The most new tokens."""
    eos_ids: frozenset[int]
    stop: tuple[str, ...]
    text_of: Callable[[Sequence[int]], str]
    """Text of a lane's new ids, in which stop strings are searched."""

    def reason(self, ids: Sequence[int]) -> EndReason | None:
        """Why a lane ends after the new `ids`, or None if it goes on."""
        if ids[-1] in self.eos_ids:
            return "eos"
        if self.stop:
            text = self.text_of(ids)
            if any(s in text for s in self.stop):
                return "stop"
        return "length" if len(ids) >= self.limit else None


Pace = Generator[tuple[StepOutput, Plan | None], None, None]
"""The steps of a comparison, each with how its batch goes on; that has to be done before the next one is asked for.

Without a plan the batch stays as it is: while the prompt is read, and after the last step.
"""


def run_lockstep(pace: Pace, batch: Batch) -> Generator[StepOutput, None, None]:
    """The steps of a comparison that has its batch to itself."""
    with closing(pace):
        item = next(pace, None)
        while item:
            output, plan = item
            yield output
            try:
                if plan:
                    batch.advance(*plan)
            except Exception as error:
                item = pace.throw(error)
            else:
                item = next(pace, None)


def lockstep(
    batch: Batch,
    n_layers: int,
    prompt_ids: list[int],
    lanes: tuple[Lane, ...],
    config: DecodingConfig,
    rules: EndRules,
    processors: MatureProcessors,
    *,
    record: bool,
    forced: Mapping[int, ForcedContinuation],
    chunk: int | None = None,
    later: ReadLater | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Pace:
    """Complete the prompt in every lane, with a model of `n_layers`. The batch is closed when the generator ends or is
    abandoned.

    `processors` act on the mature logits before any lane sees them. If a read-out is no longer finite, all lanes end at
    that step as "broken", without a token. With `later` the text comes first: the steps of the trace follow it, also
    after an error, which is raised when they have come. Once `stopped` says so, no further step is decoded.
    """
    state = StepChooser(batch, n_layers, lanes, config, processors, record=record and later is None)
    allowance = Allowance(rules.limit * len(lanes) * len(state.recorded))
    late = None
    if later and record:
        chooser = StepChooser(later, n_layers, lanes, config, processors, record=True)
        late = LateRecord(chooser, later, allowance, list(forced))
    failure: Exception | None = None
    try:
        try:
            yield from _steps(state, batch, prompt_ids, rules, forced, chunk, allowance, late, stopped)
        except Exception as error:
            failure = error
        if late:
            yield from _rest(late, failure)
        if failure:
            raise failure
    finally:
        batch.close()


def _rest(late: LateRecord, failure: Exception | None) -> Pace:
    """Record what is left of a text that has ended; after a failure, what can be."""
    while late:
        try:
            index, steps = late.next()
        except Exception as error:
            raise failure or error from None
        yield StepOutput(index, {}, {}, steps, pending=len(late)), None


def _steps(
    state: StepChooser,
    batch: Batch,
    prompt_ids: list[int],
    rules: EndRules,
    forced: Mapping[int, ForcedContinuation],
    chunk: int | None,
    allowance: Allowance,
    late: LateRecord | None,
    stopped: Callable[[], bool],
) -> Pace:
    row_of = dict.fromkeys(range(len(state.lanes)), 0)
    written: list[list[int]] = [[] for _ in state.lanes]
    for read in batch.start(prompt_ids, chunk):
        yield StepOutput(0, {}, {}, (), read), None
        if stopped():
            return
    for index in range(rules.limit):
        if index and stopped():
            return
        choices = state.choose(row_of)
        if choices is None or (late is not None and not _is_finite(batch)):
            pending = len(late) if late else 0
            yield StepOutput(index, {}, dict.fromkeys(row_of, "broken"), (), pending=pending), None
            return
        tokens = {
            lane: forced[lane][0][index] if lane in forced else choices.chosen[lane][row]
            for lane, row in row_of.items()
        }
        ends: dict[int, EndReason] = {}
        for lane, token in tokens.items():
            written[lane].append(token)
            if lane in forced:
                ids, reason = forced[lane]
                end = reason if index + 1 == len(ids) else "length" if index + 1 == rules.limit else None
            else:
                end = rules.reason(written[lane])
            if end:
                ends[lane] = end
        steps = state.records(index, row_of, tokens, allowance, choices) if state.record else ()
        if late is not None:
            late.keep(index, row_of, tokens, batch)
            steps = late.next()[1] if late.is_full else ()
        output = StepOutput(index, tokens, ends, steps, pending=len(late) if late else 0)
        branches = {lane: (row, tokens[lane]) for lane, row in row_of.items() if lane not in ends}
        if not branches:
            yield output, None
            return
        # The new rows are the distinct (old row, token) pairs, in the order of the first lane on each.
        rows = list(dict.fromkeys(branches.values()))
        row_of = {lane: rows.index(branch) for lane, branch in branches.items()}
        yield output, Plan([row for row, _ in rows], [token for _, token in rows], row_of)


def _is_finite(batch: Batch) -> bool:
    """Whether the states are that will be read later. Other dtypes than float16 do not overflow in the head."""
    return batch.states is None or bool(batch.states.isfinite().all())
