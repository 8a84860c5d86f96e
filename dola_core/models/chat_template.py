"""A tokenizer's chat template: a prompt as the user's turn, and the token by which the assistant ends its turn.

A template is code that comes with a model. Whatever it raises ends in a `PromptError` with the template's own message.
Nothing bounds how long it runs.
"""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from dola_core.errors import PromptError

Message = dict[str, Any]
MAX_REASON = 200
"""Characters of a template's message that are repeated."""
NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})
RESERVED = frozenset(inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters) | {"messages"}
"""Names that `transformers` itself reads, and a template does not get."""
ANSWER = "forty-two"
"""What the assistant says where its turn's end is looked for."""


def user_turn(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    system: str = "",
    arguments: Mapping[str, Any] = NO_ARGUMENTS,
    *,
    images: int = 0,
) -> str:
    """The chat up to where the assistant's answer begins, with `prompt` as the user's turn, behind so many `images`.

    A `system` prompt comes before it; if it is empty, the template may put its own there. `arguments` are what the
    template reads beside the turns, such as `enable_thinking`. Content is given as text or, if the template fails with
    that or leaves it out, as a list of parts, as templates of models that also read images want it. Raises
    `PromptError` if neither way brings the prompt and the system prompt into the chat.
    """
    if any(name in RESERVED or not name.isidentifier() for name in arguments):
        raise PromptError("template_arguments")
    failure: Exception | None = None
    dropped_system = False
    written: list[tuple[str, str]] = []
    # A text as long as the prompt: a template that only counts characters must not look as if it read them.
    other = ("y" if prompt[0] == "x" else "x") * len(prompt)
    for as_parts in (True,) if images else (False, True):
        before = [turn("system", system, as_parts=as_parts)] if system.strip() else []
        try:
            text, of_other = (
                _render(
                    tokenizer,
                    [*before, turn("user", user, as_parts=as_parts, images=images)],
                    answer=True,
                    arguments=arguments,
                )
                for user in (prompt, other)
            )
        except MemoryError:
            raise
        except Exception as error:  # a template raises whatever it likes
            failure = failure or error
            continue
        if before and system.strip() not in text:
            dropped_system = True
            continue
        if prompt.strip() in text:
            return text
        written.append((text, of_other))
    for text, of_other in written:
        if text != of_other:  # the template rewrites what it is given, such as to capitals
            return text
    if dropped_system:
        raise PromptError("template_drops_system")
    if failure is not None and not written:
        raise PromptError("template", reason=_reason(failure)) from failure
    raise PromptError("template_drops")


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of the special token that follows what the assistant says, or None if the template writes none.

    Where nothing follows the last turn, it is the token that begins the user's next one.
    """
    if not tokenizer.chat_template:
        return None
    ids = {added.content: token for token, added in tokenizer.added_tokens_decoder.items() if added.content.strip()}
    ids |= dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    for last in (True, False):
        for as_parts in (False, True):
            turns = [turn("user", "Hello", as_parts=as_parts), turn("assistant", ANSWER, as_parts=as_parts)]
            turns += [] if last else [turn("user", "Hello", as_parts=as_parts)]
            try:
                text = _render(tokenizer, turns, answer=False)
            except MemoryError:
                raise
            except Exception:  # no answer from this form of the chat
                continue
            _, found, rest = text.rpartition(ANSWER)
            # The longest of those that begin at the same place; before a next turn, only one that follows at once.
            places = [(rest.find(content), -len(content), content) for content in ids if content in rest]
            if found and places and (last or not rest[: min(places)[0]].strip()):
                return ids[min(places)[2]]
    return None


def turn(role: str, text: str, *, as_parts: bool, images: int = 0) -> Message:
    """One turn of a chat; its content is the text, or a list of parts, of which `images` come first."""
    pictures: list[Message] = [{"type": "image"}] * images
    return {"role": role, "content": [*pictures, {"type": "text", "text": text}] if as_parts else text}


def _render(
    tokenizer: PreTrainedTokenizerBase,
    turns: list[Message],
    *,
    answer: bool,
    arguments: Mapping[str, Any] = NO_ARGUMENTS,
) -> str:
    """The text of a chat, up to the assistant's next turn if there is to be an `answer`."""
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answer, **arguments)
    return cast(str, text)


def _reason(error: Exception) -> str:
    """What a template says, without a full stop; the kind of its error if it says nothing."""
    said = " ".join(str(error).split())[:MAX_REASON].removesuffix(".")
    return said or type(error).__name__
