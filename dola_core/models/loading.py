"""Load a model by name or folder, with its tokenizer and a read-out that has proved itself.

Plain `transformers`, no code from repositories. Whatever goes wrong ends in a `LoadError` of one sentence.
"""

import errno
import importlib.util
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from dola_core.errors import LoadError, PresetError, UnsupportedModelError
from dola_core.models.checkpoint import (
    checkpoint_folder,
    damage,
    load_whole,
    unknown_architecture,
    weight_files,
)
from dola_core.models.devices import (
    DTYPES,
    SHORT_NAMES,
    SPLIT,
    device_label,
    fast_dtype,
    find_device,
    out_of_memory,
)
from dola_core.models.identity import model_identity
from dola_core.models.info import ModelInfo
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.preset import Preset
from dola_core.models.reading.proof import reading_rules
from dola_core.models.reading.readout import Readout
from dola_core.paths import SHIPPED_MODEL


def load_model(
    name_or_folder: str | PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    *,
    gpu_later: bool = False,
) -> LoadedModel:
    """Load a causal LM: the shipped one (None), a folder, or a Hub name such as `HuggingFaceTB/SmolLM2-135M`.

    Args:
        name_or_folder: None needs a checkout of the repository; an installed package has no model of its own.
        device: "auto" (CUDA, then Apple's MPS, then CPU), a PyTorch device, or "split" for a model that is spread over
            all GPUs, which needs the package accelerate.
        dtype: "auto", "float32", "bfloat16" or "float16". Auto takes bfloat16 where the hardware computes it fast and
            float32 elsewhere.
        gpu_later: let the read-out prove itself before the model is moved, for a place such as ZeroGPU, where nothing
            can be computed on the GPU while the model is loaded.

    Raises:
        LoadError: an unknown name, no network, a folder without a model, a device or dtype that is not there, too
            little memory, weights that are missing, surplus or damaged, a preset that cannot be used, or an
            architecture that cannot be read layer by layer. The message is one sentence.
    """
    name = str(SHIPPED_MODEL if name_or_folder is None else name_or_folder)
    if name_or_folder is None and not SHIPPED_MODEL.is_dir():
        raise LoadError(
            "No model comes with the installed package; name a folder or a model of the Hugging Face Hub, such as "
            "HuggingFaceTB/SmolLM2-135M."
        )
    split = device == SPLIT
    place = find_device("auto" if split else device)
    if split and importlib.util.find_spec("accelerate") is None:
        raise LoadError("A model is spread over several devices by accelerate; install it: pip install accelerate.")
    if dtype != "auto" and dtype not in DTYPES:
        raise LoadError(f"Unknown dtype {dtype!r}; use auto, {', '.join(DTYPES)}.")
    if Path(name).is_dir() and not Path(name, "config.json").is_file():
        raise LoadError(f"The folder {name} holds no model: it has no config.json.")
    try:
        torch_dtype = fast_dtype(place) if dtype == "auto" else DTYPES[dtype]
        # An explicit False: left open, transformers asks on the terminal whether to run a repository's code.
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        tokenizer = _tokenizer(name)
        where = {"device_map": "auto"} if split else {}
        if Path(name).is_dir():
            weight_files(Path(name), getattr(config, "transformers_weights", None))  # refuses parts that are not there
        model = load_whole(name, config, dtype=torch_dtype, **where)
        if gpu_later:
            reading_rules(Readout.of(model.eval()))
        model = model.eval() if split else cast(Any, model).to(place).eval()
        readout = Readout.of(model)
        reading_rules(readout)
        identity = model_identity(model, tokenizer)
        preset = Preset.of(model, readout.n_layers, identity=identity)
    except (LoadError, UnsupportedModelError, PresetError) as error:
        raise LoadError(str(error)) from error
    except Exception as error:  # broken files fail in as many ways as there are readers of them
        raise LoadError(_reason(name, place, error)) from error
    info = ModelInfo(
        name=Path(name).name if Path(name).is_dir() else name,
        revision=getattr(config, "_commit_hash", None),
        dtype=str(torch_dtype).removeprefix("torch."),
        n_layers=readout.n_layers,
        vocab_size=readout.vocab_size,
        identity=identity,
    )
    title = "Atlas-30L" if Path(name) == SHIPPED_MODEL else info.name
    size = f"{info.n_layers} layers · {info.vocab_size:,} tokens"
    # transformers sets `hf_device_map` only on a model that is spread over several devices.
    count = len({str(part) for part in getattr(model, "hf_device_map", {"": place}).values()})
    label = f"{title} · {size} · {f'{count} × ' if count > 1 else ''}{device_label(place)} {SHORT_NAMES[torch_dtype]}"
    return LoadedModel(model, tokenizer, readout, label, info, preset)


def _tokenizer(name: str) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        if Path(name).is_dir() and not isinstance(error, ImportError):
            raise LoadError(f"The folder {name} holds no tokenizer that transformers can load.") from error
        raise


def _reason(name: str, place: torch.device, error: BaseException) -> str:
    """One sentence for what went wrong while a model was loaded: by the types of errors, and by its files."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(out_of_memory(c) for c in causes):
        return f"{name} does not fit into the memory of {place}; choose a smaller model or another device."
    if any(isinstance(c, OSError) and c.errno in (errno.ENOSPC, errno.EDQUOT) for c in causes):
        return f"{name} cannot be downloaded: the disk is full; make room or set HF_HOME to another folder."
    if any(isinstance(c, GatedRepoError) for c in causes):
        return f"{name} is gated; ask for access on its page and log in with `hf auth login`."
    if any(isinstance(c, (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError)) for c in causes):
        return f"There is no model called {name}; give a folder or a name such as HuggingFaceTB/SmolLM2-135M."
    if isinstance(error, ImportError):
        return f"{name} needs a package that is not installed: {_first_line(error)}"
    return _reason_in_files(name) or _other_reason(name, error, causes)


def _reason_in_files(name: str) -> str | None:
    """What is wrong with the files of the model, if they are here: its config, its architecture or its weights."""
    try:
        config, _ = PreTrainedConfig.get_config_dict(name, local_files_only=True)
        if unknown := unknown_architecture(config):
            return f"{name} {unknown}"
        folder = checkpoint_folder(name, config.get("_commit_hash"))
        return damage(folder, config.get("transformers_weights")) if folder else None
    except LoadError as found:
        return str(found)
    except Exception:  # the files are not here, or cannot be read at all
        return None


def _other_reason(name: str, error: BaseException, causes: list[BaseException]) -> str:
    if Path(name).is_dir():
        return f"The folder {name} holds no causal language model that transformers can load: {_first_line(error)}"
    lacking = [c for c in causes if isinstance(c, EntryNotFoundError)]
    if lacking and not any(isinstance(c, LocalEntryNotFoundError) for c in lacking):
        return f"{name} on the Hugging Face Hub holds no model that transformers can load; choose another."
    if isinstance(error, OSError):
        return f"{name} is neither a folder here nor reachable on the Hugging Face Hub; check the name and the network."
    return f"{name} could not be loaded: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
