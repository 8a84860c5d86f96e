"""What a model reads beside the ids of a prompt that holds images: pixel values, their sizes, and positions."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class ImageInputs:
    """The images of one prompt as its model's processor made them. They are read with the prompt, in the first pass."""

    beside: Mapping[str, Tensor]
    """{argument of the model: tensor}, such as `pixel_values`; of those in `aligned`, `[1, T]`, for each id one."""
    aligned: frozenset[str]
    """The names in `beside` that say something of each id, such as `token_type_ids`."""
    end: int
    """How many ids have to be read in one pass: up to the end of the last image."""
    key: str
    """Hash of the images: prompts with equal ids and equal keys are one prompt."""
    positions: Tensor | None = None
    """Positions of the prompt's ids, `[axes, 1, T]`, for a model that gives each several (M-RoPE): first its place in
    the text, then time, row and column. None for a model that gives each one."""
    shift: int = 0
    """What the model adds to the place of an id behind the prompt to get its position: an image of many ids takes fewer
    positions than ids."""

    @classmethod
    def of(
        cls, model: PreTrainedModel, ids: Tensor, beside: Mapping[str, Tensor], *, end: int, key: str
    ) -> "ImageInputs":
        """The inputs of a prompt with `ids` `[1, T]`, with the positions that `generate` takes for it.

        `beside` is {argument of the model: tensor}. Nothing is moved to another device before it is read.
        """
        aligned = frozenset(name for name, tensor in beside.items() if tensor.shape == ids.shape)
        inputs = cls(beside, aligned, end, key)
        find = getattr(model.base_model, "get_rope_index", None)
        if find is None:
            return inputs
        known = {**beside, "attention_mask": torch.ones_like(ids)}
        accepted = inspect.signature(find).parameters
        positions, shift = find(ids, **{name: known[name] for name in accepted if name in known})
        text = torch.arange(ids.shape[1], device=positions.device).expand(1, 1, -1)
        return cls(beside, aligned, end, key, torch.cat([text, positions]), int(shift))

    def once_read(self) -> "ImageInputs":
        """What is needed of them once the model has read them, without the pixels."""
        return replace(self, beside={}, aligned=frozenset())

    def arguments(self, length: int) -> dict[str, Any]:
        """What the model is given beside the first `length` ids, which may be more than the prompt has."""
        return {
            name: _fitted(tensor, length) if name in self.aligned else tensor for name, tensor in self.beside.items()
        }


def joined_arguments(rows: Sequence[ImageInputs], length: int, device: torch.device) -> dict[str, Tensor]:
    """What a model is given beside the first `length` ids of several prompts, which hold images of equal sizes."""
    of_rows = [inputs.arguments(length) for inputs in rows]
    return {name: torch.cat([arguments[name] for arguments in of_rows]).to(device) for name in of_rows[0]}


def placed(positions: Tensor, rows: Sequence[ImageInputs | None], known: int) -> Tensor:
    """The positions that the model takes for ids which as plain text would have `positions` `[rows, T]`.

    `known` of them are read already. Returns `[rows, T]`, or `[axes, rows, T]` while a prompt is being read whose ids
    have several positions each.
    """
    turned = [inputs.positions for inputs in rows if inputs and inputs.positions is not None]
    shifts = torch.tensor([inputs.shift if inputs else 0 for inputs in rows], device=positions.device)[:, None]
    length = turned[0].shape[-1] if turned else 0
    if known >= length:
        return positions + shifts
    in_prompt = torch.cat(turned, dim=1).to(positions.device)[..., : positions.shape[1]]
    behind = positions[:, length:]
    several = (behind + shifts).expand(len(in_prompt) - 1, -1, -1)
    return torch.cat([in_prompt, torch.cat([behind[None], several])], dim=-1)


def _fitted(aligned: Tensor, length: int) -> Tensor:
    """`[1, T]` → `[1, length]`: what is behind the prompt is text, which is marked by 0."""
    return pad(aligned, (0, length - aligned.shape[1]))
