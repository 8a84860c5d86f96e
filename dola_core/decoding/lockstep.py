"""The lock-step loop: any number of lanes complete one prompt with one model, one forward pass a step.

Rows of the batch are the *distinct* texts. Lanes share a row until they choose different tokens; then the row of the
KV cache is copied. There is one prefill, one forward pass per step whatever the number of lanes, and one head product
for the last layer and the early read-outs of all rows.

All rows have the same length and nothing is padded, so the decoder needs no attention mask and counts positions by
its cache. Nothing here knows about tokenizers: prompts are ids.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dola_core.contrast import log_softmax
from dola_core.decoding.batch import Batch
from dola_core.decoding.model_settings import MatureProcessors
from dola_core.lanes import (
    DecodingConfig,
    Lane,
    contrast_scores,
    gumbel_noise,
    select_tokens,
)
from dola_core.models.reading.workspace import Workspace
from dola_core.trace.schema import EndReason, Step
from dola_core.trace.step_record import Allowance, RowLanes, record_steps

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


def run_lockstep(
    batch: Batch,
    prompt_ids: list[int],
    lanes: tuple[Lane, ...],
    config: DecodingConfig,
    rules: EndRules,
    processors: MatureProcessors,
    *,
    record: bool,
    forced: Mapping[int, ForcedContinuation],
    chunk: int | None = None,
) -> Generator[StepOutput, None, None]:
    """Complete the prompt in every lane. The batch is closed when the generator ends or is abandoned.

    `processors` act on the mature logits before any lane sees them. If a read-out is no longer finite, all lanes end at
    that step as "broken", without a token.
    """
    state = _LockStep(batch, lanes, config, processors, record=record)
    try:
        yield from _steps(state, prompt_ids, rules, forced, chunk)
    finally:
        batch.close()


def _steps(
    state: "_LockStep",
    prompt_ids: list[int],
    rules: EndRules,
    forced: Mapping[int, ForcedContinuation],
    chunk: int | None,
) -> Generator[StepOutput, None, None]:
    row_of = dict.fromkeys(range(len(state.lanes)), 0)
    written: list[list[int]] = [[] for _ in state.lanes]
    allowance = Allowance(rules.limit * len(state.lanes))
    for read in state.batch.start(prompt_ids, chunk):
        yield StepOutput(0, {}, {}, (), read)
    for index in range(rules.limit):
        choices = state.choose(row_of)
        if choices is None:
            yield StepOutput(index, {}, dict.fromkeys(row_of, "broken"), ())
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
        steps = choices.records(index, row_of, tokens, allowance, state.workspace) if state.record else ()
        yield StepOutput(index, tokens, ends, steps)
        branches = {lane: (row, tokens[lane]) for lane, row in row_of.items() if lane not in ends}
        if not branches:
            return
        # The new rows are the distinct (old row, token) pairs, in the order of the first lane on each.
        rows = list(dict.fromkeys(branches.values()))
        row_of = {lane: rows.index(branch) for lane, branch in branches.items()}
        state.batch.advance([row for row, _ in rows], [token for _, token in rows], row_of)


@dataclass(frozen=True)
class _Choices:
    """What the lanes choose after one forward pass, and what they chose by."""

    lanes: tuple[Lane, ...]
    ids: Tensor
    """`[rows, T]`"""
    log_q: Tensor
    """`[N, rows, V]` if recorded, the last layer as the contrast uses it; else `[K, V]`, as in `Batch.logits`."""
    noise: Tensor | None
    """Gumbel noise `[V]`, or None."""
    scores: dict[int, Tensor]
    """{lane: `[rows, V]`}; empty if nothing is recorded."""
    chosen: list[dict[int, int]]
    """`[lane]{row: token}`"""

    def records(
        self, index: int, row_of: dict[int, int], tokens: dict[int, int], allowance: Allowance, workspace: Workspace
    ) -> tuple[Step, ...]:
        count = self.ids.shape[0]
        lanes = [tuple(lane for lane, r in row_of.items() if r == row) for row in range(count)]
        return record_steps(
            index,
            [RowLanes(here, tuple(tokens[lane] for lane in here)) for here in lanes],
            allowance,
            choices=torch.tensor([[chosen[row] for chosen in self.chosen] for row in range(count)]),
            scores=torch.stack([self.scores[lane] for lane in range(len(self.lanes))], dim=1),
            log_q=self.log_q,
            ids=self.ids,
            noise=self.noise,
            workspace=workspace,
        )


class _LockStep:
    """The lanes' side of a comparison: what each of them makes of the read-outs of its row."""

    def __init__(
        self,
        batch: Batch,
        lanes: tuple[Lane, ...],
        config: DecodingConfig,
        processors: MatureProcessors,
        *,
        record: bool,
    ) -> None:
        self.batch, self.lanes, self.config, self.record = batch, lanes, config, record
        self.processors, self.workspace = processors, Workspace()

    @torch.inference_mode()
    def choose(self, row_of: dict[int, int]) -> _Choices | None:
        """Let every lane choose a token: on every row if the step is recorded, else on its own row only.

        None if a read-out is not finite (a NaN or an infinity anywhere shows in the sum), or if the model's settings
        leave no token possible.
        """
        config, logits = self.config, self.batch.logits
        ids = self.batch.ids.to(logits.device)  # a model may begin on one device and end on another
        rows = ids.shape[0]
        mature = self.processors(ids, logits[-rows:])
        read = logits[:-rows] if self.processors.mend_values else logits
        if not (math.isfinite(read.sum()) and mature.penalised.amax(-1).isfinite().all()):
            return None
        plain = log_softmax(mature.penalised)
        log_q = torch.log_softmax(logits, -1, out=self.workspace.like("log_q", logits))
        log_q[-rows:] = plain if mature.contrasted is mature.penalised else log_softmax(mature.contrasted)
        noise = gumbel_noise(config, ids.shape[-1], plain.shape[-1])
        noise = None if noise is None else noise.to(plain.device)

        def score(lane: Lane, first: int, end: int) -> Tensor:
            if lane.layer is None:
                return plain[first:end]
            index = self.batch.logit_index(lane.layer, first)
            log_q_N, log_q_J = log_q[-rows:][first:end], log_q[index : index + end - first]
            return contrast_scores(lane, config, ids[first:end], log_q_N, log_q_J)

        if not self.record:
            chosen: list[dict[int, int]] = [{} for _ in self.lanes]
            for number, row in row_of.items():
                own = score(self.lanes[number], row, row + 1)
                chosen[number][row] = int(select_tokens(config, own, noise))
            return _Choices(self.lanes, ids, log_q, noise, {}, chosen)
        scores = {number: score(lane, 0, rows) for number, lane in enumerate(self.lanes)}
        chosen = [dict(enumerate(select_tokens(config, scores[number], noise).tolist())) for number in scores]
        return _Choices(self.lanes, ids, log_q.view(-1, rows, log_q.shape[-1]), noise, scores, chosen)
