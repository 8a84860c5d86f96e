"""A step that can be compiled: fixed rows, in a KV cache whose address and size never change."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import Cache, StaticCache
from transformers.cache_utils import DynamicLayer, StaticLayer

from dola_core.decoding.batch import EarlyReadout
from dola_core.decoding.compiled.compiler import compiled
from dola_core.errors import UnsupportedModelError
from dola_core.models.reading.cached_texts import CachedTexts
from dola_core.models.reading.parts import model_name
from dola_core.models.reading.proof import Trial, reading_rules
from dola_core.models.reading.readout import Readout
from dola_core.models.reading.turning_points import TurningPoints

Decode = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Ids `[rows, 1]`, layers `[rows]` and whether they are normed `[rows]` → what `StaticStep.read` returns."""


class StaticStep:
    """Reads one token a row, again and again, for one comparison after the other, never for two at once.

    It takes the block outputs from `output_hidden_states`, which `transformers` keeps compilable; at one position they
    are no larger than what is read. The hooks that `transformers` sets for it stay on the model and do nothing when
    nobody asks for hidden states.
    """

    def __init__(
        self, readout: Readout, *, rows: int, length: int, compiler: Callable[[Decode], Decode] | None = None
    ) -> None:
        """Prepare rows for texts of at most `length` tokens, the prompt included, and compile the step.

        `compiler` compiles it; None is `compiler.compiled`, which takes a minute or more. Raises
        `UnsupportedModelError` unless every layer of the cache is plain attention (sliding-window layers advance a
        Python counter, which a replayed CUDA graph does not update), unless the step gives the model's own logits
        before and after it is compiled, and where it cannot be compiled, such as without a C++ compiler.
        """
        self.readout, self.rows, self.length = readout, rows, length
        self.cache = StaticCache(config=readout.model.config.get_text_config(decoder=True), max_cache_len=length)
        self._decode: Decode = self._read
        self._graph: _Graph | None = None
        # A compiled step does not prepare its inputs, and with it drops no cache where positions change their meaning.
        turns = any(point < length for point in TurningPoints.of(readout.model.config).rope)
        plain = not turns and all(type(layer) is StaticLayer for layer in self.cache.layers)
        if not plain or reading_rules(readout).own_cache or not self._is_true():
            raise UnsupportedModelError(
                f"{model_name(readout.model)} has attention that cannot be compiled here; start without --compile."
            )
        if compiler:
            self._decode = compiler(self._read)
            return
        self._decode = compiled(self._read, readout.device)
        try:
            is_true = self._is_true()
        except Exception as error:
            what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UnsupportedModelError(f"The model cannot be compiled: {what}; start without --compile.") from error
        if not is_true:
            raise UnsupportedModelError(
                f"Compiled, {model_name(readout.model)} gives other numbers; start without --compile."
            )

    @torch.no_grad()
    def take_over(self, prompt: Cache) -> None:
        """Begin with what a model has cached of one text, in every row."""
        self.cache.reset()
        # Plain attention, as the layers of `self.cache` are.
        for number, layer in enumerate(cast("list[DynamicLayer]", prompt.layers)):
            keys, values = (cast(Tensor, states).expand(self.rows, -1, -1, -1) for states in (layer.keys, layer.values))
            self.cache.update(keys, values, number)

    @torch.no_grad()
    def read(self, ids: Tensor, early: Sequence[EarlyReadout | None]) -> tuple[Tensor, Tensor]:
        """Read a token of every row: ids `[rows, 1]` → logits `[2 · rows, V]`, float32, and states `[N − 1, rows, d]`.

        First come the logits of the `early` read-out of each row, which mean nothing for a row that has none, then
        those of the last layer; the states are the outputs of the layers 1 to N − 1. The next call overwrites both.
        """
        device = ids.device
        layers = torch.tensor([one.layer - 1 if one else 0 for one in early], device=device)
        normed = torch.tensor([bool(one and one.normed) for one in early], device=device)
        if device.type == "cuda" and self._graph is None and self._decode != self._read:
            counters = [layer.cumulative_length for layer in cast("list[StaticLayer]", self.cache.layers)]
            self._graph = _Graph(self._decode, (ids, layers, normed), counters)
        return (self._graph or self._decode)(ids, layers, normed)

    def _read(self, ids: Tensor, layers: Tensor, normed: Tensor) -> tuple[Tensor, Tensor]:
        readout = self.readout
        output = readout.decoder(input_ids=ids, past_key_values=self.cache, use_cache=True, output_hidden_states=True)
        # `hidden_states` begins with the embeddings, and only its last entry is normed.
        states = torch.stack([state[:, -1] for state in output.hidden_states[1:-1]])
        early = states[layers, torch.arange(self.rows, device=ids.device)]
        early = torch.where(normed[:, None], readout.norm(early), readout.raw(early))
        return readout.lm_logits(torch.cat([early, output.last_hidden_state[:, -1]])), states

    def _is_true(self) -> bool:
        """Whether a prompt and two steps, of rows that part, give the logits of the model's uncached passes."""
        trial = Trial(self.readout, self.length // 2 if self.length < 16 else 8)
        texts = CachedTexts(self.readout, trial.ids[:1, : trial.prompt], reading_rules(self.readout))
        texts.read()
        self.take_over(cast(Cache, texts.caches[0]))
        parted = [row % 2 for row in range(self.rows)]
        for position in range(trial.prompt, trial.prompt + 2):
            logits, _ = self.read(trial.ids[parted, position : position + 1], [None] * self.rows)
            if not trial.agrees(logits[self.rows :], trial.ids[parted, : position + 1]):
                return False
        return True


class _Graph:
    """A step as a CUDA graph, recorded once. Any thread may replay it, unlike those that `torch.compile` makes."""

    WARM_UP = 3

    def __init__(self, step: Decode, inputs: tuple[Tensor, Tensor, Tensor], counters: list[Tensor]) -> None:
        """Record `step`. `counters` are tensors of the cache that a step counts up, which warming up must not."""
        before = [counter.clone() for counter in counters]
        self.inputs, self.graph = tuple(one.clone() for one in inputs), torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(self.WARM_UP):
                step(*self.inputs)
                for counter, value in zip(counters, before, strict=True):
                    counter.copy_(value)
        torch.cuda.current_stream().wait_stream(aside)
        with torch.cuda.graph(self.graph):
            self.output = step(*self.inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.output
