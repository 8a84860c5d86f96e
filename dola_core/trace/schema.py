"""The trace: everything recorded about a comparison, as one versioned JSON document.

For the tokens that can matter, a step stores `log q_j` of *every* layer. From these, `Trace.what_if` computes without
the model which token DoLa would have chosen there with any (j*, α), α ≥ `ALPHA_MIN`. Steps are stored once per row:
lanes whose texts are still the same share them.

Numbers that a what-if compares are stored in float32 to the last bit, since they must be the ones that the choice
compared. Numbers that only charts show are stored in float16.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Final, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from dola_core.contrast import check_alpha, check_layer
from dola_core.lanes import DecodingConfig, Lane, contrast_scores, select_tokens
from dola_core.models.info import ModelInfo
from dola_core.trace.arrays import Float16, Float32, UInt8, UInt16, UInt32
from dola_core.trace.ranks import decode_ranks

SCHEMA: Final = 1
ALPHA_MIN = 0.01
"""The smallest α that a what-if has an answer for."""

MAX_TOKENS, MAX_LANES, MAX_STEPS, MAX_PROMPT, MAX_TEXT, MAX_PIECE = 1000, 256, 20_000, 200_000, 2_000_000, 1000
"""Bounds far above what is recorded, so that reading a file never takes more work than a run."""
BYTES_PER_STEP = 400_000 // 128
"""Average size of a step in JSON, at most, so that 64 steps of two lanes stay below 400 kB."""
MAX_CACHED = 128
"""Settings whose what-ifs a step caches."""
ROUNDING = 1e-3
"""How far above 0 a log-probability may be, by rounding."""

EndReason = Literal["eos", "length", "stop", "stopped", "time", "broken"]
"""End of text, length limit, stop string, cancelled by the user, time limit, or numbers that were no longer finite."""


NO_BYTES = np.empty(0, dtype=np.uint8)


class _TraceRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Choice(_TraceRecord):
    """What one lane would choose after the prefix of a step, whether or not its own text has that prefix."""

    id: int = Field(ge=0)
    p: float = Field(ge=0, le=1)
    """Its probability in the lane's own distribution (`q_N` or `p_hat`, after the penalty, before the warpers)."""
    rank: int = Field(ge=1)
    """Its rank in the mature distribution; 1 is the most probable token."""
    entropy: float = Field(ge=0, allow_inf_nan=False)
    """Entropy of the lane's own distribution, in nats."""


class Step(_TraceRecord):
    """One generated position of one row."""

    index: int = Field(ge=0)
    """0 for the first generated token."""
    lanes: Annotated[tuple[int, ...], FailFast()]
    """The lanes whose text this row is."""
    taken: Annotated[tuple[int, ...], FailFast()]
    """The token each of `lanes` went on with. Differs from its choice only where a text was given."""
    choices: Annotated[tuple[Choice, ...], FailFast()]
    """What every lane of the comparison chooses after this prefix; those of lanes with another text are the ghosts."""
    exact_alpha: float = Field(ge=ALPHA_MIN, allow_inf_nan=False)
    """The smallest α that `what_if` has an exact answer for: `ALPHA_MIN`, or more if so many tokens are plausible that
    not all were recorded. Above 1 if more tokens share the maximum than were recorded."""
    tokens: UInt32
    """`[K]` recorded tokens: the most probable, best first, then what the lanes chose beyond those."""
    log_q: Float32
    """`[E · N]` of the first E tokens, layer last: `log q_1 … log q_{N−1}`, and `log q_N` as the contrast used it
    (penalised if "before")."""
    rough_log_q: Float16
    """`[(K − E) · N]`, the same of the others, which no what-if needs."""
    seen: UInt32
    """Indices, among the first E tokens, of those that the prefix holds already; a repetition penalty acts on them."""
    noise: Float32
    """`[E]` Gumbel noise the choice used, or empty when greedy."""
    top_ids: UInt32
    """`[N]` each layer's most probable token."""
    top_p: Float16
    """`[N]` its probability."""
    jsd: Float16
    """`[N]` Jensen–Shannon divergence of each layer to `q_N` over the whole vocabulary, nats."""
    layer_entropy: Float16
    """`[N]` entropy of each layer, nats."""
    ranks: UInt16
    """`[lanes · N]` rank of each lane's choice in each layer; 65535 stands for that or more."""
    shown_ranks: UInt8 = NO_BYTES
    """`[S · N]` rank of the first S tokens in each layer, as `encode_ranks` stores it; empty in a document that would
    be too large with them."""

    @model_validator(mode="after")
    def _consistent(self) -> "Step":
        n, k = len(self.top_ids), len(self.tokens)
        exact = len(self.log_q) // n if n else 0
        lengths = (len(self.log_q) + len(self.rough_log_q), len(self.top_p), len(self.jsd), len(self.layer_entropy))
        if lengths != (k * n, n, n, n) or len(self.ranks) != n * len(self.choices):
            raise ValueError("the step's arrays do not fit together")
        if len(self.shown_ranks) % n or len(self.shown_ranks) > k * n:
            raise ValueError("the step's arrays do not fit together")
        if exact == 0 or len(self.log_q) != exact * n or len(self.noise) not in (0, exact):
            raise ValueError("the step's arrays do not fit together")
        lanes = set(self.lanes)
        if not len(self.lanes) == len(self.taken) == len(lanes) or not lanes <= set(range(len(self.choices))):
            raise ValueError("the step's lanes do not fit together")
        if k > MAX_TOKENS or len(np.unique(self.tokens)) != k:
            raise ValueError("the step's tokens do not fit together")
        if len(self.seen) and self.seen.max() >= exact:
            raise ValueError("the step's tokens do not fit together")
        if not {*self.taken, *(c.id for c in self.choices)} <= set(self.tokens.tolist()):
            raise ValueError("the step's tokens do not fit together")
        if self.log_q.max() > ROUNDING or (len(self.rough_log_q) and self.rough_log_q.max() > ROUNDING):
            raise ValueError("a log-probability is above 0")
        if self.ranks.min() < 1 or self.jsd.min() < 0 or self.layer_entropy.min() < 0 or self.top_p.min() < 0:
            raise ValueError("a rank is below 1, or a divergence, an entropy or a probability below 0")
        return self

    @property
    def exact_log_q(self) -> np.ndarray:
        """`[E, N]`, float32: row by recorded token, column j−1 by layer j."""
        return self.log_q.reshape(-1, len(self.top_ids))

    @property
    def log_q_table(self) -> np.ndarray:
        """`[K, N]`, float32: all recorded tokens, the rough ones included."""
        rough = self.rough_log_q.reshape(-1, len(self.top_ids)).astype(np.float32)
        return np.concatenate([self.exact_log_q, rough])

    @property
    def rank_table(self) -> np.ndarray:
        """`[lanes, N]`: rank of each lane's choice by layer."""
        return self.ranks.reshape(len(self.choices), -1)

    def ranks_of(self, token: int) -> np.ndarray | None:
        """`[N]`, int64: rank of `token` by layer, or None if it was not recorded.

        Exact if a lane chose the token; else within 3 % beyond rank 32.
        """
        for choice, ranks in zip(self.choices, self.rank_table, strict=True):
            if choice.id == token:
                return ranks.astype(np.int64)
        shown = self.shown_ranks.reshape(-1, len(self.top_ids))
        places = np.flatnonzero(self.tokens[: len(shown)] == token)
        return decode_ranks(shown[places[0]]) if len(places) else None

    def index_of(self, token: int) -> int:
        """Index of `token` in `tokens`; raises `ValueError` if it was not recorded."""
        return self.tokens.tolist().index(token)

    def what_if(self, layer: int, alpha: float, config: DecodingConfig) -> int:
        """The token DoLa-static chooses here with another (j*, α), computed from the recorded numbers.

        Decoding's own functions run on the exactly recorded tokens, which hold the whole plausible head, so the answer
        is what this run would have chosen. Raises `ValueError` for a layer outside 1..N−1 or α below `exact_alpha`.
        """
        return self.what_ifs([layer], alpha, config)[0]

    def what_ifs(self, layers: Sequence[int], alpha: float, config: DecodingConfig) -> list[int]:
        """`what_if` for each of `layers` at one α."""
        columns = [check_layer(layer, len(self.top_ids)) - 1 for layer in layers]
        if check_alpha(alpha) < self.exact_alpha:
            raise ValueError(f"This step is recorded for alpha from {self.exact_alpha:.3g} up; got {alpha!r}.")
        choices = self._what_if_cache.get((alpha, config))
        if choices is None:
            if len(self._what_if_cache) >= MAX_CACHED:
                self._what_if_cache.clear()
            choices = self._what_if_cache[alpha, config] = self._what_if_of_all_layers(alpha, config)
        return [choices[column] for column in columns]

    @cached_property
    def _what_if_cache(self) -> dict[tuple[float, DecodingConfig], list[int]]:
        """Earlier answers: all charts of one view ask for the same ones, and so does a slider that is dragged."""
        return {}

    def _what_if_of_all_layers(self, alpha: float, config: DecodingConfig) -> list[int]:
        """`what_if` for the layers 1..N−1 at once: each layer is a row for decoding's own functions."""
        tokens = self.tokens[: len(self.exact_log_q)]
        by_id = np.argsort(tokens)  # among equals the decoder takes the lowest id
        table = torch.from_numpy(self.exact_log_q[by_id]).T
        early = table[:-1]
        log_q_N = table[-1].expand(len(early), -1)
        seen = torch.from_numpy(np.flatnonzero(np.isin(by_id, self.seen))).expand(len(early), -1)
        scores = contrast_scores(Lane(name="", layer=1, alpha=alpha), config, seen, log_q_N, early)
        noise = torch.from_numpy(self.noise[by_id]) if config.samples else None
        return tokens[by_id][select_tokens(config, scores, noise).numpy()].tolist()


def stop_string_in(text: str, stop: Sequence[str]) -> str | None:
    """The first of the `stop` strings that `text` holds, or None."""
    return next((one for one in stop if one in text), None)


def digest_of(ids: list[list[int]]) -> str:
    """The first 16 hex digits of the SHA-256 of every lane's generated ids."""
    return hashlib.sha256(repr(ids).encode()).hexdigest()[:16]


class Trace(_TraceRecord):
    """A finished or running comparison. `Trace.model_validate_json` and `to_json` are its JSON both ways."""

    model_config = ConfigDict(populate_by_name=True)

    version: Literal[1] = Field(SCHEMA, alias="schema")
    model: ModelInfo
    prompt: str = Field(max_length=MAX_TEXT)
    prompt_ids: Annotated[tuple[Annotated[int, Field(ge=0)], ...], FailFast(), Field(max_length=MAX_PROMPT)]
    lanes: Annotated[tuple[Lane, ...], FailFast(), Field(max_length=MAX_LANES)]
    decoding: DecodingConfig
    steps: Annotated[tuple[Step, ...], FailFast(), Field(max_length=MAX_STEPS)]
    """Ordered by index; steps of one index by the first lane of their row."""
    texts: Annotated[tuple[Annotated[str, Field(max_length=MAX_TEXT)], ...], FailFast(), Field(max_length=MAX_LANES)]
    """What each lane wrote, without the prompt."""
    ends: Annotated[tuple[EndReason | None, ...], FailFast(), Field(max_length=MAX_LANES)]
    """Why each lane stopped; None while it runs."""
    pieces: dict[int, Annotated[str, Field(max_length=MAX_PIECE)]]
    """Text of every token id that occurs."""
    digest: str = Field(max_length=64)
    """See `digest_of`: two runs with equal digests wrote the same tokens."""
    beams_found: Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], FailFast(), Field(max_length=MAX_LANES)] = ()
    """How many beams of each lane found a text of their own; empty if there was no beam search, or none counted."""

    @model_validator(mode="after")
    def _consistent(self) -> "Trace":
        n = len(self.lanes)
        if not len(self.texts) == len(self.ends) == n or any(len(s.choices) != n for s in self.steps):
            raise ValueError("texts, ends and steps must have an entry for every lane")
        if len(self.beams_found) not in (0, n):
            raise ValueError("beams_found must have an entry for every lane")
        if any(len(s.top_ids) != self.model.n_layers for s in self.steps):
            raise ValueError("the steps do not have the model's number of layers")
        for layer in (lane.layer for lane in self.lanes if lane.layer is not None):
            check_layer(layer, self.model.n_layers)
        if any((len(step.noise) > 0) != self.decoding.samples for step in self.steps):
            raise ValueError("steps hold noise where a run samples, and only there")
        written = [0] * n
        for step in self.steps:
            for lane in step.lanes:
                if step.index != written[lane]:
                    raise ValueError("a lane's steps must be numbered from 0 and none may be missing")
                written[lane] += 1
        if max(written, default=0) > self.decoding.max_new_tokens:
            raise ValueError("a lane has more steps than were asked for")
        ids = [self.prompt_ids, *(a for s in self.steps for a in (s.tokens, s.top_ids))]
        if max((max(a) for a in ids if len(a)), default=0) >= self.model.vocab_size:
            raise ValueError("a token lies outside the vocabulary")
        return self

    def to_json(self) -> str:
        """The JSON document, without `shown_ranks` if it would exceed `BYTES_PER_STEP` on average with them."""
        text = self.model_dump_json(by_alias=True)
        if len(text.encode()) <= BYTES_PER_STEP * max(128, len(self.steps)):
            return text
        steps = tuple(step.model_copy(update={"shown_ranks": NO_BYTES}) for step in self.steps)
        return self.model_copy(update={"steps": steps}).model_dump_json(by_alias=True)

    def lane_steps(self, lane: int) -> list[Step]:
        """The steps of one lane's text, in order."""
        return [step for step in self.steps if lane in step.lanes]

    def lane_ids(self, lane: int) -> list[int]:
        """The ids that one lane wrote."""
        return [step.taken[step.lanes.index(lane)] for step in self.lane_steps(lane)]

    def ended_by(self, lane: int) -> str | None:
        """What ended a lane's text: the text of its last token, or the stop string it holds; else None."""
        if self.ends[lane] == "eos":
            return self.pieces.get(self.lane_ids(lane)[-1]) if self.lane_ids(lane) else None
        return stop_string_in(self.texts[lane], self.decoding.stop) if self.ends[lane] == "stop" else None

    def what_if(self, lane: int, index: int, layer: int, alpha: float) -> int:
        """The token DoLa would choose at step `index` of `lane`'s text for another (j*, α); see `Step.what_if`."""
        steps = self.lane_steps(lane)
        if not steps:
            raise IndexError(f"The trace has no steps of a lane {lane}; it has {len(self.lanes)} lanes, from 0.")
        if not 0 <= index < len(steps):
            raise IndexError(f"index must be from 0 to {len(steps) - 1}, the steps of lane {lane}; got {index}.")
        return steps[index].what_if(layer, alpha, self.decoding)

    def stopped(self, reason: EndReason = "stopped") -> "Trace":
        """The same trace with `reason` as the end of every lane that was still running."""
        return self.model_copy(update={"ends": tuple(end or reason for end in self.ends)})

    def intact(self) -> bool:
        """Whether the digest is that of the generated ids."""
        return self.digest == digest_of([self.lane_ids(lane) for lane in range(len(self.lanes))])

    @property
    def fork(self) -> int | None:
        """The first index at which not all lanes that are still running take the same token, or None."""
        return next((s.index for s in self.steps if len(set(s.taken)) > 1), None)
