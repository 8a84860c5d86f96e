"""Find a model's own processor, which turns images and text into what the model reads."""

import inspect
from typing import Any, cast

from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoImageProcessor,
    AutoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING


def find_processor(
    place: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> tuple[ProcessorMixin | None, str]:
    """The processor kept with `model` at `place`, a folder or Hub name, and why there is none where there should be.

    Without torchvision, a processor that reads videos too is put together without that part. If the chat template is
    kept with the processor alone, the tokenizer gets it.
    """
    config = model.config
    known: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING.get(type(config), None)
    if known is not type(model):
        return None, ""
    try:
        processor = AutoProcessor.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # each processor is put together by code of its own
        try:
            processor = _for_images_alone(place, config, tokenizer)
        except Exception as second:  # as above
            worse = second if isinstance(second, ImportError) else error
            return None, " ".join(str(worse).split()).split(". ")[0].removesuffix(".")[:300]
    if not isinstance(processor, ProcessorMixin) or getattr(processor, "image_processor", None) is None:
        return None, "its files hold no settings for images, such as preprocessor_config.json"
    if getattr(processor, "image_token", None) is None:
        return None, "it has no token that stands for an image"
    if not tokenizer.chat_template and getattr(processor, "chat_template", None):
        tokenizer.chat_template = processor.chat_template
    return processor, ""


def _for_images_alone(place: str, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    """The same processor without what reads videos, which needs torchvision and is not used here."""
    whole: Any = PROCESSOR_MAPPING[type(config)]
    # Its constructor would refuse None in a part's place.
    kind = type(whole.__name__, (whole,), {"check_argument_for_proper_class": lambda self, name, part: type(part)})
    settings, _ = whole.get_processor_dict(place)
    parts: dict[str, Any] = {
        "image_processor": AutoImageProcessor.from_pretrained(place, trust_remote_code=False),
        "tokenizer": tokenizer,
        "video_processor": None,
    }
    wanted = [name for name in inspect.signature(whole.__init__).parameters if name in parts]
    return cast(ProcessorMixin, cast(Any, kind).from_args_and_dict([parts[name] for name in wanted], settings))
