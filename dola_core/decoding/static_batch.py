"""A batch that can be compiled: one row for every lane, in a KV cache whose address and size never change."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor
from transformers import Cache, StaticCache
from transformers.cache_utils import DynamicLayer, StaticLayer

from dola_core.decoding.batch import EarlyReadout
from dola_core.errors import UnsupportedModelError
from dola_core.models.reading.cached_texts import CachedTexts, read_logits
from dola_core.models.reading.parts import model_name
from dola_core.models.reading.proof import Trial, reading_rules
from dola_core.models.reading.readout import Readout
from dola_core.models.reading.turning_points import TurningPoints

DecodeStep = Callable[[Tensor], Tensor]
"""Ids `[lanes, 1]` → logits `[(layers + 1) · lanes, V]`, layer after layer."""


class StaticBatch:
    """A row for every lane, kept and used again by one comparison after the other, never by two at once.

    The first comparison compiles the step, which takes a while; later ones replay it. The prompt is read eagerly, once,
    and its cache is copied to every row. The step takes the block outputs from `output_hidden_states`, which
    `transformers` keeps compilable; at one position they are no larger than what is read. The hooks that `transformers`
    sets for it stay on the model and do nothing when nobody asks for hidden states.
    """

    def __init__(
        self,
        readout: Readout,
        layers: Sequence[int],
        *,
        lanes: int,
        length: int,
        early_norm: bool = True,
        compiler: Callable[[DecodeStep], DecodeStep] | None = None,
    ) -> None:
        """Prepare rows for `lanes` lanes and texts of at most `length` tokens, the prompt included.

        `compiler` compiles the step; None is `torch.compile`. Raises `UnsupportedModelError` unless every layer of the
        cache is plain attention (sliding-window layers advance a Python counter, which a replayed CUDA graph does not
        update), and unless the step, not compiled, gives the model's own logits.
        """
        self.readout, self.layers, self.early_norm = readout, list(layers), early_norm
        self.lanes, self.length = lanes, length
        self.cache = StaticCache(config=readout.model.config.get_text_config(decoder=True), max_cache_len=length)
        self._step: DecodeStep = self._decode
        self._graph: _Graph | None = None
        # A compiled step does not prepare its inputs, and with it drops no cache where positions change their meaning.
        turns = any(point < length for point in TurningPoints.of(readout.model.config).rope)
        plain = not turns and all(type(layer) is StaticLayer for layer in self.cache.layers)
        if not plain or reading_rules(readout).own_cache or not self._is_true():
            raise UnsupportedModelError(
                f"{model_name(readout.model)} has attention that cannot be compiled here; start without --compile."
            )
        self._step = (compiler or partial(torch.compile, dynamic=False))(self._decode)

    def suits(self, early: Collection[EarlyReadout], lanes: int, length: int) -> bool:
        """Whether a comparison with these read-outs, on so many lanes and tokens, can be decoded in this batch."""
        enough = {one.layer for one in early} <= set(self.layers) and length <= self.length
        return enough and lanes == self.lanes and {one.normed for one in early} <= {self.early_norm}

    def start(self, prompt_ids: list[int], chunk: int | None = None) -> Iterator[int]:
        """Read the prompt eagerly into a cache of one row, and copy that to every row."""
        self.ids = torch.tensor([prompt_ids], device=self.readout.device)
        texts = CachedTexts(self.readout, self.ids, reading_rules(self.readout))
        while chunk and texts.rules.in_chunks and len(prompt_ids) - texts.known > chunk:
            texts.read(texts.known + chunk)
            yield texts.known
        self.logits = read_logits(texts, [(layer, 0) for layer in self.layers], early_norm=self.early_norm)
        self._take_over(cast(Cache, texts.caches[0]))

    @torch.no_grad()
    def _take_over(self, prompt: Cache) -> None:
        self.cache.reset()
        # Plain attention, as the layers of `self.cache` are.
        for number, layer in enumerate(cast("list[DynamicLayer]", prompt.layers)):
            keys, values = (
                cast(Tensor, states).expand(self.lanes, -1, -1, -1) for states in (layer.keys, layer.values)
            )
            self.cache.update(keys, values, number)

    @torch.no_grad()
    def advance(self, parents: list[int], tokens: list[int], row_of: Mapping[int, int]) -> None:
        """Read every lane's token. Lanes on one text read the same one; what an ended lane reads does not matter."""
        device = self.ids.device
        new = torch.tensor(tokens, device=device)[:, None]
        self.ids = torch.cat([self.ids[torch.tensor(parents, device=device)], new], dim=1)
        of_lanes = new[torch.tensor([row_of.get(lane, 0) for lane in range(self.lanes)], device=device)]
        if device.type == "cuda" and self._graph is None and self._step != self._decode:
            layers = cast("list[StaticLayer]", self.cache.layers)
            self._graph = _Graph(self._step, of_lanes, [layer.cumulative_length for layer in layers])
        logits = (self._graph or self._step)(of_lanes)
        lane_of = {row: lane for lane, row in reversed(list(row_of.items()))}
        # The indexing copies: the next step overwrites what this one returned.
        by_lane = logits.view(-1, self.lanes, logits.shape[-1])
        self.logits = by_lane[:, [lane_of[row] for row in range(len(tokens))]].flatten(0, 1)

    def logit_index(self, early: EarlyReadout, row: int) -> int:
        """Index into `logits` of an early read-out for `row`; layer-major, as all layers are read on every row."""
        return self.layers.index(early.layer) * len(self.ids) + row

    def close(self) -> None:
        """Nothing to do: the next comparison overwrites the cache."""

    def _decode(self, ids: Tensor) -> Tensor:
        """One step of all lanes: ids `[lanes, 1]` → logits `[(layers + 1) · lanes, V]`."""
        output = self.readout.decoder(
            input_ids=ids, past_key_values=self.cache, use_cache=True, output_hidden_states=True
        )
        # `hidden_states` begins with the embeddings, and only its last entry is normed.
        early = torch.cat([output.hidden_states[layer][:, -1] for layer in self.layers])
        early = self.readout.norm(early) if self.early_norm else self.readout.raw(early)
        return self.readout.lm_logits(torch.cat([early, output.last_hidden_state[:, -1]]))

    def _is_true(self) -> bool:
        """Whether a prompt and two steps, of lanes that part, give the logits of the model's uncached passes."""
        trial = Trial(self.readout, self.length // 2 if self.length < 16 else 8)
        lanes = torch.arange(self.lanes) % 2
        texts = trial.ids[lanes.tolist()]
        rows = list(dict.fromkeys(lanes.tolist()))
        for _ in self.start(texts[0, : trial.prompt].tolist()):
            pass
        for position in range(trial.prompt, trial.prompt + 2):
            parents = [0] * len(rows) if position == trial.prompt else list(range(len(rows)))
            row_of = {lane: int(row) for lane, row in enumerate(lanes)}
            self.advance(parents, trial.ids[rows, position].tolist(), row_of)
            if not trial.agrees(self.logits[-len(rows) :], self.ids):
                return False
        return True


class _Graph:
    """A step as a CUDA graph, recorded once. Any thread may replay it, unlike those that `torch.compile` makes."""

    WARM_UP = 3

    def __init__(self, step: DecodeStep, ids: Tensor, counters: list[Tensor]) -> None:
        """Record `step`. `counters` are tensors of the cache that a step counts up, which warming up must not."""
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
