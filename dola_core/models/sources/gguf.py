"""Read a model that is kept in a GGUF file, the format of llama.cpp, with its weights as plain numbers again."""

import importlib.util
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    modeling_gguf_pytorch_utils,
)
from transformers.utils import logging

from dola_core.errors import LoadError
from dola_core.models.checkpoint import load_whole
from dola_core.models.sources.gguf_tokenizer import read_tokenizer

MAGIC = b"GGUF"
SUFFIX = ".gguf"
ON_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+):(?P<file>[^:]+\.gguf)", re.IGNORECASE)
"""A GGUF file of a repository on the Hub."""
PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
PACKAGES = ("gguf", "accelerate")
"""What `transformers` needs to read one."""


def is_gguf(name: str) -> bool:
    """Whether a model's name is that of a GGUF file, here or on the Hub."""
    return name.lower().endswith(SUFFIX)


def gguf_file(name: str) -> Path:
    """The GGUF file called `name`: a path, or `owner/repo:file.gguf`, which is downloaded.

    Raises `LoadError` if it is not there, is none, or is a part of several; and whatever huggingface_hub raises.
    """
    file = Path(name).expanduser()
    if not file.exists() and (on_hub := ON_HUB.fullmatch(name)):
        file = Path(hf_hub_download(on_hub["repo"], on_hub["file"]))
    if not file.is_file():
        raise LoadError(f"There is no file {name}; give the path of a GGUF file, or owner/repository:file.gguf.")
    if part := PART.search(file.name):
        raise LoadError(f"{name} is one of {int(part[2])} parts of a model; join them with llama-gguf-split --merge.")
    try:
        with file.open("rb") as stream:
            start = stream.read(len(MAGIC))
    except OSError as error:
        raise LoadError(f"{name} cannot be read: {error.strerror}.") from error
    if start != MAGIC:
        raise LoadError(f"{name} is no GGUF file, or is damaged; download it again.")
    return file


def check_packages() -> None:
    """Raises `LoadError` if a package is missing that reading GGUF files needs."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise LoadError(f"GGUF files need packages that are not installed: pip install {' '.join(missing)}.")


def read_fields(file: Path) -> Mapping[str, Any]:
    """What a GGUF file says about itself, without its lists of tokens and without its weights.

    Raises `LoadError` if the file is damaged.
    """
    import gguf

    try:
        fields = gguf.GGUFReader(str(file)).fields
        return {name: field.contents() for name, field in fields.items() if len(field.data) == 1}
    except Exception as error:  # a damaged file can raise anything
        raise LoadError(f"{file} is damaged or cut off ({file.stat().st_size:,} bytes); download it again.") from error


def quantisation(fields: Mapping[str, Any]) -> str:
    """How the weights are kept in a file with these fields, such as Q4_1, as llama.cpp calls it; empty if unknown."""
    from gguf import LlamaFileType

    try:
        return LlamaFileType(fields["general.file_type"]).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except (KeyError, ValueError):
        return ""


def read_gguf(file: Path, **how: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in a GGUF file, loaded as `how` says, and its tokenizer.

    Raises `LoadError` as the functions above do, or if weights are missing; whatever else `transformers` raises passes.
    """
    check_packages()
    with _quick_and_quiet():
        fields = read_fields(file)
        try:
            config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
        except ValueError as error:
            raise LoadError(
                f"{file} holds a model of the architecture {fields.get('general.architecture')!r}, which transformers "
                "cannot read from a GGUF file; give the model's folder or its name on the Hub."
            ) from error
        tokenizer = read_tokenizer(file, fields)
        # An explicit True: left open, some architectures keep their packed weights.
        how["quantization_config"] = GgufConfig(dequantize=True)
        model = load_whole(str(file.parent), config, called=str(file), gguf_file=file.name, **how)
    return model, tokenizer


@contextmanager
def _quick_and_quiet() -> Iterator[None]:
    """While the body runs, let `transformers` read a file once, and obey its own setting of progress bars.

    It reads all tokens four times, and makes a table of names for each module anew, which takes most of the time.
    """
    import gguf

    bar = partial(modeling_gguf_pytorch_utils.tqdm, disable=not logging.is_progress_bar_enabled())
    with _ONE_AT_A_TIME, ExitStack() as stack:
        for module, name, instead in (
            (gguf, "GGUFReader", cache(gguf.GGUFReader)),
            (gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)),
            (modeling_gguf_pytorch_utils, "tqdm", bar),
        ):
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, instead)
        yield


_ONE_AT_A_TIME = threading.Lock()


def plain_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A model of the same class and weights that does not know that it came from a GGUF file, and so can be saved."""
    document = model.config.to_dict()
    document.pop("quantization_config", None)
    config: PreTrainedConfig = type(model.config).from_dict(document)
    config.architectures = [type(model).__name__]
    with torch.no_grad():
        copy = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    copy.load_state_dict(model.state_dict())
    copy.tie_weights()
    if isinstance(model.generation_config, GenerationConfig):
        copy.generation_config = model.generation_config
    return copy.eval()
