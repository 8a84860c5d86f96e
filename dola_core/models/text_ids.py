"""Text becomes ids here, and nowhere else: prompts, turns of a chat, and answers.

What comes out, a causal LM can go on from: nothing that the tokenizer would put behind the text, its BOS once, and only
ids that the model has an embedding for. A text that has no token for some character is refused. Control characters are
seldom seen by who pastes them, so a program for people may first leave those out, and say so (`without_control`).
"""

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dola_core.errors import PromptError
from dola_core.models.chat_template import NO_ARGUMENTS, user_turn
from dola_core.models.reading.parts import embedded_ids

MAX_NAMED, MAX_LENGTH = 5, 20
"""How many unreadable parts of a text a message names, and how many characters of each."""


def embedded_size(model: PreTrainedModel, vocab_size: int) -> int:
    """How many ids `model` can read and a trace can hold, which holds those of the vocabulary of the logits alone.

    A tokenizer may have more, and some models embed more than they write, such as images.
    """
    return min(vocab_size, embedded_ids(model)) if model.get_input_embeddings() is not None else vocab_size


class TextIds:
    """Turns text into ids of one tokenizer, for a model that has embeddings for the first `size` of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
        self.tokenizer, self.size = tokenizer, size
        self._readable: set[str] = set()
        """Characters that are known to have tokens."""

    def prompt(self, text: str) -> list[int]:
        """Ids of `text` behind what the tokenizer puts before a text, such as its BOS. Raises `PromptError`.

        A BOS that the text begins with is not doubled. What the tokenizer puts behind a text is left out: a model
        would go on behind the end. An end of text that the text itself holds stays.
        """
        own = self._ids(text)
        self._check_readable(text, own)
        whole = list(self.tokenizer(text, verbose=False)["input_ids"])
        start = next((n for n in range(len(whole) - len(own) + 1) if whole[n : n + len(own)] == own), None)
        if start is None:  # special tokens change how this tokenizer reads the text between them
            return self._checked(_without_end(whole, own, set(self.tokenizer.all_special_ids)))
        before = whole[:start]
        while before and own[: len(before)] == before:
            own = own[len(before) :]
        return self._checked([*before, *own])

    def chat(self, prompt: str, system: str = "", arguments: Mapping[str, Any] = NO_ARGUMENTS) -> list[int]:
        """Ids of `prompt` as the user's turn of the chat template, up to where the answer begins; see `user_turn`.

        What stands before and behind the turn is the template's own. Raises `PromptError`.
        """
        for text in filter(None, (prompt, system)):
            self._check_readable(text, self._ids(text))
        return self._checked(self._ids(user_turn(self.tokenizer, prompt, system, arguments)))

    def continuation(self, text: str) -> list[int]:
        """Ids of `text` as it goes on behind another. Raises `PromptError`."""
        ids = self._ids(text)
        self._check_readable(text, ids)
        return self._checked(ids)

    def without_control(self, text: str) -> tuple[str, str]:
        """`text` without the control characters that have no token, and their names: "" where there are none.

        A text of nothing else is kept as it is.
        """
        try:
            self._check_readable(text, self._ids(text))
        except PromptError:
            lost = [c for c in dict.fromkeys(text) if _is_control(c) and c not in self._text(self._known_ids(c))]
            rest = text.translate({ord(c): None for c in lost})
            if rest.strip():
                return rest, _named(lost)
        return text, ""

    def check_embedded(self, ids: Iterable[int]) -> None:
        """Raises `PromptError` if the model has no embedding for one of `ids`."""
        if unknown := [token for token in dict.fromkeys(ids) if not 0 <= token < self.size]:
            texts = [str(self.tokenizer.convert_ids_to_tokens(token) or token) for token in unknown]
            raise PromptError("vocabulary", texts=_named(texts))

    def _ids(self, text: str) -> list[int]:
        """Ids of `text` alone."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _known_ids(self, text: str) -> list[int]:
        """Ids of `text` alone, without those that stand for no text."""
        return [token for token in self._ids(text) if token not in {self.tokenizer.unk_token_id, None}]

    def _text(self, ids: list[int]) -> str:
        """The text of `ids`, special tokens included."""
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def _checked(self, ids: list[int]) -> list[int]:
        """`ids` with one BOS where they begin with several, once they are known to be readable."""
        bos = self.tokenizer.bos_token_id
        while bos is not None and ids[:2] == [bos, bos]:
            ids = ids[1:]
        if not ids:
            raise PromptError("empty")
        self.check_embedded(ids)
        return ids

    def _check_readable(self, text: str, ids: list[int]) -> None:
        """Raises `PromptError` if a part of `text`, whose ids are `ids`, has no token of its own."""
        lost = [c for c in dict.fromkeys(text) if c not in self._readable and not self._has_tokens(c)]
        if lost:  # of those, a character that is part of a longer token is read
            read = self._text([token for token in ids if token is not None])
            lost = [c for c in lost if read.count(c) < text.count(c)]
        unknown = self._unknown(text, ids)
        if lost or unknown:
            raise PromptError("unreadable", texts=_named([*unknown, *lost]))

    def _has_tokens(self, c: str) -> bool:
        """Whether a character leaves something behind when it is read by itself."""
        ids = [token for token in self._ids(c) if token is not None]
        if c.isspace() and not _is_control(c):
            # Many tokenizers only part words at white space. One that reads bytes loses what it has no byte for.
            if not ids and self._reads_bytes:
                return False
        elif c != "\ufffd":
            text = self._text(ids)
            if not text.strip(" ") or "\ufffd" in text:
                return False
        self._readable.add(c)
        return True

    @cached_property
    def _reads_bytes(self) -> bool:
        """Whether the tokenizer keeps all white space, as byte-level BPE does."""
        if not self.tokenizer.is_fast:
            return False
        backend = self.tokenizer.backend_tokenizer
        return "ByteLevel" in str(backend.pre_tokenizer) and "Strip" not in str(backend.normalizer)

    def _unknown(self, text: str, ids: list[int]) -> list[str]:
        """The parts of `text` that are read as the unknown token, or as none."""
        unknown = {self.tokenizer.unk_token_id, None}
        literal = self.tokenizer.unk_token
        if sum(token in unknown for token in ids) <= (text.count(str(literal)) if literal else 0):
            return []
        if self.tokenizer.is_fast:
            encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            places = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
            parts = [text[start:end] for token, (start, end) in places if token in unknown]
        else:
            parts = [word for word in text.split() if unknown & set(self._ids(word))]
        return [part for part in parts if part != literal] or [text]


def _without_end(ids: list[int], own: list[int], special: set[int]) -> list[int]:
    """`ids` of a text without the special tokens behind it that are not its `own`."""
    end = len(ids)
    while end and ids[end - 1] in special and own[-1:] != [ids[end - 1]]:
        end -= 1
    return ids[:end]


def _is_control(c: str) -> bool:
    return unicodedata.category(c) == "Cc" and c not in "\t\n\v\f\r\x85"


def _named(parts: list[str]) -> str:
    """Parts of a text for a message in any language: “☃” (U+2603), U+0007, …"""
    named = list(dict.fromkeys(_name(part.strip() or part) for part in parts))
    return ", ".join(named[:MAX_NAMED]) + (", …" if len(named) > MAX_NAMED else "")


def _name(part: str) -> str:
    codes = " ".join(f"U+{ord(c):04X}" for c in part[:MAX_LENGTH])
    shown = f"“{part if len(part) <= MAX_LENGTH else part[:MAX_LENGTH] + '…'}”"
    if not part.isprintable():
        return codes
    return shown if len(part) > 1 or part.isascii() else f"{shown} ({codes})"
