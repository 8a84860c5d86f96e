"""What can be told before anything is measured: whether a model reads the images of all questions, and has room."""

from collections.abc import Mapping, Sequence

from PIL import Image

from dola_core.errors import PromptError, QuestionPromptError, QuestionTooLongError
from dola_core.layer_search.answers.question_ids import QuestionIds
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.questions.image_files import ImageFacts
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.images.image_file import GREY, PromptImage
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.reading.proof import context_length


def check_images(
    loaded: LoadedModel,
    items: Sequence[Item],
    config: SearchConfig,
    facts: Mapping[str, ImageFacts],
    numbers: Sequence[int],
) -> None:
    """Raises `QuestionPromptError` or `QuestionTooLongError` for the first question whose image cannot be read.

    How many tokens an image takes depends on its size alone, so that a grey one of each size is tried. `facts` are
    those of `image_facts`; `numbers` say where the items stand in their file, from 0.
    """
    tokens, context = dict[tuple[int, int], int](), context_length(loaded.readout)
    for number, item in zip(numbers, items, strict=True):
        if item.image is None:
            continue
        size = facts[item.image].size
        try:
            loaded.image_prompts.check(item.prompt)
            text = QuestionIds.of(loaded, item.prompt, chat=config.chat)
            longest = max(len(text.answer(answer)) for answer in (*item.answers, *item.wrong))
            if size not in tokens:
                grey = PromptImage(Image.new("RGB", size, GREY))
                whole = QuestionIds.of(loaded, item.prompt, chat=config.chat, images=(grey,))
                tokens[size] = len(whole.prompt) - len(text.prompt)
            length = len(text.prompt) + tokens[size]
            if context is not None and config.task == "generate" and length >= context:
                raise PromptError("tokens", length, context)
        except PromptError as error:
            raise QuestionPromptError(number + 1, error) from error
        if context is not None and config.task == "mc" and length + longest > context:
            raise QuestionTooLongError(number + 1, length + longest, context)
