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
        for output, plan in pace:
            yield output
            if plan:
                batch.advance(*plan)


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
) -> Pace:
    """Complete the prompt in every lane, with a model of `n_layers`. The batch is closed when the generator ends or is
    abandoned.

    `processors` act on the mature logits before any lane sees them. If a read-out is no longer finite, all lanes end at
    that step as "broken", without a token.
    """
    state = StepChooser(batch, n_layers, lanes, config, processors, record=record)
    try:
        yield from _steps(state, prompt_ids, rules, forced, chunk)
    finally:
        batch.close()


def _steps(
    state: "StepChooser",
    prompt_ids: list[int],
    rules: EndRules,
    forced: Mapping[int, ForcedContinuation],
    chunk: int | None,
) -> Pace:
    row_of = dict.fromkeys(range(len(state.lanes)), 0)
    written: list[list[int]] = [[] for _ in state.lanes]
    most = rules.limit * len(state.lanes) * len(state.recorded)
    allowance = Allowance(most)
    for read in state.batch.start(prompt_ids, chunk):
        yield StepOutput(0, {}, {}, (), read), None
    for index in range(rules.limit):
        choices = state.choose(row_of)
        if choices is None:
            yield StepOutput(index, {}, dict.fromkeys(row_of, "broken"), ()), None
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
        output = StepOutput(index, tokens, ends, steps)
        branches = {lane: (row, tokens[lane]) for lane, row in row_of.items() if lane not in ends}
        if not branches:
            yield output, None
            return
        # The new rows are the distinct (old row, token) pairs, in the order of the first lane on each.
        rows = list(dict.fromkeys(branches.values()))
        row_of = {lane: rows.index(branch) for lane, branch in branches.items()}
        yield output, Plan([row for row, _ in rows], [token for _, token in rows], row_of)
