"""One step of a trace: what a row's layers said, what every lane chose, and what it would have chosen otherwise.

Numbers that a what-if compares are stored in float32 to the last bit, since they must be the ones that the choice
compared. Numbers that only charts show are stored in float16.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator
from torch import Tensor

from dola_core.contrast import check_layer
from dola_core.lanes import DecodingConfig, DolaStatic, Lane, lane_scores, select_tokens
from dola_core.trace.arrays import Float16, Float32, UInt8, UInt16, UInt32
from dola_core.trace.ranks import decode_ranks

ALPHA_MIN = 0.01
"""The smallest α that a what-if has an answer for."""
MAX_TOKENS = 1000
"""Far more than are recorded, so that reading a file never takes more work than a run."""
MAX_CACHED = 128
"""Settings whose what-ifs a step caches."""
ROUNDING = 1e-3
"""How far above 0 a log-probability may be, by rounding."""
NO_BYTES = np.empty(0, dtype=np.uint8)
NO_FLOATS = np.empty(0, dtype="<f4")


def _is_none(value: object) -> bool:
    return value is None


def _is_empty(value: np.ndarray) -> bool:
    return not len(value)


def _is_false(value: object) -> bool:
    return not value


class TraceRecord(BaseModel):
    """A part of a trace: it never changes, and knows no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Choice(TraceRecord):
    """What one lane would choose after the prefix of a step, whether or not its own text has that prefix."""

    id: int = Field(ge=0)
    p: float = Field(ge=0, le=1)
    """Its probability in the lane's own distribution (`q_N` or `p_hat`, after the penalty, before the warpers)."""
    rank: int = Field(ge=1)
    """Its rank in the mature distribution; 1 is the most probable token."""
    entropy: float = Field(ge=0, allow_inf_nan=False)
    """Entropy of the lane's own distribution, in nats."""
    layer: int | None = Field(None, ge=0, exclude_if=_is_none)
    """The layer M_t that the lane contrasts with here, if it chooses one at each step."""


class Step(TraceRecord):
    """One generated position of one row."""

    index: int = Field(ge=0)
    """0 for the first generated token."""
    reading: int = Field(0, ge=0, exclude_if=_is_false)
    """Which of the trace's `readings` the numbers of the layers are."""
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
    embedding_log_q: Float32 = Field(NO_FLOATS, exclude_if=_is_empty)
    """`[E]` `log q_0`, of the embeddings; empty unless a lane reads them."""
    closeness: Float32 = Field(NO_FLOATS, exclude_if=_is_empty)
    """`[N]` closeness of the layers 0 … N−1 to `q_N`, by which a dynamic lane chooses M_t; empty in older traces. That
    of layer 0, the embeddings, is 0 unless a lane reads them."""

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
        if len(self.embedding_log_q) not in (0, exact) or len(self.closeness) not in (0, n):
            raise ValueError("the step's arrays do not fit together")
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

    def what_if(self, lane: Lane, config: DecodingConfig) -> int:
        """The token that `lane`, fitted to the model, chooses here, computed from the recorded numbers.

        Decoding's own functions run on the exactly recorded tokens, which hold the whole plausible head, so the answer
        is what this run would have chosen. `config` is the comparison's. The lane's reading must be this step's. Raises
        `ValueError` for layers that are not recorded, and for a lane that may choose others than the recorded tokens:
        one without a plausible head, or with an α below `exact_alpha`.
        """
        self._check_recorded(lane.least_share)
        if isinstance(lane, DolaStatic):
            return self.what_ifs([lane.layer], lane, config)[0]
        return self._choices(lane, config, *self._of_layers(lane))[0]

    def contrasted(self, lane: Lane) -> int:
        """The layer that `lane`, fitted to the model, contrasts with here if it `chooses_layer`.

        Raises `ValueError` for a trace that does not tell.
        """
        _, close = self._of_layers(lane)
        if close is None:
            raise ValueError(f"{lane.name} does not choose a layer at each step.")
        return int(lane.contrasted(close)[0])

    def what_ifs(self, layers: Sequence[int], lane: DolaStatic, config: DecodingConfig) -> list[int]:
        """`what_if` of `lane` with each of `layers` as its j*."""
        columns = [check_layer(layer, len(self.top_ids)) - 1 for layer in layers]
        self._check_recorded(lane.alpha)
        key = (lane.alpha, lane.beta, lane.decoding(config))
        choices = self._what_if_cache.get(key)
        if choices is None:
            if len(self._what_if_cache) >= MAX_CACHED:
                self._what_if_cache.clear()
            # Each layer is a row for decoding's own functions.
            log_q = torch.from_numpy(self.exact_log_q[self._by_id]).T[None, :-1]
            choices = self._what_if_cache[key] = self._choices(lane, config, log_q, None)
        return [choices[column] for column in columns]

    def _check_recorded(self, alpha: float) -> None:
        if alpha < self.exact_alpha:
            raise ValueError(f"This step is recorded for alpha from {self.exact_alpha:.3g} up; got {alpha!r}.")

    @cached_property
    def _what_if_cache(self) -> dict[tuple[float, float, DecodingConfig], list[int]]:
        """Earlier answers: all charts of one view ask for the same ones, and so does a slider that is dragged."""
        return {}

    @cached_property
    def _by_id(self) -> np.ndarray:
        """Places of the exactly recorded tokens by their ids: among equals the decoder takes the lowest."""
        return np.argsort(self.tokens[: len(self.exact_log_q)])

    def _of_layers(self, lane: Lane) -> tuple[Tensor, Tensor | None]:
        """The read-outs `[L, 1, E]` of the layers that `lane` reads, and their closeness `[L, 1]` if it needs that."""
        n_layers = len(self.top_ids)
        if any(layer >= n_layers or (layer == 0 and not len(self.embedding_log_q)) for layer in lane.reads):
            raise ValueError(f"This step does not hold all of the layers {', '.join(map(str, lane.reads))}.")
        if lane.chooses_layer and not len(self.closeness):
            raise ValueError("This trace does not tell which layer a lane would choose; record it again.")
        columns = [self.embedding_log_q if layer == 0 else self.exact_log_q[:, layer - 1] for layer in lane.reads]
        log_q = (
            np.stack([column[self._by_id] for column in columns])[:, None]
            if columns
            else np.empty((0, 1, len(self._by_id)), np.float32)
        )
        close = torch.from_numpy(self.closeness[list(lane.reads), None]) if lane.chooses_layer else None
        return torch.from_numpy(log_q), close

    def _choices(self, lane: Lane, config: DecodingConfig, log_q: Tensor, closeness: Tensor | None) -> list[int]:
        """What `lane` chooses in each row of its read-outs `[L, rows, E]`."""
        by_id, rows = self._by_id, log_q.shape[1]
        log_q_N = torch.from_numpy(self.exact_log_q[by_id, -1]).expand(rows, -1)
        seen = torch.from_numpy(np.flatnonzero(np.isin(by_id, self.seen))).expand(rows, -1)
        scores = lane_scores(lane, config, seen, log_q_N, log_q, closeness)
        noise = torch.from_numpy(self.noise[by_id]) if config.samples else None
        return self.tokens[by_id][select_tokens(config, scores, noise).numpy()].tolist()
