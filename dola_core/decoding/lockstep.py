"""The comparison: any number of lanes complete one prompt in lock step with one model.

Rows of the batch are the *distinct* texts. Lanes share a row until they choose different tokens; then the row of the
KV cache is copied. There is one prefill, one forward pass per step whatever the number of lanes, and one head product
for the mature and the early read-outs of all rows.

All rows have the same length and nothing is padded, so the decoder needs no attention mask and counts positions by
its cache. Nothing here knows about tokenizers: prompts are ids.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dola_core.contrast import check_layer, log_softmax
from dola_core.decoding.batch import FixedRows, ForkingRows, Rows
from dola_core.decoding.prefix_cache import PrefixMemory
from dola_core.lanes import Decoding, Lane, choose, dola_scores, gumbel_noise, penalised
from dola_core.models.readout import Readout
from dola_core.models.workspace import Workspace
from dola_core.trace.recorder import Allowance, Row, record_steps
from dola_core.trace.schema import EndReason, Step


class PromptError(ValueError):
    """The prompt cannot be completed; the message says what to do, in English.

    For other languages, `kind` says which of them it is: "empty", "chat" for a turn of a model that has no template for
    turns, or "tokens" or "characters", of which there are `size` where at most `most` are read.
    """

    def __init__(self, kind: Literal["empty", "chat", "tokens", "characters"], size: int = 0, most: int = 0) -> None:
        super().__init__(_PROMPT_ERRORS[kind].format(size=size, most=most))
        self.kind, self.size, self.most = kind, size, most


_PROMPT_ERRORS = {
    "empty": "The prompt is empty; type something to complete.",
    "chat": "This model has no chat template; leave out chat.",
    "tokens": "The prompt has {size:,} tokens; the model reads at most {most:,} and needs room to write. Shorten it.",
    "characters": "The prompt has {size:,} characters; at most {most:,} are read. Shorten it.",
}


@dataclass(frozen=True)
class Advance:
    """One step of all running lanes."""

    index: int
    tokens: dict[int, int]
    """{lane: the token it goes on with} for the lanes that were still running."""
    ends: dict[int, EndReason]
    """{lane: why} for the lanes that end with this token."""
    steps: tuple[Step, ...]
    """The records of this step's rows; empty if nothing is recorded."""
    read: int = 0
    """While the prompt is still being read and there are no tokens yet, how many of its tokens are read."""


def compare(
    readout: Readout,
    prompt_ids: Sequence[int],
    lanes: Sequence[Lane],
    decoding: Decoding,
    *,
    eos_ids: Collection[int] = (),
    text_of: Callable[[list[int]], str] | None = None,
    record: bool = True,
    scripts: Mapping[int, tuple[Sequence[int], EndReason]] | None = None,
    memory: PrefixMemory | None = None,
    fixed: FixedRows | None = None,
    chunk: int | None = None,
) -> Iterator[Advance]:
    """Complete `prompt_ids` in every lane; a generator of steps that may be abandoned at any point.

    Args:
        readout: the model.
        prompt_ids: the prompt as tokenised, with BOS or template.
        lanes: the decoders; names need not be unique.
        decoding: how all of them decode. `num_beams` is not looked at here: beams are `beams.beam_search`'s.
        eos_ids: tokens that end a lane.
        text_of: text of a lane's new ids; needed for `decoding.stop`.
        record: reduce every step to a `Step` of the trace. Off, only the layers the lanes use are read.
        scripts: {lane: (ids, reason to end)} for lanes whose text is given and only looked at.
        memory: where what is read is kept in the end, and whence what the prompt begins with is taken. The numbers
            of a cache depend in their last bits on how it was read, so what is taken may tip a tie.
        fixed: rows to decode in where they suit the lanes and the length, instead of forking ones.
        chunk: read the prompt so many tokens at a time, with an `Advance` without tokens after each, so that reading a
            long one can be abandoned. The last bits of the numbers depend on it.

    If a read-out is no longer finite, all lanes end at that step as "broken", without a token.

    Raises:
        PromptError: the prompt is empty, or leaves no room in the model's context.
        ValueError: a lane's layer is not one of the model's, a script is empty, or `text_of` is missing.
    """
    limit = check_comparison(readout, prompt_ids, lanes, decoding)
    if decoding.stop and text_of is None:
        raise ValueError("Stop strings need text_of, to see what a lane has written.")
    if any(not ids for ids, _ in (scripts or {}).values()):
        raise ValueError("A script must hold at least one token.")
    own = [lane.layer for lane in lanes]
    layers = range(1, readout.n_layers) if record else {layer for layer in own if layer}
    length = len(prompt_ids) + limit
    rows: Rows = ForkingRows(readout, own, everything=record, early_norm=decoding.early_norm, memory=memory)
    if fixed is not None and fixed.suits(layers, len(lanes), length, early_norm=decoding.early_norm):
        rows = fixed
    state = _LockStep(rows, tuple(lanes), decoding, record=record)
    steps = _steps(state, list(prompt_ids), limit, frozenset(eos_ids), text_of, dict(scripts or {}), chunk)
    return _closing(rows, steps)


def check_comparison(readout: Readout, prompt_ids: Sequence[int], lanes: Sequence[Lane], decoding: Decoding) -> int:
    """How many tokens the lanes may write: what was asked for, or what the model's context leaves.

    Raises `PromptError` for a prompt that is empty or fills the context, `ValueError` for a layer out of range.
    """
    if not prompt_ids:
        raise PromptError("empty")
    for lane in lanes:
        if lane.layer is not None:
            check_layer(lane.layer, readout.n_layers)
    context = readout.context_length
    if context is None:
        return decoding.max_new_tokens
    if len(prompt_ids) >= context:
        raise PromptError("tokens", len(prompt_ids), context)
    return min(decoding.max_new_tokens, context - len(prompt_ids))


def _closing(rows: Rows, steps: Iterator[Advance]) -> Iterator[Advance]:
    """The steps; whether they come to an end or are abandoned, the rows are closed then."""
    try:
        yield from steps
    finally:
        rows.close()


def _steps(
    state: "_LockStep",
    prompt_ids: list[int],
    limit: int,
    eos_ids: frozenset[int],
    text_of: Callable[[list[int]], str] | None,
    scripts: dict[int, tuple[Sequence[int], EndReason]],
    chunk: int | None,
) -> Iterator[Advance]:
    row_of = dict.fromkeys(range(len(state.lanes)), 0)
    written: list[list[int]] = [[] for _ in state.lanes]
    allowance = Allowance(limit * len(state.lanes))
    for read in state.rows.start(prompt_ids, chunk):
        yield Advance(0, {}, {}, (), read)
    for index in range(limit):
        if not state.finite():
            yield Advance(index, {}, dict.fromkeys(row_of, "broken"), ())
            return
        reading = state.read(row_of)
        tokens = {
            lane: scripts[lane][0][index] if lane in scripts else reading.chosen[lane][row]
            for lane, row in row_of.items()
        }
        ends: dict[int, EndReason] = {}
        for lane, token in tokens.items():
            written[lane].append(token)
            end = _end(written[lane], limit, eos_ids, state.decoding.stop, text_of)
            if lane in scripts:
                ids, reason = scripts[lane]
                end = reason if index + 1 == len(ids) else "length" if index + 1 == limit else None
            if end:
                ends[lane] = end
        steps = reading.records(index, row_of, tokens, allowance, state.workspace) if state.record else ()
        yield Advance(index, tokens, ends, steps)
        branches = {lane: (row, tokens[lane]) for lane, row in row_of.items() if lane not in ends}
        if not branches:
            return
        # Rows are the distinct (old row, token) pairs, in the order of the first lane on each.
        rows = list(dict.fromkeys(branches.values()))
        row_of = {lane: rows.index(branch) for lane, branch in branches.items()}
        state.rows.advance([row for row, _ in rows], [token for _, token in rows], row_of)


def _end(
    written: list[int],
    limit: int,
    eos_ids: frozenset[int],
    stop: tuple[str, ...],
    text_of: Callable[[list[int]], str] | None,
) -> EndReason | None:
    """Why a lane ends after what it has written, or None."""
    if written[-1] in eos_ids:
        return "eos"
    if stop and text_of is not None:
        text = text_of(written)
        if any(s in text for s in stop):
            return "stop"
    return "length" if len(written) >= limit else None


@dataclass(frozen=True)
class _Reading:
    """What one forward pass says about every row."""

    lanes: tuple[Lane, ...]
    ids: Tensor
    """`[rows, T]`"""
    log_q: Tensor
    """`[N, rows, V]`, the last as the contrast uses it; of what is not recorded, `[K, V]` as the rows have it."""
    noise: Tensor | None
    scores: dict[int, Tensor]
    """{lane: `[rows, V]`}, empty if nothing is recorded."""
    chosen: list[dict[int, int]]
    """`[lane]{row: token}`"""

    def records(
        self, index: int, row_of: dict[int, int], tokens: dict[int, int], allowance: Allowance, workspace: Workspace
    ) -> tuple[Step, ...]:
        count = self.ids.shape[0]
        lanes = [tuple(lane for lane, r in row_of.items() if r == row) for row in range(count)]
        return record_steps(
            index,
            [Row(here, tuple(tokens[lane] for lane in here)) for here in lanes],
            allowance,
            choices=torch.tensor([[chosen[row] for chosen in self.chosen] for row in range(count)]),
            scores=torch.stack([self.scores[lane] for lane in range(len(self.lanes))], dim=1),
            log_q=self.log_q,
            ids=self.ids,
            noise=self.noise,
            workspace=workspace,
        )


class _LockStep:
    """The lanes' side of a comparison: what each makes of what its row's layers say."""

    def __init__(self, rows: Rows, lanes: tuple[Lane, ...], decoding: Decoding, *, record: bool) -> None:
        self.rows, self.lanes, self.decoding, self.record = rows, lanes, decoding, record
        self.workspace = Workspace()

    def finite(self) -> bool:
        """Whether every number that was read is one; what is not, infinity included, stays in a sum."""
        return math.isfinite(self.rows.logits.sum())

    @torch.inference_mode()
    def read(self, row_of: dict[int, int]) -> _Reading:
        """Score and choose: every lane on every row if that is recorded, else on its own row only."""
        decoding, logits = self.decoding, self.rows.logits
        ids = self.rows.ids.to(logits.device)  # a model may begin on one device and end on another
        rows = ids.shape[0]
        plain = log_softmax(penalised(decoding, ids, logits[-rows:]))
        log_q = torch.log_softmax(logits, -1, out=self.workspace.like("log_q", logits))
        if decoding.penalty_position == "before":
            log_q[-rows:] = plain
        noise = gumbel_noise(decoding, ids.shape[-1], plain.shape[-1])
        noise = None if noise is None else noise.to(plain.device)

        def scored(lane: Lane, first: int, end: int) -> Tensor:
            if lane.layer is None:
                return plain[first:end]
            place = self.rows.place(lane.layer, first)
            log_q_N, log_q_J = log_q[-rows:][first:end], log_q[place : place + end - first]
            return dola_scores(lane, decoding, ids[first:end], log_q_N, log_q_J)

        if not self.record:
            chosen: list[dict[int, int]] = [{} for _ in self.lanes]
            for number, row in row_of.items():
                own = scored(self.lanes[number], row, row + 1)
                chosen[number][row] = int(choose(decoding, own, noise))
            return _Reading(self.lanes, ids, log_q, noise, {}, chosen)
        scores = {number: scored(lane, 0, rows) for number, lane in enumerate(self.lanes)}
        chosen = [dict(enumerate(choose(decoding, scores[number], noise).tolist())) for number in scores]
        return _Reading(self.lanes, ids, log_q.view(-1, rows, log_q.shape[-1]), noise, scores, chosen)
