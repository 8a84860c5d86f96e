"""Find by trying what layer contrast needs of a causal LM: its blocks, its final norm, its head and what comes after.

One forward pass on a few tokens shows which list of blocks runs, which modules lead from the last block to the head,
and which constant factor turns the head's output into the model's logits. Of a config, only its number of blocks and a
cap are taken by name; of a module, whether its class calls itself a norm.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dola_core.errors import UnsupportedModelError

PROBE_LENGTH = 5
PROBE_VOCABULARY = 4096
MAX_STEPS = 4
"""The most modules between the last block and the head."""


@dataclass(frozen=True)
class Parts:
    """The parts of a causal LM, as one forward pass showed them."""

    decoder: nn.Module
    """The module that keeps the blocks, with the embeddings and often the final norm."""
    blocks: nn.ModuleList
    streams: bool
    """Whether a block's output holds several streams for each token, `[rows, T, S, d]`, which `path` joins."""
    path: tuple[nn.Module, ...]
    """What the model applies to its last block's output, one after the other, before the head. With it the final norm,
    and for some models a projection."""
    ln_out: nn.Module
    """The final norm, which is in `path`; an identity for a model that has none."""
    scale: float
    """The constant factor of the head's input."""
    phi: nn.Module
    after_head: "AfterHead"


@dataclass(frozen=True)
class AfterHead:
    """What the model does to the head's output: a constant factor, then a soft cap, on the first `width` logits."""

    width: int
    factor: float = 1.0
    cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """`[..., V]` → `[..., width]`."""
        if logits.shape[-1] > self.width:
            logits = logits[..., : self.width]
        if self.factor != 1.0:
            logits = logits * self.factor
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


class _Call(NamedTuple):
    """One call of a module in the probe, with its input and output at every position."""

    module: nn.Module
    x: Tensor
    """`[T, d]`"""
    y: Tensor
    """`[T, d]`, or of the head `[T, V]`."""
    streams: bool
    """Whether its output had more dimensions than `[rows, T, d]`."""


def model_name(model: nn.Module) -> str:
    """What messages call a model: the name of its class."""
    return type(model).__name__


def embedding_weight(model: PreTrainedModel) -> Tensor:
    """The weight of the model's input embedding, `[ids, d]`."""
    return cast(Tensor, model.get_input_embeddings().weight)


def embedded_ids(model: PreTrainedModel) -> int:
    """How many ids the model's input embedding holds. The weight of one in few bits has another number of rows."""
    return int(getattr(model.get_input_embeddings(), "num_embeddings", None) or len(embedding_weight(model)))


def input_device(model: PreTrainedModel) -> torch.device:
    """Device of the input ids. Other parts of a model may lie on other devices, which move their inputs there."""
    device = embedding_weight(model).device
    # Weights that accelerate keeps on disk are on the meta device until they are used.
    return torch.device("cpu") if device.type == "meta" else device


def probe_ids(model: PreTrainedModel, *, rows: int, length: int) -> Tensor:
    """Ids `[rows, length]` that stand for text: none that the config reserves, such as an image's placeholder."""
    reserved: set[int] = set()
    for part in (model.config, model.config.get_text_config(decoder=True)):
        for name, value in part.to_dict().items():
            if name.endswith(("_token_id", "_token_index", "_index")):
                reserved.update(v for v in (value if isinstance(value, list) else [value]) if isinstance(v, int))
    plain = [token for token in range(min(embedded_ids(model), PROBE_VOCABULARY)) if token not in reserved]
    choice = torch.randint(len(plain), (rows, length), generator=torch.Generator().manual_seed(0))
    return torch.tensor(plain)[choice].to(input_device(model))


@torch.no_grad()
def find_parts(model: PreTrainedModel) -> Parts:
    """The parts of `model`, which together reproduce its logits; `UnsupportedModelError` if they do not."""
    name = model_name(model)
    if model.config.is_encoder_decoder:
        raise UnsupportedModelError(f"{name} is an encoder–decoder model; layer contrast needs a decoder-only one.")
    phi = model.get_output_embeddings()
    if not isinstance(phi, nn.Module) or not isinstance(getattr(phi, "weight", None), Tensor):
        raise UnsupportedModelError(f"{name} has no language-model head.")
    config = model.config.get_text_config(decoder=True)
    n_layers = getattr(config, "num_hidden_layers", None)
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) > 1]
    # A config may count something else than blocks; then they are the only list that runs.
    lists = [blocks for blocks in lists if len(blocks) == n_layers] or lists
    if not lists:
        raise UnsupportedModelError(f"{name} does not keep its {n_layers} blocks in one list.")
    blocks, calls, own = _probe(model, lists, phi)
    heads = [call for call in calls if call.module is phi]
    if len(heads) != 1:
        raise UnsupportedModelError(f"{name} does not call its head once in a forward pass.")
    check_finite(model, [*(call.y for call in calls if call.module in set(blocks)), heads[0].y])
    path, scale = _path(name, calls, blocks[-1], heads[0].x)
    norms = [module for module in path if _is_norm(module)]
    # A prompt-tuning adapter puts virtual tokens before the text, so what counts are the last positions.
    after_head = _after_head(model, heads[0].y[-len(own) :], own)
    decoder = next(module for module in model.modules() if any(child is blocks for child in module.children()))
    streams = next(call.streams for call in calls if call.module is blocks[-1])
    return Parts(decoder, blocks, streams, path, norms[-1] if norms else nn.Identity(), scale, phi, after_head)


def close(read: Tensor, own: Tensor) -> bool:
    """Whether two results are equal up to the rounding of the dtype that the model computes in."""
    if read.shape != own.shape:
        return False
    tolerance = 1e-4 if own.dtype in (torch.float32, torch.float64) else 2e-2
    own = own.float()
    return bool(((read.float().to(own.device) - own).abs() <= tolerance * own.abs().max().clamp_min(1e-3)).all())


def check_finite(model: nn.Module, results: Sequence[Tensor]) -> None:
    """Raise `UnsupportedModelError` if numbers of a pass are not finite, naming the weight or the dtype at fault."""
    if all(bool(torch.isfinite(result).all()) for result in results):
        return
    name = model_name(model)
    for weight_name, weight in model.named_parameters():
        if weight.device.type != "meta" and weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise UnsupportedModelError(
                f"The weight {weight_name} of {name} holds numbers that are not finite; the checkpoint is damaged."
            )
    dtype = next(model.parameters()).dtype
    advice = "" if dtype == torch.float32 else "; load it in float32"
    raise UnsupportedModelError(
        f"{name} computes numbers that are not finite in {str(dtype).removeprefix('torch.')}{advice}."
    )


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of its message, of at most 200 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _probe(
    model: PreTrainedModel, lists: Sequence[nn.ModuleList], phi: nn.Module
) -> tuple[nn.ModuleList, list[_Call], Tensor]:
    """Run the model on a few tokens: the list of its blocks, the calls of all but their insides, and its logits."""
    name = model_name(model)
    try:
        ids = probe_ids(model, rows=1, length=PROBE_LENGTH)
        with _recorded_calls(model, lists) as calls:
            own = cast(Any, model)(input_ids=ids, use_cache=False).logits[0, -PROBE_LENGTH:]
    except Exception as error:  # a model's own code: anything can come out of it
        raise UnsupportedModelError(f"{name} cannot be run on text alone: {first_line(error)}") from error
    n_layers = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)
    return _blocks(name, lists, [call.module for call in calls], n_layers), calls, own


@contextmanager
def _recorded_calls(model: nn.Module, lists: Sequence[nn.ModuleList]) -> Iterator[list[_Call]]:
    """Record the calls of all modules but the insides of `lists`' blocks, in the order in which they end."""
    calls: list[_Call] = []

    def record(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        y = output[0] if isinstance(output, (tuple, list)) and len(output) else output
        given = [*args, *kwargs.values()]
        x = next((value for value in given if isinstance(value, Tensor) and value.is_floating_point()), None)
        if isinstance(y, Tensor) and y.dim() and x is not None and x.dim():
            flat_x, flat_y = (tensor.detach().flatten(0, -2).clone() for tensor in (x, y))
            calls.append(_Call(module, flat_x, flat_y, streams=y.dim() > 3))

    blocks = [block for blocks in lists for block in blocks]
    inside = {part for block in blocks for part in block.modules() if part is not block}
    handles = [m.register_forward_hook(record, with_kwargs=True) for m in model.modules() if m not in inside]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _blocks(
    name: str, lists: Sequence[nn.ModuleList], order: Sequence[nn.Module], n_layers: int | None
) -> nn.ModuleList:
    """The list whose modules each ran once, one after the other; of several with `n_layers` the one that ended last.

    `order` are the modules that ran, in the order in which they ended.
    """
    several_times = False
    found: list[tuple[int, nn.ModuleList]] = []
    for blocks in lists:
        counts = [sum(module is block for module in order) for block in blocks]
        several_times |= min(counts) > 0 and max(counts) > 1
        if set(counts) == {1}:
            places = [next(i for i, module in enumerate(order) if module is block) for block in blocks]
            if places == sorted(places):
                found.append((places[-1], blocks))
    if len(found) > 1 and len(found[0][1]) != n_layers:
        raise UnsupportedModelError(f"{name} does not keep its blocks in one list.")
    if found:
        return max(found, key=lambda pair: pair[0])[1]
    if several_times:
        raise UnsupportedModelError(f"{name} runs its blocks several times for each token, so no layer has one place.")
    raise UnsupportedModelError(f"{name} has blocks that do not run on text.")


def _path(name: str, calls: Sequence[_Call], last: nn.Module, x: Tensor) -> tuple[tuple[nn.Module, ...], float]:
    """The modules that lead from the `last` block's output to the head's input `x`, and the factor that remains."""
    place = next(index for index, call in enumerate(calls) if call.module is last)
    after = calls[place + 1 :]
    paths: list[tuple[Tensor, tuple[nn.Module, ...]]] = [(calls[place].y, ())]
    for h, path in paths:
        if len(path) < MAX_STEPS:
            paths += [(c.y, (*path, c.module)) for c in after if c.module not in path and close(c.x, h)]
    # First without a factor: where a norm's weights are all alike, its input and output differ by one, too.
    for h, path in paths:
        if close(h, x):
            return path, 1.0
    for h, path in paths:
        if (factor := _factor(h, x)) is not None:
            return path, factor
    raise UnsupportedModelError(
        f"{name} cannot be read layer by layer: no norm beside its blocks leads from its last block to its head."
    )


def _is_norm(module: nn.Module) -> bool:
    """Whether a module between blocks and head is a norm: by its class's name, or as its weights are no matrix."""
    weights = list(module.parameters())
    return "norm" in model_name(module).lower() or (bool(weights) and all(weight.dim() < 2 for weight in weights))


def _factor(read: Tensor, own: Tensor) -> float | None:
    """The constant c for which `own = c · read`, or None; exactly 1 where the two are equal."""
    if close(read, own):
        return 1.0
    if read.shape != own.shape:
        return None
    factor = _fit(read, own.to(read.device))
    return factor if factor and close((read * factor), own) else None


def _fit(a: Tensor, b: Tensor) -> float:
    """The c that makes `c · a` nearest to `b`."""
    a, b = a.double().flatten(), b.double().flatten()
    return float((a @ b) / (a @ a).clamp_min(1e-30))


def _after_head(model: PreTrainedModel, raw: Tensor, own: Tensor) -> AfterHead:
    """What turns the head's output `raw` `[T, V]` into the model's logits `own` `[T, width]`."""
    width = own.shape[-1]
    config = model.config.get_text_config(decoder=True).to_dict()
    numbers = [float(v) for v in config.values() if isinstance(v, (int, float)) and not isinstance(v, bool) and v]
    if width <= raw.shape[-1]:
        raw = raw[..., :width]
        if (factor := _factor(raw, own)) is not None:
            return AfterHead(width, _named(factor, numbers))
        caps = [float(v) for key, v in config.items() if "cap" in key and isinstance(v, (int, float)) and v]
        for cap in caps:
            uncapped = torch.atanh((own.double() / cap).clamp(-1 + 1e-9, 1 - 1e-9)) * cap
            inside = own.abs() < 0.9 * cap  # beyond, rounding hides what was capped
            factor = _named(_fit(raw[inside], uncapped[inside]), numbers) if inside.any() else 1.0
            after = AfterHead(width, factor, cap)
            if close(after(raw), own):
                return after
    raise UnsupportedModelError(
        f"{model_name(model)} cannot be read layer by layer: its logits are not its head applied to its normed "
        "last block, so it does something else after its head."
    )


def _named(factor: float, numbers: Sequence[float]) -> float:
    """`factor` without its rounding, if it is 1, a number of the config, or one divided by such a number."""
    for exact in (1.0, *numbers, *(1 / number for number in numbers)):
        if abs(factor - exact) <= 1e-4 * abs(exact):
            return exact
    return factor
