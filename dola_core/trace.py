"""The trace: everything recorded about a comparison, as one versioned JSON document.

A step stores, for the tokens that can matter, `log q_j` of *every* layer, so that the token DoLa would have chosen
at that step for any (j*, α) with α ≥ `ALPHA_MIN` can be read off without the model: `Trace.what_if`. Steps are stored
once per row: lanes whose text is still the same share them.

Arrays are base64 of little-endian numbers. `log_q` and `noise` are float32 to the last bit, because a what-if must
compare the very numbers that the choice compared; what only charts show is float16.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from torch import Tensor

from dola_core.contrast import check_alpha, check_layer, entropy, jensen_shannon, plausible_head
from dola_core.lanes import Decoding, Lane, choose, dola_scores

SCHEMA = 1
ALPHA_MIN = 0.01
"""The smallest α a what-if answers for."""
RECORDED = 12
"""Tokens recorded per step besides the lanes' choices: the most probable ones."""

EndReason = Literal["eos", "length", "stop", "stopped"]
"""End of text, length limit, stop string, stopped by the user."""


def _array(dtype: str) -> Any:
    """A 1-D numpy array of `dtype` that travels as base64."""

    def decode(value: Any) -> np.ndarray:
        if isinstance(value, str):
            raw = base64.b64decode(value, validate=True)
            if len(raw) % np.dtype(dtype).itemsize:
                raise ValueError("the array is cut off")
            value = np.frombuffer(raw, dtype=dtype)
        array = np.ascontiguousarray(value, dtype=dtype).ravel()
        if not np.isfinite(array).all():
            raise ValueError("the array holds a number that is not finite")
        array.flags.writeable = False
        return array

    encode = PlainSerializer(lambda a: base64.b64encode(a.tobytes()).decode(), return_type=str, when_used="json")
    return Annotated[np.ndarray, BeforeValidator(decode), encode]


Float32, Float16, UInt32, UInt16 = (_array(t) for t in ("<f4", "<f2", "<u4", "<u2"))


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class ModelInfo(_Record):
    """Which model made a trace."""

    name: str
    revision: str | None = None
    dtype: str
    n_layers: int = Field(ge=2, le=1000)
    vocab_size: int = Field(ge=1)


class Choice(_Record):
    """What one lane's decoder says on the prefix of a step, whether or not its own text has that prefix."""

    id: int = Field(ge=0)
    p: float = Field(ge=0, le=1)
    """Its probability in the lane's own distribution (`q_N` or `p_hat`, after the penalty, before the warpers)."""
    rank: int = Field(ge=1)
    """Its rank in the mature distribution; 1 is the most probable token."""
    entropy: float = Field(ge=0)
    """Of the lane's own distribution, in nats."""


class Step(_Record):
    """One generated position of one row."""

    index: int = Field(ge=0)
    """0 for the first generated token."""
    lanes: tuple[int, ...]
    """The lanes whose text this row is."""
    taken: tuple[int, ...]
    """The token each of `lanes` went on with. Differs from its choice only where a text was given."""
    choices: tuple[Choice, ...]
    """What every lane of the comparison chooses on this prefix; those of the other lanes are the ghosts."""
    exact_alpha: float = Field(ge=ALPHA_MIN)
    """`what_if` is exact from here up: `ALPHA_MIN`, or more if so many tokens are plausible that not all were kept."""
    tokens: UInt32
    """`[K]` recorded tokens, the most probable first."""
    log_q: Float32
    """`[K · N]`, layer last: `log q_1 … log q_{N−1}`, and `log q_N` as the contrast used it (penalised if "before")."""
    seen: UInt32
    """Places in `tokens` of those that prompt or text held already; what a repetition penalty acts on."""
    noise: Float32
    """`[K]` Gumbel noise the choice used, or empty when greedy."""
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

    @model_validator(mode="after")
    def _consistent(self) -> "Step":
        n, k = len(self.top_ids), len(self.tokens)
        lengths = (len(self.log_q), len(self.top_p), len(self.jsd), len(self.layer_entropy), len(self.ranks))
        if lengths != (k * n, n, n, n, n * len(self.choices)) or len(self.noise) not in (0, k):
            raise ValueError("the step's arrays do not fit together")
        if len(self.lanes) != len(self.taken) or not set(self.lanes) <= set(range(len(self.choices))):
            raise ValueError("the step's lanes do not fit together")
        if (
            k == 0
            or (len(self.seen) and self.seen.max() >= k)
            or not {c.id for c in self.choices} <= set(self.tokens.tolist())
        ):
            raise ValueError("the step's tokens do not fit together")
        return self

    @property
    def log_q_table(self) -> np.ndarray:
        """`[K, N]`: row by recorded token, column j−1 by layer j."""
        return self.log_q.reshape(len(self.tokens), -1)

    @property
    def rank_table(self) -> np.ndarray:
        """`[lanes, N]`: rank of each lane's choice by layer."""
        return self.ranks.reshape(len(self.choices), -1)

    def place(self, token: int) -> int:
        """Where `token` stands in `tokens`; `ValueError` if it was not recorded."""
        return self.tokens.tolist().index(token)

    def what_if(self, layer: int, alpha: float, decoding: Decoding) -> int:
        """The token DoLa-static chooses here with another (j*, α), read from the record.

        The same functions as in decoding run on the recorded tokens, which hold the whole head, so the answer is the
        real one. Raises `ValueError` for a layer outside 1..N−1 or α below `exact_alpha`.
        """
        layer = check_layer(layer, len(self.top_ids))
        if check_alpha(alpha) < self.exact_alpha:
            raise ValueError(f"This step is recorded for alpha from {self.exact_alpha:.3g} up; got {alpha!r}.")
        by_id = np.argsort(self.tokens)  # among equals the decoder takes the lowest id
        table = torch.from_numpy(self.log_q_table[by_id])[None]
        seen = torch.from_numpy(np.flatnonzero(np.isin(by_id, self.seen)))[None]
        scores = dola_scores(
            Lane(name="", layer=layer, alpha=alpha), decoding, seen, table[..., -1], table[..., layer - 1]
        )
        noise = torch.from_numpy(self.noise[by_id]) if decoding.samples else None
        return int(self.tokens[by_id][choose(decoding, scores, noise).item()])


class Trace(_Record):
    """A finished or running comparison. `Trace.model_validate_json` and `to_json` are its JSON both ways."""

    model_config = ConfigDict(populate_by_name=True)

    version: Literal[1] = Field(SCHEMA, alias="schema")
    model: ModelInfo
    prompt: str
    prompt_ids: tuple[int, ...]
    lanes: tuple[Lane, ...]
    decoding: Decoding
    steps: tuple[Step, ...]
    """Ordered by index; steps of one index by the first lane of their row."""
    texts: tuple[str, ...]
    """What each lane wrote, without the prompt."""
    ends: tuple[EndReason | None, ...]
    """Why each lane stopped; None while it runs."""
    pieces: dict[int, str]
    """Text of every token id that occurs."""
    digest: str
    """SHA-256 of the generated ids: two runs with equal digests wrote the same tokens."""

    @model_validator(mode="after")
    def _consistent(self) -> "Trace":
        n = len(self.lanes)
        if not len(self.texts) == len(self.ends) == n or any(len(s.choices) != n for s in self.steps):
            raise ValueError("texts, ends and steps must have an entry for every lane")
        if any(len(s.top_ids) != self.model.n_layers for s in self.steps):
            raise ValueError("the steps do not have the model's number of layers")
        for lane in self.lanes:
            if lane.layer is not None:
                check_layer(lane.layer, self.model.n_layers)
        if self.steps and max(int(a.max()) for s in self.steps for a in (s.tokens, s.top_ids)) >= self.model.vocab_size:
            raise ValueError("a token lies outside the vocabulary")
        return self

    def to_json(self) -> str:
        """The JSON document."""
        return self.model_dump_json(by_alias=True)

    def lane_steps(self, lane: int) -> list[Step]:
        """The steps of one lane's text, in order."""
        return [step for step in self.steps if lane in step.lanes]

    def lane_ids(self, lane: int) -> list[int]:
        """The ids that one lane wrote."""
        return [step.taken[step.lanes.index(lane)] for step in self.lane_steps(lane)]

    def what_if(self, lane: int, index: int, layer: int, alpha: float) -> int:
        """The token DoLa would choose at step `index` of `lane`'s text for another (j*, α); see `Step.what_if`."""
        return self.lane_steps(lane)[index].what_if(layer, alpha, self.decoding)

    def stopped(self) -> "Trace":
        """The same trace with the lanes that were still running marked as stopped by the user."""
        return self.model_copy(update={"ends": tuple(end or "stopped" for end in self.ends)})

    @property
    def fork(self) -> int | None:
        """The first index at which not all lanes that are still running take the same token, or None."""
        return next((s.index for s in self.steps if len(set(s.taken)) > 1), None)


class Recorder:
    """Collects the steps of a running comparison; `trace()` is what there is so far."""

    def __init__(
        self,
        model: ModelInfo,
        prompt: str,
        prompt_ids: Sequence[int],
        lanes: Sequence[Lane],
        decoding: Decoding,
    ) -> None:
        self.model, self.prompt, self.decoding = model, prompt, decoding
        self.prompt_ids, self.lanes = tuple(prompt_ids), tuple(lanes)
        self.steps: list[Step] = []
        self.ids: list[list[int]] = [[] for _ in lanes]
        self.ends: list[EndReason | None] = [None for _ in lanes]

    def add(self, tokens: Mapping[int, int], ends: Mapping[int, EndReason], steps: Sequence[Step]) -> None:
        """Note one step: {lane: its token}, {lane: why it ended} and the rows' records."""
        self.steps.extend(steps)
        for lane, token in tokens.items():
            self.ids[lane].append(token)
        for lane, end in ends.items():
            self.ends[lane] = end

    def trace(self, piece: Callable[[int], str], text: Callable[[list[int]], str]) -> Trace:
        """The trace so far; `piece` gives the text of one id and `text` that of a sequence."""
        ids = set(self.prompt_ids)
        for step in self.steps:
            ids.update(step.tokens.tolist(), step.top_ids.tolist(), step.taken)
        return Trace(
            model=self.model,
            prompt=self.prompt,
            prompt_ids=self.prompt_ids,
            lanes=self.lanes,
            decoding=self.decoding,
            steps=tuple(self.steps),
            texts=tuple(text(lane) for lane in self.ids),
            ends=tuple(self.ends),
            pieces={i: piece(i) for i in sorted(ids)},
            digest=hashlib.sha256(repr(self.ids).encode()).hexdigest()[:16],
        )


def record_step(
    index: int,
    lanes: Sequence[int],
    taken: Sequence[int],
    *,
    choices: Tensor,
    lane_log_p: Tensor,
    log_q: Tensor,
    ids: Tensor,
    noise: Tensor | None,
) -> Step:
    """Reduce one row of one step to what the trace keeps.

    Args:
        index: generated position, from 0.
        lanes: the lanes whose text this row is.
        taken: the token each of them goes on with.
        choices: what every lane chooses on this prefix, `[lanes]`.
        lane_log_p: each lane's normalised log-probabilities, `[lanes, V]`.
        log_q: log-probabilities of all layers, the last as the contrast used it, `[N, V]`.
        ids: tokens so far `[T]`.
        noise: Gumbel noise `[V]` or None.
    """
    log_q_N = log_q[-1]
    most_probable = log_q_N.topk(min(RECORDED + 1, len(log_q_N)))
    head_size = int(plausible_head(log_q_N, ALPHA_MIN).sum())
    kept = most_probable.indices[:RECORDED].tolist()
    extra = dict.fromkeys([*choices.tolist(), *taken])
    tokens = torch.tensor([*kept, *(t for t in extra if t not in kept)], device=log_q.device)
    exact_alpha = ALPHA_MIN
    if head_size > len(kept):  # the head at an α just above this ratio still leaves out the first token not kept
        ratio = float((most_probable.values[RECORDED] - most_probable.values[0]).exp())
        exact_alpha = min(1.0, ratio * (1 + 1e-5) + 1e-7)
    chosen = choices.to(log_q.device)
    own_p = lane_log_p.gather(1, chosen[:, None])[:, 0].exp().clamp(0, 1)
    ranks = 1 + (log_q[None] > log_q[:, chosen].T[..., None]).sum(-1)  # [lanes, N]
    best = log_q.max(-1)
    as_numpy = {
        "tokens": tokens,
        "log_q": log_q[:, tokens].T,
        "seen": torch.isin(tokens, ids).nonzero()[:, 0],
        "noise": torch.empty(0) if noise is None else noise[tokens],
        "top_ids": best.indices,
        "top_p": best.values.exp(),
        "jsd": jensen_shannon(log_q_N[None], log_q),
        "layer_entropy": entropy(log_q),
        "ranks": ranks.clamp_max(65535),
    }
    return Step(
        index=index,
        lanes=tuple(lanes),
        taken=tuple(taken),
        choices=tuple(
            Choice(id=i, p=p, rank=r, entropy=max(0.0, e))
            for i, p, r, e in zip(
                chosen.tolist(),
                own_p.tolist(),
                ranks[:, -1].tolist(),
                entropy(lane_log_p).tolist(),
                strict=True,
            )
        ),
        exact_alpha=exact_alpha,
        **{name: tensor.cpu().numpy() for name, tensor in as_numpy.items()},
    )
