"""A question as token ids: its prompt as plain text or as a user's turn of a chat, and answers that follow it.

Where the prompt holds an image, answers are read behind the text alone: what stands before it is no part of them.
"""

from dataclasses import dataclass
from typing import Self

from transformers import PreTrainedTokenizerBase

from dola_core.comparison import ChatTurn, Prompt
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.questions.image_files import question_image
from dola_core.layer_search.questions.sample import answer_gap
from dola_core.models.chat_template import ANSWER, turn, user_turn
from dola_core.models.images.image_file import PromptImage
from dola_core.models.images.image_prompts import PromptImages
from dola_core.models.loaded_model import LoadedModel, well_formed


@dataclass(frozen=True)
class QuestionIds:
    """The ids of a prompt, and what turns an answer into ids that follow them."""

    loaded: LoadedModel
    text: str
    """What an answer follows: the prompt without images, or the chat up to where the assistant's answer begins."""
    gap: str
    """What parts an answer from it."""
    chat: bool
    prompt: list[int]
    """The ids of the prompt, images included."""
    images: PromptImages | None = None
    """What the model reads beside them."""

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        prompt: str,
        *,
        chat: bool = False,
        images: tuple[PromptImage, ...] = (),
        blank: bool = False,
    ) -> Self:
        """The ids of a prompt behind its images; with `chat`, as the user's turn of the model's chat template.

        With `blank`, lanes can be without the images.

        Raises `PromptError` if it holds what the model has no token for, or images that the model does not read.
        """
        if images:
            ids, read = loaded.read_prompt(Prompt(prompt, images, ChatTurn() if chat else None), blank=blank)
        else:
            ids, read = loaded.encode(prompt, chat=chat), None
        if not chat:
            return cls(loaded, prompt, answer_gap(prompt), chat, ids, read)
        text = user_turn(loaded.tokenizer, well_formed(prompt), images=len(images))
        gap = _gap_in_chat(loaded.tokenizer, well_formed(prompt), text, len(images))
        return cls(loaded, text, gap, chat, ids, read)

    @classmethod
    def of_item(cls, loaded: LoadedModel, item: Item, *, chat: bool = False, blank: bool = False) -> Self:
        """The ids of a question's prompt, for which its image is opened. Raises `PromptError`."""
        images = (question_image(item.image),) if item.image else ()
        return cls.of(loaded, item.prompt, chat=chat, images=images, blank=blank)

    def answer(self, text: str) -> list[int]:
        """The ids of an answer behind the prompt. Raises `PromptError` if it holds what the model has no token for."""
        answer = self.gap + text
        return self._answer_in_chat(well_formed(answer)) if self.chat else self._answer_in_text(answer)

    def _answer_in_text(self, answer: str) -> list[int]:
        prompt = self.prompt if self.images is None else self.loaded.encode(self.text)
        joint = self.loaded.encode(self.text + answer)
        if joint[: len(prompt)] == prompt and len(joint) > len(prompt):
            return joint[len(prompt) :]
        # The tokenizer merges across the border: encode the answer by itself.
        return self.loaded.text_ids.continuation(answer)

    def _answer_in_chat(self, answer: str) -> list[int]:
        alone = self.loaded.text_ids.continuation(answer)  # raises if it cannot be read
        # Not `encode`: the template has put special tokens where they belong.
        prompt, joint = (
            list(self.loaded.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
            for text in (self.text, self.text + answer)
        )
        if joint[: len(prompt)] != prompt or len(joint) == len(prompt):
            return alone
        self.loaded.text_ids.check_embedded(joint[len(prompt) :])
        return joint[len(prompt) :]


def _gap_in_chat(tokenizer: PreTrainedTokenizerBase, prompt: str, text: str, images: int) -> str:
    """What the template writes between `text`, a chat up to the assistant's answer, and an answer that stands there.

    Where the template does not tell, because it writes past answers in another way, it is as in plain text.
    """
    for user_parts, own_parts in ((True, True), (True, False)) if images else ((False, False), (True, True)):
        turns = [
            turn("user", prompt, as_parts=user_parts, images=images),
            turn("assistant", ANSWER, as_parts=own_parts),
        ]
        try:
            whole = str(tokenizer.apply_chat_template(turns, tokenize=False))
        except MemoryError:
            raise
        except Exception:  # a template raises whatever it likes
            continue
        gap, found, _ = whole.removeprefix(text).partition(ANSWER)
        if whole.startswith(text) and found and not gap.strip():
            return gap
    return answer_gap(text)
