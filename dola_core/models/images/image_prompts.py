"""Turn a prompt with images into ids and what the model reads beside them, by the model's own processor."""

import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

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
_FOUND: weakref.WeakKeyDictionary[PreTrainedModel, str] = weakref.WeakKeyDictionary()
"""{model: what its trial found wrong, or "" if nothing}"""
TRIAL_SIZE = (96, 64)
"""Of the image by which it is tried that the model goes on from images as it reads them."""


@dataclass(frozen=True, eq=False)
class PromptImages:
    """The images of one prompt, and what its model reads of them: plain data, on the CPU, which can be pickled."""

    images: tuple[PromptImage, ...]
    span: tuple[int, int]
    """Where their ids stand in the prompt: the first, and that behind the last."""
    inputs: ImageInputs
    blank: ImageInputs | None
    """What the model reads where the same prompt holds grey images of their sizes, if that was asked for."""


class ImagePrompts:
    """Reads prompts with images for one model."""

    def __init__(
        self, readout: Readout, tokenizer: PreTrainedTokenizerBase, processor: ProcessorMixin, text_ids: TextIds
    ) -> None:
        """`processor` is the model's own, as `find_processor` finds it."""
        self.readout, self.tokenizer, self.text_ids = readout, tokenizer, text_ids
        self.processor = cast(Any, processor)
        self._trying, self._processing = threading.Lock(), threading.Lock()
        self.mark = str(self.processor.image_token)
        """What stands for an image in a text before the processor has read it."""
        place = getattr(readout.model.config, "image_token_id", None)
        seen = None if place is None else tokenizer.convert_ids_to_tokens(place)
        marks = (self.mark, seen, *(getattr(self.processor, f"{kind}_token", None) for kind in ("video", "audio")))
        self._reserved = tuple(dict.fromkeys(mark for mark in marks if isinstance(mark, str) and mark))
        """What no text may hold: the model would look for an image, a video or a sound in its place."""

    def prompt(
        self, text: str, images: tuple[PromptImage, ...], *, blank: bool = True
    ) -> tuple[list[int], PromptImages]:
        """Ids of the images and `text`, behind what the tokenizer puts before a text; raises `PromptError`."""
        self.try_once()
        self.check(text)
        alone = self.text_ids.prompt(text)
        own = self.text_ids.continuation(text)
        before = alone[: len(alone) - len(own)] if alone[-len(own) :] == own else []
        return self._read(self._marks(len(images)) + text, images, before, blank=blank)

    def chat(
        self,
        text: str,
        images: tuple[PromptImage, ...],
        system: str = "",
        arguments: Mapping[str, Any] = NO_ARGUMENTS,
        *,
        blank: bool = True,
    ) -> tuple[list[int], PromptImages]:
        """Ids of the images and `text` as the user's turn of the chat template; raises `PromptError`."""
        self.try_once()
        for each in filter(None, (text, system)):
            self.check(each)
            self.text_ids.continuation(each)
        turn = user_turn(self.tokenizer, text, system, arguments, images=len(images))
        if turn.count(self.mark) != len(images):
            raise PromptError("template_drops_images")
        return self._read(turn, images, [], blank=blank)

    def try_once(self) -> None:
        """Prove, once for each model object, that it goes on from images as it reads them; raises `PromptError`.

        The first prompt does this by itself. Call it before where the model cannot be run then.
        """
        with self._trying:
            model = self.readout.model
            if model not in _FOUND:
                circle = Image.radial_gradient("L").resize(TRIAL_SIZE)
                image = Image.merge("RGB", (circle, circle.rotate(90), circle.transpose(Image.Transpose.ROTATE_180)))
                try:
                    ids, images = self._read(self._marks(1), (PromptImage(image),), [], blank=False)
                    prove_images(self.readout, ids, images.inputs)
                    _FOUND[model] = ""
                except (PromptError, UnsupportedModelError) as error:
                    _FOUND[model] = str(error).removesuffix(".")
        if reason := _FOUND[model]:
            raise PromptError("image_passes", reason=reason)

    def check(self, text: str) -> None:
        """Raise `PromptError` for a text with a token in whose place the model looks for something seen or heard."""
        if found := [mark for mark in self._reserved if mark in text]:
            raise PromptError("image_mark", texts=f"“{found[0]}”")

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

    def _read(
        self, text: str, images: tuple[PromptImage, ...], before: list[int], *, blank: bool
    ) -> tuple[list[int], PromptImages]:
        """The ids of a text with marks, behind those `before` it, and its images."""
        ids, beside = self._processed(text, images)
        first, end = self._span(text, ids)
        whole = [*before, *ids]
        self.text_ids.check_embedded(whole)

        span = (len(before) + first, len(before) + end)
        read = self._inputs(whole, beside, len(before), images, span[1])
        if not blank:
            return whole, PromptImages(images, span, read, None)
        grey = tuple(image.blank() for image in images)
        again, beside = self._processed(text, grey)
        if again != ids:
            raise PromptError("image_refused", reason="a grey image of its size takes other tokens")
        return whole, PromptImages(images, span, read, self._inputs(whole, beside, len(before), grey, span[1]))

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
        """What the model reads beside `ids`. The first `before` of them were not the processor's, whose tensors begin
        behind them."""
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
