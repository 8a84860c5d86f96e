"""One forward pass of the model on a KV cache: token ids in, logits of the wanted layers out."""

import torch
from torch import Tensor
from transformers import DynamicCache

from dola_core.models.readout import Readout
from dola_core.models.workspace import Workspace


@torch.inference_mode()
def prefill(readout: Readout, ids: Tensor, cache: DynamicCache) -> None:
    """Append ids `[1, T]` to the cache without reading any logits."""
    readout.decoder(input_ids=ids, past_key_values=cache, use_cache=True)


@torch.inference_mode()
def forward(
    readout: Readout,
    pairs: list[tuple[int, int]],
    ids: Tensor,
    cache: DynamicCache,
    *,
    early_norm: bool,
    workspace: Workspace | None = None,
) -> Tensor:
    """Read ids `[rows, T]` and return logits of the last position: `[pairs + rows, V]`, float32.

    First come the (layer, row) `pairs`, in their order, then the last layer's read-out of every row.
    """
    layers = list(dict.fromkeys(layer for layer, _ in pairs))
    with readout.capture(layers) as captured:
        output = readout.decoder(input_ids=ids, past_key_values=cache, use_cache=True)
    mature = output.last_hidden_state[:, -1]  # already normed
    early = None
    if pairs:
        early = torch.cat([captured[layer].to(mature.device) for layer in layers])  # [layers · rows, d]
        if len(pairs) < len(early):
            early = early[[layers.index(layer) * len(ids) + row for layer, row in pairs]]
    return joint_logits(readout, early, mature, early_norm=early_norm, workspace=workspace)


def joint_logits(
    readout: Readout, early: Tensor | None, mature: Tensor, *, early_norm: bool, workspace: Workspace | None = None
) -> Tensor:
    """Read early and last layers in one product of the head, which is as large as the vocabulary.

    `early` are block outputs `[K, d]`, `mature` the normed last hidden states `[rows, d]` → `[K + rows, V]`, float32.
    """
    if early is not None and early_norm:
        early = readout.norm(early)
    logits = readout.after_head(readout.phi(mature if early is None else torch.cat([early, mature])))
    if workspace is None or logits.dtype is torch.float32:
        return logits.float()
    return workspace.like("logits", logits).copy_(logits)
