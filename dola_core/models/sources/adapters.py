"""Adapters of PEFT, such as LoRA: a few weights on top of a base model, which the adapter's config names."""

import importlib.util
import json
from pathlib import Path
from typing import Any, cast

from huggingface_hub import hf_hub_download
from transformers import PreTrainedModel

from dola_core.errors import LoadError
from dola_core.models.checkpoint import weight_files

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model. Raises `LoadError` if it holds both."""
    if not (folder / CONFIG).is_file():
        return False
    if weight_files(folder):
        raise LoadError(
            f"The folder {folder} holds a whole model and an adapter ({CONFIG}); move one of them to a folder of its "
            "own."
        )
    return True


def adapter_on_hub(name: str) -> Path | None:
    """The folder in the Hub's cache with the adapter called `name`, or None if there is none of that name."""
    try:
        folder = Path(hf_hub_download(name, CONFIG)).parent
        for weights in WEIGHTS:
            if (folder / weights).is_file() or _downloaded(name, weights):
                return folder
    except Exception:  # no network, no such name, or not an adapter: the caller knows what it was looking for
        return None
    return None


def _downloaded(name: str, file: str) -> bool:
    try:
        return bool(hf_hub_download(name, file))
    except Exception:  # the other kind of file may be there
        return False


def base_model(folder: Path) -> str:
    """The name of the model that an adapter is for. Raises `LoadError` if its config does not say."""
    try:
        base = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError(f"{folder / CONFIG} does not name the adapter's base model; save the adapter again.") from error
    if not isinstance(base, str) or not base.strip():
        raise LoadError(f"{folder / CONFIG} does not name the adapter's base model; write it there.")
    return base


def check_package() -> None:
    """Raises `LoadError` if PEFT is missing."""
    if importlib.util.find_spec("peft") is None:
        raise LoadError("An adapter needs a package that is not installed: pip install peft.")


def put_on(model: PreTrainedModel, folder: Path) -> None:
    """Load the adapter in `folder` into `model`. Raises `LoadError` if it does not fit whole."""
    try:
        found = cast(Any, model).load_adapter(str(folder))
    except Exception as error:  # PEFT and safetensors have many
        raise LoadError(f"The adapter in {folder} cannot be put on its base model: {_reason(error)}.") from error
    lost = sorted({*found.missing_keys, *found.unexpected_keys, *(key for key, *_ in found.mismatched_keys)})
    if lost:
        raise LoadError(
            f"The adapter in {folder} does not fit its base model ({len(lost):,} of its weights, first {lost[0]}); it "
            "was made for another one."
        )


def adapter_files(folder: Path) -> list[Path]:
    """The adapter's weights, and its config, which says how much they count."""
    return [folder / name for name in (CONFIG, *WEIGHTS) if (folder / name).is_file()]


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
