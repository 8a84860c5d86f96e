"""The model's side of lock step: rows of distinct texts, the cache that has read them, and one forward pass a step.

Two ways of the same thing. `ForkingRows` copies a row of the cache when its lanes part, so that lanes which still agree
cost one row. `FixedRows` keeps a row for every lane from the start, in a cache whose place and size never change: that
can be compiled, and on a GPU recorded once as a CUDA graph and replayed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, StaticCache
from transformers.cache_utils import StaticLayer

from dola_core.decoding.prefix_cache import PrefixMemory
from dola_core.models.readout import Readout, UnsupportedModelError
from dola_core.models.workspace import Workspace

Step = Callable[[Tensor], Tensor]
"""Ids `[lanes, 1]` → logits `[(layers + 1) · lanes, V]`, layer after layer."""


class Rows(Protocol):
    """What lock step asks of its rows. No hook outlives a call."""

    ids: Tensor
    """`[rows, T]`: the distinct texts."""
    logits: Tensor
    """`[K, V]`, float32: what layers say comes next, the last layer at the end, row by row."""

    def place(self, layer: int, row: int) -> int:
        """Where in `logits` early `layer` stands for `row`. Where all layers are read, the other rows come next to it,
        and then the next layer."""

    def start(self, prompt_ids: list[int], chunk: int | None = None) -> Iterator[int]:
        """Read the prompt, in one row; with `chunk`, so many tokens at a time, telling how many are read but for the
        last time."""

    def advance(self, parents: list[int], tokens: list[int], row_of: Mapping[int, int]) -> None:
        """Go on with rows that copy, keep or drop the old rows `parents`, each with its next token.

        `row_of` is the new row of every lane that goes on.
        """

    def close(self) -> None:
        """The comparison is over, or abandoned."""


class ForkingRows:
    """Rows in a cache that grows, and of which a row is copied where lanes part."""

    def __init__(
        self,
        readout: Readout,
        layers: Sequence[int | None],
        *,
        everything: bool,
        early_norm: bool,
        memory: PrefixMemory | None = None,
    ) -> None:
        """`layers` are those of the lanes, None for a lane without; with `everything`, every layer is read on every
        row, else each lane's own on its own row."""
        self.readout, self.layers, self.everything = readout, list(layers), everything
        self.early_norm, self.memory = early_norm, memory
        self.cache, self.workspace = DynamicCache(config=readout.decoder.config), Workspace()
        self._places: dict[tuple[int, int], int] = {}
        self.whole = False
        """Whether the cache has read exactly `ids`."""

    def start(self, prompt_ids: list[int], chunk: int | None = None) -> Iterator[int]:
        """Read the prompt, or what of it was not read before."""
        self.ids = torch.tensor([prompt_ids], device=self.readout.device)
        taken = self.memory.take(prompt_ids) if self.memory else None
        self.cache, known = taken or (self.cache, 0)
        while chunk and len(prompt_ids) - known > chunk:
            _fill(self.readout, self.ids[:, known : known + chunk], self.cache)
            known += chunk
            yield known
        self._read(self.ids[:, known:], dict.fromkeys(range(len(self.layers)), 0))

    def advance(self, parents: list[int], tokens: list[int], row_of: Mapping[int, int]) -> None:
        """Copy rows of the cache where `parents` says so, and read the new tokens."""
        self.whole = False
        if parents != list(range(self.ids.shape[0])):
            index = torch.tensor(parents)  # on the CPU, whence it selects on every layer's device
            self.cache.reorder_cache(index)
            self.ids = self.ids[index]
        new = torch.tensor(tokens, device=self.ids.device)[:, None]
        self.ids = torch.cat([self.ids, new], dim=1)
        self._read(new, row_of)

    def place(self, layer: int, row: int) -> int:
        """Where in `logits` `layer` stands for `row`."""
        return self._places[layer, row]

    def close(self) -> None:
        """Leave the cache for the next comparison to take; not one that a failed forward pass has left half done."""
        if self.memory and self.whole:
            self.memory.keep(self.ids, self.cache)

    def _read(self, ids: Tensor, row_of: Mapping[int, int]) -> None:
        if self.everything:
            wanted = [(layer, row) for layer in range(1, self.readout.n_layers) for row in range(len(ids))]
        else:
            wanted = [(layer, row_of[lane]) for lane, layer in enumerate(self.layers) if layer and lane in row_of]
        self._places = {pair: place for place, pair in enumerate(dict.fromkeys(wanted))}
        self.logits = _forward(
            self.readout, list(self._places), ids, self.cache, early_norm=self.early_norm, workspace=self.workspace
        )
        self.whole = True


class FixedRows:
    """A row for every lane, in a static cache; kept and used again, by one comparison at a time.

    The first comparison compiles the step, which takes a while; every further one replays it. The prompt is read
    eagerly, once, and its cache handed to every row. The step takes the block outputs from `output_hidden_states`,
    which `transformers` keeps compilable; a step has one position, so they are no larger than what is read. Its hooks
    for that stay on the model and do nothing when nobody asks.
    """

    def __init__(
        self,
        readout: Readout,
        layers: Sequence[int],
        *,
        lanes: int,
        length: int,
        early_norm: bool = True,
        compiler: Callable[[Step], Step] | None = None,
    ) -> None:
        """Rows for `lanes` lanes and texts of at most `length` tokens, the prompt included.

        `compiler` compiles the step; None is `torch.compile`. Raises `UnsupportedModelError` for a model whose cache
        is not one of plain attention alone, for a sliding window counts in Python, which a graph does not see.
        """
        self.readout, self.layers, self.early_norm = readout, list(layers), early_norm
        self.lanes, self.length = lanes, length
        self.cache = StaticCache(config=readout.decoder.config, max_cache_len=length)
        if any(type(layer) is not StaticLayer for layer in self.cache.layers):
            name = type(readout.model).__name__
            raise UnsupportedModelError(f"{name} has attention that cannot be compiled here; start without --compile.")
        self._step = (compiler or partial(torch.compile, dynamic=False))(self._decode)
        self._graph: _Graph | None = None

    def suits(self, layers: Sequence[int], lanes: int, length: int, *, early_norm: bool) -> bool:
        """Whether a comparison with these can be decoded in these rows."""
        enough = set(layers) <= set(self.layers) and length <= self.length
        return enough and lanes == self.lanes and early_norm == self.early_norm

    def start(self, prompt_ids: list[int], chunk: int | None = None) -> Iterator[int]:
        """Read the prompt eagerly, in one row, and fill every row's cache with it."""
        self.ids = torch.tensor([prompt_ids], device=self.readout.device)
        prompt, known = DynamicCache(config=self.readout.decoder.config), 0
        while chunk and len(prompt_ids) - known > chunk:
            _fill(self.readout, self.ids[:, known : known + chunk], prompt)
            known += chunk
            yield known
        pairs = [(layer, 0) for layer in self.layers]
        self.logits = _forward(self.readout, pairs, self.ids[:, known:], prompt, early_norm=self.early_norm)
        self._take_over(prompt)

    @torch.no_grad()
    def _take_over(self, prompt: DynamicCache) -> None:
        self.cache.reset()
        for number, layer in enumerate(prompt.layers):
            keys, values = (states.expand(self.lanes, -1, -1, -1) for states in (layer.keys, layer.values))
            self.cache.update(keys, values, number)

    @torch.no_grad()
    def advance(self, parents: list[int], tokens: list[int], row_of: Mapping[int, int]) -> None:
        """Read every lane's token, those of one text alike; what a lane reads that has ended does not matter."""
        device = self.ids.device
        new = torch.tensor(tokens, device=device)[:, None]
        self.ids = torch.cat([self.ids[torch.tensor(parents, device=device)], new], dim=1)
        of_lanes = new[torch.tensor([row_of.get(lane, 0) for lane in range(self.lanes)], device=device)]
        if device.type == "cuda" and self._graph is None:
            self._graph = _Graph(self._step, of_lanes, [layer.cumulative_length for layer in self.cache.layers])
        logits = (self._graph or self._step)(of_lanes)
        lane_of = {row: lane for lane, row in reversed(row_of.items())}
        # A copy: the next step writes over what this one returned.
        by_lane = logits.view(-1, self.lanes, logits.shape[-1])
        self.logits = by_lane[:, [lane_of[row] for row in range(len(tokens))]].flatten(0, 1)

    def place(self, layer: int, row: int) -> int:
        """Where in `logits` `layer` stands for `row`."""
        return self.layers.index(layer) * len(self.ids) + row

    def close(self) -> None:
        """Nothing is left to do: the next comparison writes over the cache."""

    def _decode(self, ids: Tensor) -> Tensor:
        """One step of all lanes: ids `[lanes, 1]` → logits `[(layers + 1) · lanes, V]`."""
        output = self.readout.decoder(
            input_ids=ids, past_key_values=self.cache, use_cache=True, output_hidden_states=True
        )
        # `hidden_states` begins with the embeddings, and the last entry alone is normed.
        early = torch.cat([output.hidden_states[layer][:, -1] for layer in self.layers])
        return _logits(self.readout, early, output.last_hidden_state[:, -1], early_norm=self.early_norm)


class _Graph:
    """A step as a CUDA graph, recorded once. Any thread may replay it, unlike those that `torch.compile` makes."""

    WARM_UP = 3

    def __init__(self, step: Step, ids: Tensor, counters: list[Tensor]) -> None:
        """`counters` are what a step counts up in the cache: warming up must not."""
        before = [counter.clone() for counter in counters]
        self.ids, self.graph = ids.clone(), torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(self.WARM_UP):
                step(self.ids)
                for counter, value in zip(counters, before, strict=True):
                    counter.copy_(value)
        torch.cuda.current_stream().wait_stream(aside)
        with torch.cuda.graph(self.graph):
            self.logits = step(self.ids)

    def __call__(self, ids: Tensor) -> Tensor:
        self.ids.copy_(ids)
        self.graph.replay()
        return self.logits


@torch.inference_mode()
def _fill(readout: Readout, ids: Tensor, cache: DynamicCache) -> None:
    """Read ids `[1, T]` into the cache, and nothing of what is said about them."""
    readout.decoder(input_ids=ids, past_key_values=cache, use_cache=True)


@torch.inference_mode()
def _forward(
    readout: Readout,
    pairs: list[tuple[int, int]],
    ids: Tensor,
    cache: DynamicCache,
    *,
    early_norm: bool,
    workspace: Workspace | None = None,
) -> Tensor:
    """Logits of `pairs` of a layer and a row, and of the last layer: ids `[rows, T]` → `[pairs + rows, V]`, float32."""
    layers = list(dict.fromkeys(layer for layer, _ in pairs))
    with readout.capture(layers) as captured:
        output = readout.decoder(input_ids=ids, past_key_values=cache, use_cache=True)
    mature = output.last_hidden_state[:, -1]  # normed already
    early = None
    if pairs:
        early = torch.cat([captured[layer].to(mature.device) for layer in layers])  # [layers · rows, d]
        if len(pairs) < len(early):
            early = early[[layers.index(layer) * len(ids) + row for layer, row in pairs]]
    return _logits(readout, early, mature, early_norm=early_norm, workspace=workspace)


def _logits(
    readout: Readout, early: Tensor | None, mature: Tensor, *, early_norm: bool, workspace: Workspace | None = None
) -> Tensor:
    """One product of the head: block outputs `[K, d]` and the normed last `[rows, d]` → `[K + rows, V]`, float32."""
    if early is not None and early_norm:
        early = readout.norm(early)
    logits = readout.after_head(readout.phi(mature if early is None else torch.cat([early, mature])))
    if workspace is None or logits.dtype is torch.float32:
        return logits.float()
    return workspace.like("logits", logits).copy_(logits)
