"""Read any layer of a `transformers` causal LM with the model's own final norm `LN_out` and head φ.

A `Readout` finds the model's blocks, final norm and head, turns the hidden state of any block into logits, and captures
hidden states of the last position during a forward pass. It holds references only: the model's classes, weights and
`generate` stay as they are, and hooks exist only inside `with readout.capture(...)`.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dola_core.errors import UnsupportedModelError

NORM_NAMES = ("norm", "final_layernorm", "final_layer_norm", "ln_f")


_PROVED: weakref.WeakSet[PreTrainedModel] = weakref.WeakSet()


def last_position(h: Tensor) -> Tensor:
    """`[rows, T, d]` → `[rows, d]`."""
    return h[:, -1]


@dataclass(frozen=True)
class Readout:
    """The parts of a causal LM that layer contrast needs. Make one with `Readout.of(model)`."""

    model: PreTrainedModel
    decoder: PreTrainedModel
    """The stack of blocks with embeddings and final norm; its `last_hidden_state` is already normed."""
    blocks: nn.ModuleList
    ln_out: nn.Module
    phi: nn.Module
    after_head: Callable[[Tensor], Tensor]
    """What the model does to the head's output: nothing, soft-capping or a scale."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Readout":
        """Find the parts of `model` and prove that they reproduce its logits.

        Raises `UnsupportedModelError` if a part is missing or the proof fails. The proof runs the model twice on four
        tokens; it is done once for each model object.
        """
        if model.config.is_encoder_decoder:
            raise UnsupportedModelError(
                f"{_name(model)} is an encoder–decoder model; layer contrast needs a decoder-only one."
            )
        decoder, phi = model.get_decoder(), model.get_output_embeddings()
        if not isinstance(phi, nn.Module):
            raise UnsupportedModelError(f"{_name(model)} has no language-model head.")
        n_layers = model.config.get_text_config(decoder=True).num_hidden_layers
        blocks = [m for m in decoder.children() if isinstance(m, nn.ModuleList) and len(m) == n_layers]
        if len(blocks) != 1:
            raise UnsupportedModelError(f"{_name(model)} does not keep its {n_layers} blocks in one list.")
        norm = next(
            (getattr(decoder, n) for n in NORM_NAMES if isinstance(getattr(decoder, n, None), nn.Module)),
            None,
        )
        if norm is None:
            raise UnsupportedModelError(f"{_name(model)} has no final norm beside its blocks.")
        readout = cls(model, decoder, blocks[0], norm, phi, _after_head(model))
        if model not in _PROVED:
            readout._prove()
            _PROVED.add(model)
        return readout

    @property
    def n_layers(self) -> int:
        """N, the number of blocks."""
        return len(self.blocks)

    @property
    def device(self) -> torch.device:
        """Device of the input ids. Other parts of a model may lie on other devices, which move their inputs there."""
        device = _weight(self.model.get_input_embeddings()).device
        # Weights that accelerate keeps on disk are on the meta device until they are used.
        return torch.device("cpu") if device.type == "meta" else device

    @property
    def vocab_size(self) -> int:
        """V, the number of logits, which may exceed the tokenizer's entries."""
        return _weight(self.phi).shape[0]

    @property
    def context_length(self) -> int | None:
        """The most positions of a text, or None if the model's config does not say."""
        return getattr(self.model.config.get_text_config(decoder=True), "max_position_embeddings", None)

    def norm(self, h: Tensor) -> Tensor:
        """`LN_out(h)`: `[..., d]` → `[..., d]`. Not for the decoder's own output, which is already normed."""
        return self.ln_out(h)

    def lm_logits(self, h: Tensor) -> Tensor:
        """Logits `φ(h)` of hidden states that are ready for the head: `[..., d]` → `[..., V]`, float32."""
        return self.after_head(self.phi(h)).float()

    def logits(self, h: Tensor, *, early_norm: bool = True) -> Tensor:
        """Logits read from block outputs: `φ(LN_out(h))`, or raw `φ(h)` without the norm; `[..., d]` → `[..., V]`."""
        return self.lm_logits(self.norm(h) if early_norm else h)

    @contextmanager
    def capture(
        self, layers: Iterable[int], *, pick: Callable[[Tensor], Tensor] = last_position
    ) -> Iterator[dict[int, Tensor]]:
        """Collect the outputs of blocks while the body runs the model: {layer: `[rows, d]`}, layers from 1 to N.

        Only the last position is kept, as a copy, so a long prompt costs `[rows, d]` per layer; `pick` may keep other
        parts of `[rows, T, d]`. A later forward pass overwrites an earlier one. Forward passes that other threads run
        on the same model are ignored. The hooks are removed when the body ends, however it ends.
        """
        captured: dict[int, Tensor] = {}
        owner = threading.get_ident()

        def keep(layer: int) -> Callable[..., None]:
            def hook(_module: nn.Module, _args: tuple, output: Tensor | tuple) -> None:
                if threading.get_ident() == owner:
                    h = output[0] if isinstance(output, tuple) else output
                    captured[layer] = pick(h).detach().clone()

            return hook

        handles = [self.blocks[layer - 1].register_forward_hook(keep(layer)) for layer in layers]
        try:
            yield captured
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def head_along(self, layer: int, captured: dict[int, Tensor], *, early_norm: bool) -> Iterator[dict[int, Tensor]]:
        """While the body runs the model, read `layer` in the same product of the head that reads the last layer.

        `captured` is what `capture([layer])` yields. Yields a dictionary that holds {layer: logits `[rows, V]`,
        float32} after each forward pass. The head's weights are as large as the vocabulary and loading them takes
        longer than multiplying, so a second product would cost as much as the first. If the hidden states of a pass do
        not fit together, the pass is left as it is and the dictionary stays empty. The hooks are removed when the body
        ends.
        """
        logits: dict[int, Tensor] = {}
        owner, joined = threading.get_ident(), [False]

        def join(_module: nn.Module, args: tuple) -> tuple | None:
            h = captured.get(layer)
            x = args[0] if len(args) == 1 else None
            joined[0] = (
                threading.get_ident() == owner
                and h is not None and x is not None and x.dim() == 3
                and (x.shape[0], x.shape[2]) == h.shape
            )  # fmt: skip
            if not joined[0] or h is None or x is None:
                return None
            logits.pop(layer, None)
            early = self.norm(h) if early_norm else h
            return (torch.cat([x, early[:, None].to(x)], dim=1),)

        def part(_module: nn.Module, _args: tuple, output: Tensor) -> Tensor | None:
            if not joined[0] or threading.get_ident() != owner:
                return None
            joined[0] = False
            logits[layer] = self.after_head(output[:, -1]).float()
            return output[:, :-1]

        handles = [self.phi.register_forward_pre_hook(join), self.phi.register_forward_hook(part)]
        try:
            yield logits
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def _prove(self) -> None:
        """Reproduce the model's own logits from its last block on probe ids, or raise `UnsupportedModelError`."""
        ids = torch.arange(1, 5, device=self.device)[None] % self.vocab_size
        with self.capture([self.n_layers]) as captured:
            normed = self.decoder(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
        if not _close(self.norm(captured[self.n_layers]), normed):
            raise UnsupportedModelError(
                f"{_name(self.model)} cannot be read layer by layer: its final hidden state is not "
                f"{type(self.ln_out).__name__} of its last block's output."
            )
        with self.capture([self.n_layers]) as captured:
            own = self.model(input_ids=ids, use_cache=False).logits[:, -1]
        read = self.logits(captured[self.n_layers])
        if own.shape != read.shape or not _close(read, own):
            raise UnsupportedModelError(
                f"{_name(self.model)} cannot be read layer by layer: its logits are not its head applied to its normed "
                f"last block (they differ by up to {_difference(read, own)}), so it does something else after its head."
            )


def _after_head(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """What known architectures do to the head's output. If a model does something else, the proof fails."""
    config = model.config.get_text_config(decoder=True)
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
        return lambda logits: torch.tanh(logits / cap) * cap
    if scale := getattr(config, "logit_scale", None):  # Cohere
        return lambda logits: logits * scale
    if scaling := getattr(config, "logits_scaling", None):  # Granite
        return lambda logits: logits / scaling
    return lambda logits: logits


def _close(read: Tensor, own: Tensor) -> bool:
    """Equal up to the rounding of the dtype that the model computes in."""
    tolerance = 1e-4 if own.dtype in (torch.float32, torch.float64) else 2e-2
    own = own.float()
    return bool(((read.float() - own).abs() <= tolerance * own.abs().max().clamp_min(1.0)).all())


def _difference(read: Tensor, own: Tensor) -> str:
    return f"{(read.float() - own.float()).abs().max():.3g}" if read.shape == own.shape else "their shape"


def _weight(module: nn.Module) -> Tensor:
    return cast(Tensor, module.weight)  # of an embedding or a head, which PyTorch does not declare on `Module`


def _name(model: PreTrainedModel) -> str:
    return type(model).__name__
