"""Read any layer of a `transformers` causal LM with the model's own final norm `LN_out` and head φ.

A `Readout` turns the hidden state of any block into logits, captures hidden states during a forward pass, and reads
them in the same product of the head that reads the last layer. It holds references only: the model's classes, weights
and `generate` stay as they are, and hooks exist only inside `with readout.capture(...)` and `with
readout.beside_head(...)`.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dola_core.models.reading.parts import Parts, find_parts, input_device

_PARTS: weakref.WeakKeyDictionary[PreTrainedModel, Parts] = weakref.WeakKeyDictionary()


def last_position(h: Tensor) -> Tensor:
    """`[rows, T, d]` → `[rows, d]`."""
    return h[:, -1]


@dataclass(frozen=True)
class Readout:
    """The parts of a causal LM that layer contrast needs. Make one with `Readout.of(model)`."""

    model: PreTrainedModel
    parts: Parts

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Readout":
        """Find the parts of `model` and prove that they reproduce its logits.

        Raises `UnsupportedModelError` if a part is missing or the proof fails. The proof runs the model once on a few
        tokens, and only once for each model object.
        """
        if model not in _PARTS:
            _PARTS[model] = find_parts(model)
        return cls(model, _PARTS[model])

    @property
    def decoder(self) -> nn.Module:
        """The module that keeps the blocks."""
        return self.parts.decoder

    @property
    def blocks(self) -> nn.ModuleList:
        """The model's blocks, layers 1 to N."""
        return self.parts.blocks

    @property
    def ln_out(self) -> nn.Module:
        """The model's final norm `LN_out`; an identity for a model that has none."""
        return self.parts.ln_out

    @property
    def phi(self) -> nn.Module:
        """The model's head φ."""
        return self.parts.phi

    @property
    def n_layers(self) -> int:
        """N, the number of blocks."""
        return len(self.blocks)

    @property
    def device(self) -> torch.device:
        """Device of the input ids. Other parts of a model may lie on other devices, which move their inputs there."""
        return input_device(self.model)

    @property
    def vocab_size(self) -> int:
        """V, the number of logits, which may exceed the tokenizer's entries."""
        return self.parts.after_head.width

    @property
    def is_tied(self) -> bool:
        """Whether the head has the weights of the embeddings."""
        embeddings = self.model.get_input_embeddings()
        return embeddings is not None and getattr(embeddings, "weight", None) is getattr(self.phi, "weight", self)

    @property
    def context_length(self) -> int | None:
        """The most positions of a text, or None if the model's config does not say."""
        return getattr(self.model.config.get_text_config(decoder=True), "max_position_embeddings", None)

    def norm(self, h: Tensor) -> Tensor:
        """`LN_out(h)` of block outputs, ready for the head: `[..., d]` → `[..., d]`."""
        return self._to_head(h, self.parts.path)

    def raw(self, h: Tensor) -> Tensor:
        """Block outputs, ready for the head without the final norm: `[..., d]` → `[..., d]`."""
        return self._to_head(h, tuple(module for module in self.parts.path if module is not self.ln_out))

    def ready(self, h: Tensor, normed: Sequence[bool]) -> Tensor:
        """Block outputs `[K, d]`, ready for the head: through the final norm where `normed` says so."""
        if len(set(normed)) == 1:
            return self.norm(h) if normed[0] else self.raw(h)
        through_norm = torch.tensor(normed, dtype=torch.bool, device=h.device)
        ready = self.raw(h).clone()
        ready[through_norm] = self.norm(h[through_norm])
        return ready

    def _to_head(self, h: Tensor, path: tuple[nn.Module, ...]) -> Tensor:
        if self.parts.streams:  # what joins `[n, S, d]` expects `[rows, T, S, d]`
            h = h[:, None]
        for module in path:
            h = module(h)
        h = h[:, 0] if self.parts.streams else h
        return h if self.parts.scale == 1.0 else h * self.parts.scale

    def lm_logits(self, h: Tensor) -> Tensor:
        """Logits `φ(h)` of hidden states that are ready for the head: `[..., d]` → `[..., V]`, float32."""
        return self.parts.after_head(self.phi(h)).float()

    def logits(self, h: Tensor, *, early_norm: bool = True) -> Tensor:
        """Logits read from block outputs: `φ(LN_out(h))`, or raw `φ(h)` without the norm; `[..., d]` → `[..., V]`."""
        return self.lm_logits(self.norm(h) if early_norm else self.raw(h))

    @contextmanager
    def capture(
        self, layers: Iterable[int], *, pick: Callable[[Tensor], Tensor] = last_position
    ) -> Iterator[dict[int, Tensor]]:
        """Collect the outputs of blocks while the body runs the model: {layer: `[rows, d]`}, layers from 1 to N.

        Layer 0 is what the first block reads: the embeddings.
        Only the last position is kept, as a copy, so a long prompt costs `[rows, d]` per layer; `pick` may keep other
        parts of `[rows, T, d]`. A later forward pass overwrites an earlier one. Forward passes that other threads run
        on the same model are ignored. The hooks are removed when the body ends, however it ends.
        """
        captured: dict[int, Tensor] = {}
        owner = threading.get_ident()

        def keep(layer: int, output: Tensor | tuple | list) -> None:
            if threading.get_ident() == owner:
                h = output[0] if isinstance(output, (tuple, list)) else output
                captured[layer] = pick(h).detach().clone()

        def of_block(layer: int) -> Callable[..., None]:
            return lambda _module, _args, output: keep(layer, output)

        def of_embeddings(_module: nn.Module, args: tuple, named: dict[str, Any]) -> None:
            keep(0, args[0] if args else named["hidden_states"])

        handles = [
            self.blocks[layer - 1].register_forward_hook(of_block(layer))
            if layer
            else self.blocks[0].register_forward_pre_hook(of_embeddings, with_kwargs=True)
            for layer in layers
        ]
        try:
            yield captured
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def beside_head(self, early: Callable[[Tensor], Tensor | None]) -> Iterator["HeadProduct"]:
        """While the body runs the model, read early states in the product of the head that reads the last layer.

        The head's weights are as large as the vocabulary and loading them takes longer than multiplying, so a second
        product would cost as much as the first. When the head is called, `early(x)` gets its input `[rows, d]` at the
        last position and returns states `[K, d]` that are ready for the head, or None to leave the pass as it is. The
        head then computes these and the last position only. Passes of other threads, and of another `beside_head`
        within the body, are left as they are. The hooks are removed when the body ends.
        """
        product, contexts = HeadProduct(), _contexts.products

        def is_active() -> bool:
            return bool(_contexts.products) and _contexts.products[-1] is product

        def join(_module: nn.Module, args: tuple) -> tuple | None:
            if not is_active():
                return None
            product.clear()
            x = args[0]
            last = x[:, -1] if x.dim() == 3 else x
            states = early(last)
            if states is None:
                return None
            product.count, product.positions = len(states), x.dim() == 3
            return (torch.cat([states.to(last), last]),)

        def part(_module: nn.Module, _args: tuple, output: Tensor) -> Tensor | None:
            if not is_active() or product.count is None:
                return None
            product.output = output
            own = output[product.count :]
            return own[:, None] if product.positions else own

        handles = [self.phi.register_forward_pre_hook(join), self.phi.register_forward_hook(part)]
        contexts.append(product)
        try:
            yield product
        finally:
            contexts.remove(product)
            for handle in handles:
                handle.remove()


class HeadProduct:
    """What the head computed in the last pass within `Readout.beside_head`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the last pass."""
        self.count: int | None = None
        """K, the number of states read beside the model's own; None if the pass was left as it is."""
        self.positions = False
        """Whether the model gave the head `[rows, T, d]` rather than `[rows, d]`."""
        self.output: Tensor | None = None
        """The head's output, before what the model does after it: `[K + rows, V]`, the early states first."""

    def take_early(self, readout: Readout) -> Tensor | None:
        """Logits of the early states `[K, V]`, float32, and forget the pass; None if none were read."""
        logits = None
        if self.output is not None:
            logits = readout.parts.after_head(self.output[: self.count]).float()
        self.clear()
        return logits


class _Contexts(threading.local):
    """The `beside_head` contexts that this thread is in. Only the last, the innermost, acts on a pass."""

    def __init__(self) -> None:
        self.products: list[HeadProduct] = []


_contexts = _Contexts()
