"""Turn a prompt with images into ids and what the model reads beside them, by the model's own processor."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from dola_core.errors import PromptError, UnsupportedModelError
from dola_core.models.chat_template import NO_ARGUMENTS, user_turn
from dola_core.models.devices import out_of_memory
from dola_core.models.images.image_file import PromptImage
from dola_core.models.reading.image_inputs import ImageInputs
from dola_core.models.reading.image_proof import prove_images
from dola_core.models.reading.parts import first_line
from dola_core.models.reading.readout import Readout
from dola_core.models.text_ids import TextIds

NOT_BESIDE = ("input_ids", "attention_mask")
"""What a processor gives that is made anew for each pass."""
TRIAL_SIZE, TRIAL_TEXT = (96, 64), "What is this?"
"""The prompt by which it is tried that the model goes on from images as it reads them."""


@dataclass(frozen=True, eq=False)
class PromptImages:
    """The images of one prompt, and how its model reads them."""

    images: tuple[PromptImage, ...]
    span: tuple[int, int]
    """Where their ids stand in the prompt: the first, and that behind the last."""
    inputs: ImageInputs
    _inputs_of: Callable[[tuple[PromptImage, ...]], ImageInputs]

    @cached_property
    def blank(self) -> ImageInputs:
        """What the model reads where the same prompt holds grey images of their sizes."""
        return self._inputs_of(tuple(image.blank() for image in self.images))


class ImagePrompts:
    """Reads prompts with images for one model."""

    def __init__(
        self, readout: Readout, tokenizer: PreTrainedTokenizerBase, processor: ProcessorMixin, text_ids: TextIds
    ) -> None:
        """`processor` is the model's own, as `find_processor` finds it."""
        self.readout, self.tokenizer, self.text_ids = readout, tokenizer, text_ids
        self.processor = cast(Any, processor)
        self._trying, self._processing = threading.Lock(), threading.Lock()
        self._found: str | None = None
        """What the trial found wrong, "" if nothing; None before it."""
        self.mark = str(self.processor.image_token)
        """What stands for an image in a text before the processor has read it."""

    def prompt(self, text: str, images: tuple[PromptImage, ...]) -> tuple[list[int], PromptImages]:
        """Ids of the images and `text`, behind what the tokenizer puts before a text; raises `PromptError`."""
        self._try_once()
        return self._prompt(text, images)

    def _prompt(self, text: str, images: tuple[PromptImage, ...]) -> tuple[list[int], PromptImages]:
        self._check(text)
        alone = self.text_ids.prompt(text)
        own = self.text_ids.continuation(text)
        before = alone[: len(alone) - len(own)] if alone[-len(own) :] == own else []
        return self._read(self._marks(len(images)) + text, images, before)

    def chat(
        self,
        text: str,
        images: tuple[PromptImage, ...],
        system: str = "",
        arguments: Mapping[str, Any] = NO_ARGUMENTS,
    ) -> tuple[list[int], PromptImages]:
        """Ids of the images and `text` as the user's turn of the chat template; raises `PromptError`."""
        self._try_once()
        for each in filter(None, (text, system)):
            self._check(each)
            self.text_ids.continuation(each)
        turn = user_turn(self.tokenizer, text, system, arguments, images=len(images))
        if turn.count(self.mark) != len(images):
            raise PromptError("template_drops_images")
        return self._read(turn, images, [])

    def _try_once(self) -> None:
        """Prove with the first prompt that the model goes on from images as it reads them; raises `PromptError`."""
        with self._trying:
            if self._found is None:
                noise = Image.effect_noise(TRIAL_SIZE, 100).convert("RGB")
                ids, images = self._prompt(TRIAL_TEXT, (PromptImage(noise),))
                try:
                    prove_images(self.readout, ids, images.inputs)
                    self._found = ""
                except UnsupportedModelError as error:
                    self._found = str(error).removesuffix(".")
        if self._found:
            raise PromptError("image_passes", reason=self._found)

    def _check(self, text: str) -> None:
        if self.mark in text:
            raise PromptError("image_mark", texts=f"“{self.mark}”")

    def _marks(self, count: int) -> str:
        """What stands for so many images before a text that is gone on with: as in a chat, if there is a template."""
        if self.tokenizer.chat_template:
            try:
                turn = user_turn(self.tokenizer, "x", images=1)
                other = user_turn(self.tokenizer, "x")
            except PromptError:
                turn = other = ""
            start = next((n for n, (a, b) in enumerate(zip(turn, other, strict=False)) if a != b), 0)
            added = turn[start : start + len(turn) - len(other)]
            if added.count(self.mark) == 1:
                return added * count
        return self.mark * count

    def _read(self, text: str, images: tuple[PromptImage, ...], before: list[int]) -> tuple[list[int], PromptImages]:
        """The ids of a text with marks, behind those `before` it, and its images."""
        ids, beside = self._processed(text, images)
        first, end = self._span(text, ids)
        whole = [*before, *ids]
        self.text_ids.check_embedded(whole)

        def inputs_of(images: tuple[PromptImage, ...], beside: Mapping[str, Tensor] | None = None) -> ImageInputs:
            if beside is None:
                again, beside = self._processed(text, images)
                if again != ids:
                    raise PromptError("image_refused", reason="a grey image of its size takes other tokens")
            return self._inputs(whole, beside, len(before), images, len(before) + end)

        span = (len(before) + first, len(before) + end)
        return whole, PromptImages(images, span, inputs_of(images, beside), inputs_of)

    def _processed(self, text: str, images: Sequence[PromptImage]) -> tuple[list[int], dict[str, Tensor]]:
        """The ids that the processor makes of a text with marks, and the tensors beside them."""
        pixels = [image.pixels for image in images]
        try:
            with self._processing:  # one image takes many times its size meanwhile
                made = self.processor(text=[text], images=pixels, add_special_tokens=False, return_tensors="pt")
        except Exception as error:  # each processor has code of its own, which the image's shape may break
            if out_of_memory(error):
                raise
            raise PromptError("image_refused", reason=first_line(error).removesuffix(".")) from error
        beside = {name: each for name, each in made.items() if isinstance(each, Tensor) and name not in NOT_BESIDE}
        return made["input_ids"][0].tolist(), beside

    def _inputs(
        self, ids: list[int], beside: Mapping[str, Tensor], before: int, images: Sequence[PromptImage], end: int
    ) -> ImageInputs:
        """What the model reads beside all `ids`, of which the processor knew none of the first, `before` in number."""
        known, placed = len(ids) - before, dict[str, Tensor]()
        for name, tensor in beside.items():
            if tensor.shape == (1, known) and not tensor.is_floating_point():
                tensor = torch.nn.functional.pad(tensor, (before, 0))
            placed[name] = tensor.to(self.readout.model.dtype) if tensor.is_floating_point() else tensor
        key = sha256(" ".join(image.sha256 for image in images).encode()).hexdigest()
        return ImageInputs.of(self.readout.model, torch.tensor([ids]), placed, end=end, key=key)

    def _span(self, text: str, ids: list[int]) -> tuple[int, int]:
        """Where the `ids` of a text with marks are those of its images: the first, and that behind the last."""
        plain = list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        mark = self.tokenizer.convert_tokens_to_ids(self.mark)
        places = [place for place, token in enumerate(plain) if token == mark] or [0, len(plain) - 1]
        first, behind = places[0], len(plain) - 1 - places[-1]
        if plain[:first] != ids[:first] or plain[len(plain) - behind :] != ids[len(ids) - behind :]:
            return 0, len(ids)
        return first, len(ids) - behind
