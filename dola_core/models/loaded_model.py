"""A model that is ready to compare: the network, its tokenizer, its read-out, and the texts of its tokens."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.convert_slow_tokenizer import bytes_to_unicode

from dola_core.comparison import ChatTurn, Prompt
from dola_core.errors import PromptError
from dola_core.lanes import MAX_PENALTY, MIN_PENALTY
from dola_core.models.chat_template import NO_ARGUMENTS, end_of_turn
from dola_core.models.images.image_file import MAX_IMAGES, PromptImage
from dola_core.models.images.image_prompts import ImagePrompts, PromptImages
from dola_core.models.info import ModelInfo
from dola_core.models.preset import Preset
from dola_core.models.reading.readout import Readout
from dola_core.models.text_ids import TextIds, embedded_size

MAX_PROMPT_CHARACTERS = 200_000


@dataclass(frozen=True)
class LoadedModel:
    """A causal LM with everything that a comparison or a layer search needs. Make one with `load_model`."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    readout: Readout
    label: str
    """One line for people: name · layers · vocabulary · device and dtype."""
    info: ModelInfo
    preset: Preset
    """The j* and α to start with: those recorded with the model, else `default_layer` and 0.1."""
    processor: ProcessorMixin | None = None
    """What prepares images for the model; None if it reads none, or if that cannot be loaded."""
    no_processor: str = ""
    """Why it could not be loaded."""

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The ids that end a text: all that generation config, tokenizer, config and chat template name."""
        config = self.model.config
        generation = self.model.generation_config
        named = _ids(None if generation is None else generation.eos_token_id) + _ids(self.tokenizer.eos_token_id)
        named += _ids(end_of_turn(self.tokenizer))
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        for part in (config, config.get_text_config(decoder=True)):
            # The class of a config has a default that nobody chose for this model, such as Llama's 2.
            default = set(_ids(getattr(type(part), "eos_token_id", None))) - special
            named += tuple(token for token in _ids(getattr(part, "eos_token_id", None)) if token not in default)
            named = named or _ids(getattr(part, "eos_token_id", None))
        return tuple(dict.fromkeys(token for token in named if 0 <= token < self.readout.vocab_size))

    @property
    def repetition_penalty(self) -> float:
        """The repetition penalty that the model's generation config brings, if a lane can have it; 1 is none."""
        generation = self.model.generation_config
        own = (generation.repetition_penalty if generation is not None else None) or 1.0
        return float(min(max(own, MIN_PENALTY), MAX_PENALTY))

    @cached_property
    def continues_word(self) -> Tensor:
        """Bool `[V]`: whether a token continues the word before it, by letters, a hyphen or a part of a letter."""
        special, parts = set(self.tokenizer.all_special_ids), ("<0x", "-", "/")
        pieces = [self.piece(token) for token in range(len(self.tokenizer))]
        continues = [
            token not in special and (piece[:1].isalnum() or piece.startswith(parts))
            for token, piece in enumerate(pieces)
        ]
        return torch.tensor(continues + [False] * (self.readout.vocab_size - len(continues)))

    @property
    def has_chat_template(self) -> bool:
        """Whether a prompt can be put as a turn of a chat."""
        return bool(self.tokenizer.chat_template)

    @cached_property
    def text_ids(self) -> TextIds:
        """What turns text into ids that this model can read."""
        return TextIds(self.tokenizer, embedded_size(self.model, self.readout.vocab_size))

    def encode(
        self,
        prompt: str,
        *,
        chat: bool = False,
        system: str = "",
        template_arguments: Mapping[str, Any] = NO_ARGUMENTS,
    ) -> list[int]:
        """Ids of `prompt` with the tokenizer's BOS, or as the user's turn of its chat template.

        With `chat`, a `system` prompt may come before it, and the template may read `template_arguments`. Raises
        `PromptError` if the prompt is blank or longer than any model reads, if it holds what the model has no token
        for, or if there is no chat template or it fails.
        """
        return self._read(prompt, (), chat, system, template_arguments)[0]

    def read_prompt(self, prompt: Prompt, *, blank: bool = True) -> tuple[list[int], PromptImages | None]:
        """Ids of a prompt as `encode` makes them, behind those of its images, and what the model reads beside these.

        `blank` says whether lanes without the image are to be decoded; preparing grey images for them takes as long
        again. Raises `PromptError` as `encode` does, and if the model does not read the images.
        """
        chat = prompt.chat or ChatTurn()
        how = prompt.chat is not None, chat.system, chat.template_arguments
        return self._read(prompt.text, prompt.images, *how, blank=blank)

    def _read(
        self,
        text: str,
        images: tuple[PromptImage, ...],
        chat: bool,
        system: str,
        arguments: Mapping[str, Any],
        *,
        blank: bool = False,
    ) -> tuple[list[int], PromptImages | None]:
        if not text.strip():
            raise PromptError("empty")
        if (size := len(text) + len(system)) > MAX_PROMPT_CHARACTERS:
            raise PromptError("characters", size, MAX_PROMPT_CHARACTERS)
        prompts = self.image_prompts if images else None
        if len(images) > MAX_IMAGES:
            raise PromptError("image_count", len(images), MAX_IMAGES)
        if chat and not self.has_chat_template:
            raise PromptError("chat")
        text, system = well_formed(text), well_formed(system)
        if prompts:
            if chat:
                return prompts.chat(text, images, system, arguments, blank=blank)
            return prompts.prompt(text, images, blank=blank)
        return self.text_ids.chat(text, system, arguments) if chat else self.text_ids.prompt(text), None

    @property
    def reads_images(self) -> bool:
        """Whether a prompt can hold images."""
        return self.processor is not None

    @cached_property
    def image_prompts(self) -> ImagePrompts:
        """What reads prompts with images; raises `PromptError` for a model that does not."""
        if self.processor is None:
            raise PromptError("image_processor" if self.no_processor else "images", reason=self.no_processor)
        return ImagePrompts(self.readout, self.tokenizer, self.processor, self.text_ids)

    def unread(self, prompt: str) -> str:
        """The control characters of `prompt` that have no token, by name; see `TextIds.without_control`."""
        return self.text_ids.without_control(well_formed(prompt))[1]

    def piece(self, token: int) -> str:
        """The text of one token, with the space before it that SentencePiece tokenizers drop when they decode.

        A token that is only a part of a character is written as its bytes, such as `<0xE2><0x82>`.
        """
        raw = self.tokenizer.convert_ids_to_tokens(token)
        text = self._decode([token])
        if "\ufffd" in text and isinstance(raw, str):
            return _bytes(raw) or text
        return f" {text}" if isinstance(raw, str) and raw.startswith("▁") and not text.startswith(" ") else text

    def text(self, ids: Sequence[int]) -> str:
        """The text of generated ids, without special tokens."""
        text = self._decode(list(ids), skip_special_tokens=True)
        first = next((self.piece(i) for i in ids if i not in self.tokenizer.all_special_ids), "")
        return f" {text}" if first.startswith(" ") and not text.startswith(" ") else text

    def _decode(self, ids: list[int], *, skip_special_tokens: bool = False) -> str:
        """The tokenizer's text of one sequence; of several it would be a list."""
        return cast(
            str,
            self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False),
        )


def _ids(named: int | Sequence[int] | None) -> tuple[int, ...]:
    """The ids that a config names, which may be one, several or none."""
    return () if named is None else (named,) if isinstance(named, int) else tuple(map(int, named))


def well_formed(text: str) -> str:
    """`text` with lone surrogates, which neither UTF-8 nor a tokenizer can hold, replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _bytes(raw: str) -> str:
    """The bytes of a raw vocabulary entry as `<0x..>`, or "" if it does not stand for bytes."""
    if re.fullmatch(r"<0x[0-9A-F]{2}>", raw):
        return raw
    return "".join(f"<0x{_BYTE_OF[c]:02X}>" for c in raw) if all(c in _BYTE_OF for c in raw) else ""


# Byte-level BPE (GPT-2's and everybody's since) writes each byte as one printable character.
_BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}
