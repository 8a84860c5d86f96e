"""Load a checkpoint whole: every weight that the model has, and none that it has no use for.

`transformers` fills in a missing weight with random numbers and leaves out one that it does not know, without an error.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from dola_core.errors import LoadError

NAMED = 3
"""The most weights that a message names."""
ONE_FILE = ("model.safetensors", "pytorch_model.bin")
GIT_LFS = b"version https://git-lfs"
"""How the text begins that Git leaves in a file's place if Git LFS is not installed."""


class _Fault(NamedTuple):
    """What is not whole about a loaded model."""

    weights: int
    """How many weights are concerned."""
    text: str
    """The end of a sentence that begins with the model's name."""


def load_whole(name: str, config: PreTrainedConfig, *, called: str | None = None, **how: Any) -> PreTrainedModel:
    """The model with `config` and the weights of `name`, a folder or Hub name, loaded as `how` says.

    Messages name it as it is `called`, if it is one file of a folder.

    A checkpoint of text and images is read as the whole model, which completes text alone as well; one of text and
    sound as a text model, if `transformers` has one for it that takes all of its weights.

    Raises `LoadError` if the config is of no model that completes text, or if weights are missing, surplus or of
    another shape. Whatever else `transformers` raises passes through.
    """
    faults = []
    for auto_class in _auto_classes(called or name, config):
        model, info = auto_class.from_pretrained(
            name, trust_remote_code=False, ignore_mismatched_sizes=True, output_loading_info=True, **how
        )
        fault = _fault(model, info)
        if fault is None:
            return model
        faults.append(fault)
        del model  # the next one may need its memory
    least = min(faults, key=lambda fault: fault.weights)
    advice = "download it again" if called else "save or download it again, or correct its config.json"
    raise LoadError(f"{called or name} {least.text}; {advice}.")


def _auto_classes(name: str, config: PreTrainedConfig) -> list[Any]:
    """The classes that may load a model with `config`, the first choice first."""
    for part in (config, config.get_text_config(decoder=True)):
        if part.is_encoder_decoder:
            raise LoadError(f"{name} is an encoder–decoder model; layer contrast needs a decoder-only one.")
    kind = type(config)
    both: list[tuple[Any, Any]] = [
        (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING),
        (AutoModelForMultimodalLM, MODEL_FOR_MULTIMODAL_LM_MAPPING),
    ]
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        both.reverse()
    classes = {mapping[kind]: auto_class for auto_class, mapping in reversed(both) if kind in mapping}
    if not classes:
        raise LoadError(f"{name} is a model of the kind {config.model_type}, which does not complete text.")
    return list(reversed(classes.values()))


def unknown_architecture(config: Mapping[str, Any]) -> str | None:
    """The end of a sentence that says why `transformers` knows no model for a `config.json`'s content, or None."""
    kind = config.get("model_type")
    if kind is None:
        return "has a config.json that does not say which architecture it is of (model_type)."
    if kind not in CONFIG_MAPPING:
        return "has an architecture that transformers does not ship; code from repositories is never run."
    return None


def _fault(model: PreTrainedModel, info: dict[str, Any]) -> _Fault | None:
    """What is wrong with the weights that were loaded, as `transformers` lists it, or None.

    Its lists leave out what a model ignores on purpose, such as tied weights and buffers of older versions.
    """
    mismatched = sorted(info["mismatched_keys"], key=lambda one: _order(one[0]))
    other_shape = {key for key, *_ in mismatched}
    missing = set(info["missing_keys"]) - other_shape
    surplus = {key for key in info["unexpected_keys"] if not _is_extra_layer(key, model.config)}
    kind, texts = type(model).__name__, []
    if missing:
        texts.append(f"lacks {_weights(missing)} of {kind}")
    if mismatched:
        _, stored, needed = mismatched[0]
        texts.append(f"holds {_weights(other_shape)} as {_shape(stored)}, where {kind} here has {_shape(needed)}")
    if surplus:
        texts.append(f"holds {_weights(surplus)} that {kind} here has no place for")
    return _Fault(len(missing | other_shape | surplus), " and ".join(texts)) if texts else None


def _is_extra_layer(key: str, config: PreTrainedConfig) -> bool:
    """Whether a weight is of the layers behind the last, which predict several tokens at once and are not run here."""
    text = config.get_text_config(decoder=True)
    n_layers, extra = getattr(text, "num_hidden_layers", 0), getattr(text, "num_nextn_predict_layers", 0) or 0
    layer = re.search(r"(?:^|\.)layers\.(\d+)\.", key)
    return layer is not None and n_layers <= int(layer[1]) < n_layers + extra


def _weights(keys: Collection[str]) -> str:
    """How many weights there are, and the names of the first."""
    first = sorted(keys, key=_order)[:NAMED]
    number = "the weight" if len(keys) == 1 else f"{len(keys):,} weights"
    more = ", …" if len(keys) > NAMED else ""
    return f"{number} {', '.join(first)}{more}" if len(keys) == 1 else f"{number} ({', '.join(first)}{more})"


def _order(key: str) -> list[tuple[int, str]]:
    """Sorts names with layer 2 before layer 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in key.split(".")]


def _shape(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes)) or "one number"


def checkpoint_folder(name: str, revision: str | None) -> Path | None:
    """The folder with the files of a model: `name` itself, or its snapshot in the Hub's cache; None if not there."""
    if Path(name).is_dir():
        return Path(name)
    file = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(file).parent if isinstance(file, str) else None


def weight_files(folder: Path, explicit: str | None = None) -> list[Path]:
    """The files that `transformers` reads a model's weights from, in its order of preference; empty if there are none.

    `explicit` is the file that the config names, if it names one. Raises `LoadError` if an index is broken, or names
    files that are not there.
    """
    for name in (explicit,) if explicit else ONE_FILE:
        for file in (folder / name, folder / f"{name}.index.json"):
            if not file.is_file():
                continue
            return [file] if file.suffix != ".json" else _files_of_index(file)
    return []


def _files_of_index(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [index.with_name(name) for name in names]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"{index} is damaged: it does not say which file holds which weight.") from error
    lacking = [file.name for file in files if not file.is_file()]
    if lacking:
        raise LoadError(
            f"The folder {index.parent} lacks {len(lacking)} of the {len(files)} files that {index.name} names, first "
            f"{lacking[0]}; download it again."
        )
    return files


def damage(folder: Path, explicit: str | None = None) -> str | None:
    """One sentence for what is wrong with the weight files of a model that could not be loaded, or None.

    Raises `LoadError` as `weight_files` does.
    """
    files = weight_files(folder, explicit)
    if not files:
        return f"The folder {folder} holds no weights: neither {ONE_FILE[0]} nor {ONE_FILE[1]}, whole or in parts."
    for file in files:
        with file.open("rb") as stream:
            if stream.read(len(GIT_LFS)) == GIT_LFS:
                return f"{file} is only a pointer to the weights; fetch them: git lfs pull."
        if not _opens(file):
            return f"{file} is damaged or cut off ({file.stat().st_size:,} bytes); download it again."
    return None


def _opens(file: Path) -> bool:
    """Whether a weight file can be read."""
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="pt"):
                return True
        except SafetensorError:
            return False
    try:
        torch.load(file, map_location="meta", weights_only=True)
    except Exception:  # a damaged pickle can raise anything
        return False
    return True
