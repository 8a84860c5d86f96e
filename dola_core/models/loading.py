"""Load a model by its name, with its tokenizer and a read-out that has proved itself.

Plain `transformers`, no code from repositories. Whatever goes wrong ends in a `LoadError` of one sentence.
"""

import errno
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from dola_core.errors import LoadError, PresetError, PromptError, UnsupportedModelError
from dola_core.files.paths import KNOWN_MODELS, SHIPPED_MODEL
from dola_core.models.checkpoint import checkpoint_folder, damage, unknown_architecture
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
from dola_core.models.images.image_processor import find_processor
from dola_core.models.images.image_prompts import ImagePrompts
from dola_core.models.info import ModelInfo
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.preset import Preset
from dola_core.models.quantising import Quantisation, quantised
from dola_core.models.reading.proof import reading_rules
from dola_core.models.reading.readout import Readout
from dola_core.models.reading.remembered import remembered_rules
from dola_core.models.sources.source import ATLAS, ModelSource, as_adapter, find_source, read_source
from dola_core.models.text_ids import TextIds, embedded_size

Stage = Literal["finding", "reading", "proving", "compiling"]
"""What a model that is being loaded is at: its files are found or made, its weights read, its read-outs proved, and by
whoever wants it its step compiled."""


def load_model(
    name_or_folder: str | PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    *,
    quantize: Quantisation | None = None,
    gpu_later: bool = False,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> LoadedModel:
    """Load a causal LM by its name.

    Args:
        name_or_folder: `smollm2` or `atlas-30l`; a folder with a model, or with a PEFT adapter whose config names its
            base; a GGUF file, by its path or as `owner/repository:file.gguf`; or a Hub name such as
            `HuggingFaceTB/SmolLM2-135M`. None is Atlas-30L, which needs a checkout of the repository.
        device: "auto" (CUDA, then Apple's MPS, then CPU), a PyTorch device, or "split" for a model that is spread over
            all GPUs, which needs the package accelerate.
        dtype: "auto", "float32", "bfloat16" or "float16". Auto takes bfloat16 where the processor has instructions for
            it and float32 elsewhere.
        quantize: "8bit" or "4bit" keeps the weights of linear layers in so few bits, by bitsandbytes; the LM head and
            the norms stay as they are. None keeps all as they are.
        gpu_later: let the read-out prove itself before the model is moved, for a place such as ZeroGPU, where nothing
            can be computed on the GPU while the model is loaded.
        on_stage: called as each stage of loading begins.

    Raises:
        LoadError: an unknown name, no network, a folder without a model, a device or dtype that is not there, too
            little memory, weights that are missing, surplus or damaged, a missing package, a preset that cannot be
            used, or an architecture that cannot be read layer by layer. The message is one sentence.
    """
    name = ATLAS if name_or_folder is None else str(name_or_folder)
    if name == ATLAS and not SHIPPED_MODEL.is_dir():
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
    try:
        torch_dtype = fast_dtype(place) if dtype == "auto" else DTYPES[dtype]
        where: dict[str, Any] = {"device_map": "auto"} if split else {}
        if quantize:
            where = quantised(quantize, torch_dtype, where.get("device_map", {"": place}))
        on_stage("finding")
        source, model, tokenizer = _read(name, place, on_stage, dtype=torch_dtype, **where)
        on_stage("proving")
        if gpu_later:
            reading_rules(Readout.of(model.eval()))
        processor, no_processor = find_processor(source.place, model, tokenizer)
        if gpu_later and processor:
            _try_images(model.eval(), tokenizer, processor)
        model = model.eval() if where else cast(Any, model).to(place).eval()
        readout = Readout.of(model)
        identity = model_identity(model, tokenizer, more=source.files)
        remembered_rules(readout, identity, how=f"{quantize or ''} {device if split else ''}")
        preset = Preset.of(model, readout.n_layers, identity=identity, known=KNOWN_MODELS / source.name)
    except (LoadError, UnsupportedModelError, PresetError) as error:
        if quantize and isinstance(error, UnsupportedModelError):
            raise LoadError(f"{name} does not compute in {quantize} on {place}; leave out quantize.") from error
        raise LoadError(str(error)) from error
    except Exception as error:  # broken files fail in as many ways as there are readers of them
        raise LoadError(_reason(name, place, error)) from error
    info = ModelInfo(
        name=source.name,
        revision=getattr(model.config, "_commit_hash", None),
        dtype=", ".join(part for part in (str(torch_dtype).removeprefix("torch."), quantize) if part),
        n_layers=readout.n_layers,
        vocab_size=readout.vocab_size,
        identity=identity,
        tied=readout.is_tied,
    )
    note = ", ".join(part for part in (source.note, f"{quantize} by bitsandbytes" if quantize else "") if part)
    title = f"{source.title} ({note})" if note else source.title
    size = f"{info.n_layers} layers · {info.vocab_size:,} tokens"
    # transformers sets `hf_device_map` only on a model that is spread over several devices.
    count = len({str(part) for part in getattr(model, "hf_device_map", {"": place}).values()})
    label = f"{title} · {size} · {f'{count} × ' if count > 1 else ''}{device_label(place)} {SHORT_NAMES[torch_dtype]}"
    return LoadedModel(model, tokenizer, readout, label, info, preset, processor, no_processor)


def _try_images(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, processor: ProcessorMixin) -> None:
    """Find out whether the model goes on from images as it reads them; a prompt with one is told what was found."""
    readout = Readout.of(model)
    text_ids = TextIds(tokenizer, embedded_size(model, readout.vocab_size))
    with suppress(PromptError):
        ImagePrompts(readout, tokenizer, processor, text_ids).try_once()


def _read(
    name: str, place: torch.device, on_stage: Callable[[Stage], None], **how: Any
) -> tuple[ModelSource, PreTrainedModel, PreTrainedTokenizerBase]:
    """The source that `name` stands for, its model and its tokenizer."""
    source = find_source(name)
    on_stage("reading")
    try:
        return source, *read_source(source, **how)
    except Exception as error:
        adapter = as_adapter(source) if _lacks_files(_causes(error)) else None
        if adapter is None:
            if source.place == name or isinstance(error, LoadError):
                raise
            reason = _reason(source.place, place, error)
            raise LoadError(f"{reason.removesuffix('.')}{source.otherwise}.") from error
    return adapter, *read_source(adapter, **how)


def _reason(name: str, place: torch.device, error: BaseException) -> str:
    """One sentence for what went wrong while a model was loaded: by the types of errors, and by its files."""
    causes = _causes(error)
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
    if _lacks_files(causes):
        return f"{name} on the Hugging Face Hub holds no model that transformers can load; choose another."
    if isinstance(error, OSError):
        return f"{name} is neither a folder here nor reachable on the Hugging Face Hub; check the name and the network."
    return f"{name} could not be loaded: {_first_line(error)}"


def _causes(error: BaseException) -> list[BaseException]:
    """An error, what it was raised from, and so on."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def _lacks_files(causes: list[BaseException]) -> bool:
    """Whether the Hub was reached and has the repository, without a file that a model needs."""
    lacking = [c for c in causes if isinstance(c, EntryNotFoundError)]
    return bool(lacking) and not any(isinstance(c, LocalEntryNotFoundError) for c in lacking)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
