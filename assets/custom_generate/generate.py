"""DoLa for `model.generate`: the last layer's next-token distribution, contrasted with that of an earlier layer.

`q_N` is the distribution of the last layer, `q_j` that of layer j, read through the model's own final norm and head.
Tokens with `q_N(x) ≥ α · max q_N` have the score `log q_N − β · log q_j`; all others are out. Layer j is fixed
(DoLa-static), or at each step and for each row the layer of a bucket that differs most from the last (DoLa-dynamic).
After Chuang et al., "DoLa: Decoding by Contrasting Layers Improves Factuality in Large Language Models", ICLR 2024.
"""

import copy
import math
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, LogitsProcessor, LogitsProcessorList, PreTrainedModel

MODES = ("greedy_search", "sample", "beam_search", "beam_sample")
FOR_LOADING = {"cache_dir", "force_download", "local_files_only", "proxies", "repo_type", "revision", "token"}
"""Arguments by which `generate` finds this code on the Hub. It hands them on, and no model knows them."""


def generate(
    inputs: Tensor | None = None,
    *,
    model: PreTrainedModel,
    dola_layer: int | None = None,
    dola_bucket: str | None = None,
    dola_alpha: float = 0.1,
    dola_beta: float = 1.0,
    **kwargs: Any,
) -> Any:
    """Run `model.generate(inputs, **kwargs)` with an earlier layer contrasted; the README explains the arguments.

    Raises `ValueError` for arguments, modes and models that cannot be contrasted.
    """
    refuse(isinstance(kwargs.get("custom_generate"), str), "This model generates with DoLa; drop custom_generate.")
    kwargs = {name: kwargs[name] for name in kwargs.keys() - FOR_LOADING - {"trust_remote_code"}}
    config = copy.deepcopy(kwargs.pop("generation_config", None)) or GenerationConfig()
    config.update(**model.generation_config.to_dict(), defaults_only=True, allow_custom_entries=True)
    kwargs = config.update(**kwargs)
    refuse(config.dola_layers is not None, 'dola_layers is of another DoLa; give dola_layer=22 or dola_bucket="high".')
    refuse(config.cache_implementation == "paged", "DoLa cannot run with continuous batching; use another cache.")
    refuse(config.guidance_scale not in (None, 1), "DoLa works without classifier-free guidance; drop guidance_scale.")
    mode = config.get_generation_mode(kwargs.get("assistant_model")).value
    refuse(mode not in MODES, f"DoLa works with greedy search, sampling and beam search, not with {mode}.")
    config.disable_compile = True  # a compiled pass may leave out hooks

    alpha, beta = number("dola_alpha", dola_alpha, 1), number("dola_beta", dola_beta, 10)
    contrast = LayerContrast(model, dola_layer, dola_bucket, alpha, beta)
    own = kwargs.pop("logits_processor", None) or []
    processors = LogitsProcessorList([TakeLayers(contrast), *own, contrast])
    with contrast.hooked():
        return GenerationMixin.generate(model, inputs, generation_config=config, logits_processor=processors, **kwargs)


class LayerContrast(LogitsProcessor):
    """Scores of the last layer `[rows, V]` → DoLa's log-probabilities `[rows, V]`, each row by itself, in float32.

    `generate` runs it after its own processors, such as the repetition penalty, and before temperature, top-k, top-p.
    Hooks put the normed states of the layers before the head's input and take their logits off the model's output, so
    that whatever the model does after its head, such as a cap, is done to them as well.
    """

    def __init__(self, model: PreTrainedModel, layer: int | None, bucket: str | None, alpha: float, beta: float):
        n = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)
        places = []  # the first norm after the blocks, or else one before them
        for parts in ([*module.children()] for module in model.modules()):
            for at, part in enumerate(parts):
                if isinstance(part, nn.ModuleList) and len(part) == n:
                    places += [(part, m) for m in parts[at:] + parts[:at] if "norm" in type(m).__name__.lower()]
        needed = "it needs a decoder-only model whose head reads the normed output of its last block"
        self.refusal = f"DoLa cannot read the layers of {type(model).__name__} here: {needed}."
        self.model, self.head = model, model.get_output_embeddings()
        refuse(model.config.is_encoder_decoder or self.head is None or not places, self.refusal)
        self.blocks, self.norm = places[0]
        tied = self.head.weight is model.get_input_embeddings().weight
        self.layers, self.beta = chosen_layers(layer, bucket, n, tied=tied), beta
        self.log_alpha = math.log(alpha) if alpha else -math.inf
        self.states: dict[int, Tensor] = {}
        self.rows, self.proved = 0, False
        self.logits: Tensor | None = None
        self.taken: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Contrast one step."""
        refuse(self.taken is None or self.taken.shape[1:] != scores.shape, self.refusal)
        log_q_N, log_q = scores.float().log_softmax(-1), self.taken.to(scores.device).float().log_softmax(-1)
        shared = closeness(log_q_N, log_q)
        least = (shared == shared.amin(0)).int().argmax(0)
        F = log_q_N - self.beta * log_q[least, torch.arange(len(scores), device=scores.device)]
        plausible = log_q_N >= log_q_N.amax(-1, keepdim=True) + self.log_alpha
        return torch.where(plausible, F, -math.inf).log_softmax(-1)

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Read the layers in this thread's passes while the body runs; passes of other threads are left alone."""
        owner, first, n = threading.get_ident(), self.blocks[0], len(self.blocks)

        def keep(layer: int, output: Any) -> None:
            if threading.get_ident() == owner:
                self.states[layer] = (output[0] if isinstance(output, tuple | list) else output)[:, -1:].clone()

        def of_block(layer: int) -> Any:
            return lambda _block, _args, output: keep(layer, output)

        def of_embeddings(_block: nn.Module, args: tuple, named: dict[str, Any]) -> None:
            keep(0, args[0] if args else named["hidden_states"])

        def join(_head: nn.Module, args: tuple) -> tuple | None:
            return (self.joined(args[0]),) if threading.get_ident() == owner else None

        def part(_model: nn.Module, _args: tuple, output: Any) -> None:
            if threading.get_ident() == owner:
                self.part(output)

        handles = [self.blocks[layer - 1].register_forward_hook(of_block(layer)) for layer in {*self.layers, n} - {0}]
        handles.append(first.register_forward_pre_hook(of_embeddings, with_kwargs=True))
        handles.append(self.head.register_forward_pre_hook(join))
        handles.append(self.model.register_forward_hook(part))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def joined(self, x: Tensor) -> Tensor:
        """The head's input at the last position `[rows, 1, d]`, behind the normed states of the layers."""
        x = x[:, -1:]
        refuse(not self.proved and not self.is_read_by_head(x), self.refusal)
        self.proved, self.rows = True, len(x)
        states = torch.cat([self.states[layer].to(x.device) for layer in self.layers])
        return torch.cat([self.norm(states).to(x), x])

    def is_read_by_head(self, x: Tensor) -> bool:
        """Whether the head's input is the normed output of the last block, up to the rounding of its dtype."""
        last, tolerance = self.states.get(len(self.blocks)), 1e-4 if x.dtype in (torch.float32, torch.float64) else 2e-2
        if last is None or last.shape != x.shape or last.shape[-1] != getattr(self.norm, "weight", last).shape[-1]:
            return False
        own = self.norm(last).to(x.device)
        return bool((own - x).abs().max() <= tolerance * x.abs().max())

    def part(self, output: Any) -> None:
        """Keep the logits of the layers `[layers, rows, V]`, and leave the model those of its last layer."""
        rows, logits = self.rows, output.logits
        refuse(not rows or len(logits) != (len(self.layers) + 1) * rows, self.refusal)
        self.logits, output.logits = logits[:-rows, -1].unflatten(0, (len(self.layers), rows)), logits[-rows:]


class TakeLayers(LogitsProcessor):
    """Takes what a pass has left before the caller's processors, which may run the model too. It changes no score."""

    def __init__(self, contrast: LayerContrast):
        self.contrast = contrast

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Take the layers of one step."""
        self.contrast.taken, self.contrast.logits = self.contrast.logits, None
        return scores


def chosen_layers(layer: int | None, bucket: str | None, n: int, *, tied: bool) -> Sequence[int]:
    """The fixed layer, by default three quarters up, or those of the bucket. Layer 0 is the embeddings."""
    refuse(None not in (layer, bucket), "Give dola_layer for a fixed layer or dola_bucket for a chosen one, not both.")
    if bucket is None:
        layer = min(round(0.75 * n), n - 1) if layer is None else layer
        whole = isinstance(layer, Integral) and not isinstance(layer, bool)
        refuse(not whole or not 1 <= layer < n, f"dola_layer must be an integer from 1 to {n - 1}.")
        return (int(layer),)
    start = min(2, n - 1) if tied else 0  # the embeddings of a tied head would give back the token that was read
    layers: Sequence[int] = ()
    if bucket == "low":
        layers = range(start, max(start + 1, n // 2 if n <= 40 else 20), 2)
    elif bucket == "high":
        layers = range(n // 2 if n <= 40 else n - 20, n, 2)
    elif bucket == "all":
        layers = range(1, n)
    elif match := re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4})(?:/([1-9][0-9]{0,3}))?)?", str(bucket)):
        layers = range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1))
    forms = f'low, high, all or a range such as "2-8" or "2-8/2" within 0 to {n - 1}'
    refuse(not isinstance(bucket, str) or not layers or layers[-1] >= n, f"dola_bucket must be {forms}.")
    return layers


def number(name: str, value: Any, most: int) -> float:
    """The value of an argument as a float from 0 to `most`."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    refuse(not real or not 0 <= value <= most, f"{name} must be a number from 0 to {most}.")
    return float(value)


def closeness(log_p: Tensor, log_q: Tensor) -> Tensor:
    """`ln 2` less the Jensen–Shannon divergence, as a sum of positive terms: `[rows, V]`, `[n, rows, V]` → `[n, rows]`.

    So it still tells layers apart that have next to nothing in common with the last.
    """
    log_p, log_q = log_p.clamp_min(-80.0), log_q.clamp_min(-80.0)
    p, q, gap = log_p.exp().expand_as(log_q), log_q.exp(), (log_p - log_q).abs()
    less, more = torch.minimum(p, q), torch.maximum(p, q)
    return 0.5 * (torch.linalg.vecdot(p + q, (less / more).log1p()) + torch.linalg.vecdot(less, gap))


def refuse(wrong: bool, sentence: str) -> None:
    """Raise `ValueError` with a sentence if something is wrong."""
    if wrong:
        raise ValueError(sentence)
