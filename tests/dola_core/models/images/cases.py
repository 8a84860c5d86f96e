"""A prompt with an image for a model of every family, and the slow decoder that lock step must agree with on it."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import AutoModelForImageTextToText, Llama4Config, Mistral3Config, PreTrainedModel

from dola_core.comparison import ChatTurn, Comparison, Prompt
from dola_core.decoding.engine import Engine
from dola_core.lanes import DecodingConfig, DolaStatic, Lane
from dola_core.models.images.image_file import prompt_image
from dola_core.models.images.image_prompts import PromptImages
from dola_core.models.loading import load_model
from dola_core.models.reading.image_inputs import ImageInputs
from dola_core.models.reading.readout import Readout
from tests.dola_core import reference
from tests.dola_core.models.images.families import EYE, FAMILIES, TEXT, picture, save
from tests.dola_core.tiny import engine_of, prepared

IMAGE_TOKEN = 5
SIZE = (84, 60)
"""Of the image: so large that models which turn positions by rows and columns go on from a shifted one."""
BY_HAND = {
    # Their processors need torchvision, so that what they would give is made here.
    "mistral3": (
        lambda: Mistral3Config(
            text_config=TEXT | {"model_type": "mistral", "sliding_window": None},
            vision_config=EYE | {"model_type": "pixtral"},
            image_token_index=IMAGE_TOKEN,
        ),
        {"pixel_values": (1, 3, 32, 32), "image_sizes": [[32, 32]]},
        4,
    ),
    "llama4": (
        lambda: Llama4Config(
            text_config=TEXT | {"intermediate_size_mlp": 48, "num_local_experts": 2},
            vision_config=EYE | {
                "intermediate_size": 64, "vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32
            },
            image_token_index=IMAGE_TOKEN,
        ),
        {"pixel_values": (1, 3, 16, 16)},
        1,
    ),
}  # fmt: skip
"""{family: (its config, what its processor gives, as a shape or as numbers, image tokens)}"""
KINDS = list(dict.fromkeys([*FAMILIES, *BY_HAND]))


@dataclass(frozen=True)
class Case:
    """A prompt with an image, ready to be compared."""

    engine: Engine
    ids: tuple[int, ...]
    images: PromptImages

    @property
    def model(self) -> PreTrainedModel:
        return self.engine.loaded.readout.model

    def comparison(self, lanes: Sequence[Lane], config: DecodingConfig, **more: Any) -> Comparison:
        return Comparison("What is this?", self.ids, tuple(lanes), config, images=self.images, **more)


@cache
def folder(name: str) -> Path:
    """The saved model of a family."""
    return save(name, Path(tempfile.mkdtemp()))


@cache
def loaded(name: str):
    return load_model(folder(name), device="cpu", dtype="float32")


@cache
def case(name: str) -> Case:
    """The case of a family, the same object every time."""
    if name in BY_HAND:
        return _by_hand(name)
    model = loaded(name)
    ids, images = model.read_prompt(Prompt("What is this?", (prompt_image(picture(3, SIZE)),), ChatTurn()))
    return Case(Engine(model), tuple(ids), images)


def _by_hand(name: str) -> Case:
    config, gives, tokens = BY_HAND[name]
    torch.manual_seed(0)
    model = prepared(AutoModelForImageTextToText.from_config(config(), dtype=torch.float32))
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(100, 2000, (1, 8), generator=generator)
    ids[:, 2 : 2 + tokens] = IMAGE_TOKEN
    beside = {
        key: torch.randn(value, generator=generator) if isinstance(value, tuple) else torch.tensor(value)
        for key, value in gives.items()
    }

    def inputs_of(blank: bool) -> ImageInputs:
        shown = {key: each * (0 if each.is_floating_point() and blank else 1) for key, each in beside.items()}
        return ImageInputs.of(model, ids, shown, end=2 + tokens, key="grey" if blank else "seen")

    images = PromptImages((prompt_image(picture(3)),), (2, 2 + tokens), inputs_of(False), inputs_of(True))
    return Case(engine_of(Readout.of(model)), tuple(ids[0].tolist()), images)


class NaiveWithImages:
    """Decodes by running the whole model anew at every step, on the ids and what its processor gave; no cache."""

    def __init__(self, model: PreTrainedModel, beside: dict[str, Tensor], prompt_length: int) -> None:
        self.model, self.beside, self.prompt_length = model, beside, prompt_length
        decoder = model.get_decoder()
        decoder = getattr(decoder, "model", decoder)  # Llama 4's is a whole causal LM
        self.blocks, self.norm = decoder.layers, decoder.norm

    @torch.no_grad()
    def log_qs(self, ids: Sequence[int], *layers: int) -> list[np.ndarray]:
        """Log-probabilities of the last layer, and of each of `layers`, after `ids`: one pass of the whole model."""
        behind = len(ids) - self.prompt_length
        beside = {
            name: pad(each, (0, behind)) if each.shape == (1, self.prompt_length) else each
            for name, each in self.beside.items()
        }
        states: list[Tensor] = []

        def keep(module: torch.nn.Module, args: object, output: Any) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)

        hooks = [self.blocks[layer - 1].register_forward_hook(keep) for layer in sorted(layers)]
        try:
            whole = torch.tensor([ids])
            logits = self.model(
                input_ids=whole, attention_mask=torch.ones_like(whole), use_cache=False, **beside
            ).logits[0, -1]
        finally:
            for hook in hooks:
                hook.remove()
        in_order = dict(zip(sorted(layers), states, strict=True))
        early = [self.model.get_output_embeddings()(self.norm(in_order[layer][:, -1]))[0] for layer in layers]
        return [reference.log_softmax(each.double().numpy()) for each in (logits, *early)]

    def scores(self, ids: Sequence[int], lane: Lane) -> np.ndarray:
        """What a plain lane, or one of DoLa-static, decodes from after `ids`."""
        if not isinstance(lane, DolaStatic):
            return self.log_qs(ids)[0]
        return reference.contrast(*self.log_qs(ids, lane.layer), lane.alpha, lane.beta)
