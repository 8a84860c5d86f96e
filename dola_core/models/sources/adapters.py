"""Adapters of PEFT, such as LoRA: a few weights on top of a base model, which the adapter's config names."""

import importlib.util
import json
from pathlib import Path
from typing import Any, cast

from huggingface_hub import hf_hub_download
from transformers import PreTrainedModel

from dola_core.errors import LoadError
from dola_core.models.checkpoint import damage, weight_files
from dola_core.models.quantising import quieten

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
    """The name of the model that an adapter is for. Raises `LoadError` if its config does not say.

    A path that begins with a dot counts from the working folder, as PEFT has it, or from the adapter's if it leads
    nowhere.
    """
    try:
        base = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError(f"{folder / CONFIG} does not name the adapter's base model; save the adapter again.") from error
    if not isinstance(base, str) or not base.strip():
        raise LoadError(f"{folder / CONFIG} does not name the adapter's base model; write it there.")
    if base.startswith(".") and not Path(base).exists() and (folder / base).exists():
        return str(folder / base)
    return base


def check_kind(folder: Path) -> None:
    """Raises `LoadError` if PEFT is missing, does not know an adapter's kind, or if that kind changes no weights.

    Prompt tuning and its like put tokens of their own before a text, which no layer of the base model has read.
    """
    if importlib.util.find_spec("peft") is None:
        raise LoadError("An adapter needs a package that is not installed: pip install peft.")
    quieten()
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PromptLearningConfig

    name = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("peft_type")
    kind = {one.value: config for one, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}.get(name)
    if kind is None:
        raise LoadError(
            f"The adapter in {folder} is of the kind {name!r}, which the installed PEFT does not know; try a later "
            "one: pip install -U peft."
        )
    if issubclass(kind, PromptLearningConfig):
        raise LoadError(
            f"The adapter in {folder} is of the kind {name}, which changes no weights; choose one that does, such as "
            "LoRA."
        )


def put_on(model: PreTrainedModel, folder: Path) -> None:
    """Load the adapter in `folder` into `model`. Raises `LoadError` if it is damaged, or does not fit whole."""
    weights = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise LoadError(f"The adapter in {folder} has no weights ({' or '.join(WEIGHTS)}); save or download it again.")
    if damaged := damage(folder, weights):
        raise LoadError(damaged)
    try:
        found = cast(Any, model).load_adapter(str(folder), ignore_mismatched_sizes=True)
    except Exception as error:  # PEFT has many, such as for the names of modules that the model does not have
        raise LoadError(
            f"The adapter in {folder} cannot be put on a {type(model).__name__}; correct its config or choose the "
            "base that it was made for."
        ) from error
    lost = sorted({*found.missing_keys, *found.unexpected_keys, *(key for key, *_ in found.mismatched_keys)})
    if lost:
        raise LoadError(
            f"The adapter in {folder} does not fit its base model ({len(lost):,} of its weights, first {lost[0]}); "
            "choose the base that it was made for."
        )


def adapter_files(folder: Path) -> list[Path]:
    """The adapter's weights, and its config, which says how much they count."""
    return [folder / name for name in (CONFIG, *WEIGHTS) if (folder / name).is_file()]
