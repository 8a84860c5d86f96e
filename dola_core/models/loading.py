"""Load a model by name or folder, with its tokenizer and a read-out that has proved itself.

Plain `transformers`, no code from repositories. Whatever goes wrong ends in a `LoadError` of one sentence.
"""

import importlib.util
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from dola_core.decoding.batch import FixedRows
from dola_core.decoding.lockstep import PromptError
from dola_core.decoding.prefix_cache import PrefixMemory
from dola_core.models.preset import Preset
from dola_core.models.readout import Readout, UnsupportedModelError
from dola_core.paths import SHIPPED_MODEL
from dola_core.trace.schema import ModelInfo

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAX_PROMPT_CHARACTERS = 200_000
SPLIT = "split"
"""The device that stands for all GPUs together, a part of the model on each."""
COMPILED_LENGTH = 1024
"""Tokens, the prompt's included, of a comparison that decodes compiled: a step attends to so many places."""


class LoadError(RuntimeError):
    """The model could not be loaded; the message says why and what to do."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to compare."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    readout: Readout
    label: str
    """One line for people: name · layers · vocabulary · device and dtype."""
    info: ModelInfo
    preset: Preset
    """The j* and α to start with: those recorded with the model, else `default_layer` and 0.1."""
    memory: PrefixMemory = field(default_factory=PrefixMemory, compare=False)
    """What the last comparison has read."""
    fixed: FixedRows | None = field(default=None, compare=False)
    """Compiled rows for the baseline and one DoLa lane, or None."""

    @property
    def is_shipped(self) -> bool:
        """Whether it is the model that comes with the project."""
        return Path(self.model.name_or_path) == SHIPPED_MODEL

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The ids that end a text, by the model's generation settings or its tokenizer."""
        ids = self.model.generation_config.eos_token_id
        ids = self.tokenizer.eos_token_id if ids is None else ids
        return tuple(ids) if isinstance(ids, list) else () if ids is None else (ids,)

    @cached_property
    def goes_on(self) -> Tensor:
        """Bool `[V]`: the token would go on with the word before it, by letters, a hyphen or a part of a letter."""
        special, parts = set(self.tokenizer.all_special_ids), ("<0x", "-", "/")
        pieces = [self.piece(token) for token in range(len(self.tokenizer))]
        goes_on = [
            token not in special and (piece[:1].isalnum() or piece.startswith(parts))
            for token, piece in enumerate(pieces)
        ]
        return torch.tensor(goes_on + [False] * (self.readout.vocab_size - len(goes_on)))

    def release(self) -> None:
        """Give back what is kept from the last comparison, and the memory that a GPU's allocator holds for the next."""
        self.memory.forget()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    @property
    def has_chat_template(self) -> bool:
        """Whether prompts can be put as a chat turn."""
        return bool(self.tokenizer.chat_template)

    def encode(self, prompt: str, *, chat: bool = False) -> list[int]:
        """Ids of `prompt` with the tokenizer's BOS, or as the user's turn of its chat template.

        Raises `PromptError` if the prompt is blank or longer than any model reads, or there is no chat template.
        """
        if not prompt.strip():
            raise PromptError("empty")
        if len(prompt) > MAX_PROMPT_CHARACTERS:
            raise PromptError("characters", len(prompt), MAX_PROMPT_CHARACTERS)
        if chat and not self.has_chat_template:
            raise PromptError("chat")
        prompt = well_formed(prompt)
        if not chat:
            return list(self.tokenizer(prompt, verbose=False)["input_ids"])
        turn = [{"role": "user", "content": prompt}]
        return list(self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True)["input_ids"])

    def piece(self, token: int) -> str:
        """The text of one token, with the space before it that SentencePiece tokenizers drop.

        A token that is a part of a character comes out as its bytes, `<0xE2><0x82>`, as SentencePiece writes them.
        """
        raw = self.tokenizer.convert_ids_to_tokens(token)
        text = self.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        if "\ufffd" in text and isinstance(raw, str):
            return _bytes(raw) or text
        return f" {text}" if isinstance(raw, str) and raw.startswith("▁") and not text.startswith(" ") else text

    def text(self, ids: Sequence[int]) -> str:
        """The text of generated ids, without special tokens."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        first = next((self.piece(i) for i in ids if i not in self.tokenizer.all_special_ids), "")
        return f" {text}" if first.startswith(" ") and not text.startswith(" ") else text


def well_formed(text: str) -> str:
    """`text` with lone surrogates, which neither UTF-8 nor a tokenizer can hold, replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _bytes(raw: str) -> str:
    """The bytes of a raw vocabulary entry as `<0x..>`, or "" if it does not look like bytes."""
    if re.fullmatch(r"<0x[0-9A-F]{2}>", raw):
        return raw
    return "".join(f"<0x{_BYTE_OF[c]:02X}>" for c in raw) if all(c in _BYTE_OF for c in raw) else ""


# Byte-level BPE (GPT-2's and everybody's since) writes each byte as one printable character.
_BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}


def load_model(
    name_or_folder: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    *,
    compiled: bool = False,
    gpu_later: bool = False,
) -> LoadedModel:
    """Load a causal LM: the shipped one (None), a folder, or a Hub name such as `HuggingFaceTB/SmolLM2-135M`.

    `device` is "auto" (CUDA, then Apple's MPS, then CPU), a PyTorch device, or "split" for a model that is spread over
    all GPUs, which needs the package accelerate; `dtype` is "auto", "float32", "bfloat16" or "float16". Auto takes
    bfloat16 where the hardware computes it fast and float32 elsewhere. With `compiled`, comparisons of up to
    `COMPILED_LENGTH` tokens decode in `FixedRows`, compiled by the first of them. With `gpu_later`, the read-out proves
    itself before the model is moved, for a place where nothing can be computed on the GPU yet.

    Raises `LoadError` with one sentence for an unknown name, no network, a folder without a model, a device or dtype
    that is not there, too little memory, or an architecture that cannot be read layer by layer.
    """
    name = str(SHIPPED_MODEL if name_or_folder is None else name_or_folder)
    split = device == SPLIT
    place = _device("auto" if split else device)
    if split and importlib.util.find_spec("accelerate") is None:
        raise LoadError("A model is spread over several devices by accelerate; install it: pip install accelerate.")
    if split and compiled:
        raise LoadError("A model that is spread over several devices cannot be compiled; start without --compile.")
    if dtype != "auto" and dtype not in DTYPES:
        raise LoadError(f"Unknown dtype {dtype!r}; use auto, {', '.join(DTYPES)}.")
    if Path(name).is_dir() and not Path(name, "config.json").is_file():
        raise LoadError(f"The folder {name} holds no model: it has no config.json.")
    try:
        torch_dtype = _fast_dtype(place) if dtype == "auto" else DTYPES[dtype]
        # An explicit False: left open, transformers asks on the terminal whether to run a repository's code.
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        tokenizer = _tokenizer(name)
        where = {"device_map": "auto"} if split else {}
        model = _auto_class(config).from_pretrained(name, dtype=torch_dtype, trust_remote_code=False, **where)
        if gpu_later:
            Readout.of(model.eval())
        model = model.eval() if split else model.to(place).eval()
        readout = Readout.of(model)
        preset = Preset.of(model, readout.n_layers)
        length = min(COMPILED_LENGTH, readout.context_length or COMPILED_LENGTH)
        fixed = FixedRows(readout, range(1, readout.n_layers), lanes=2, length=length) if compiled else None
    except (LoadError, UnsupportedModelError) as error:
        raise LoadError(str(error)) from error
    except Exception as error:  # broken files fail in as many ways as there are readers of them
        raise LoadError(_reason(name, place, error)) from error
    info = ModelInfo(
        name=Path(name).name if Path(name).is_dir() else name,
        revision=getattr(config, "_commit_hash", None),
        dtype=str(torch_dtype).removeprefix("torch."),
        n_layers=readout.n_layers,
        vocab_size=readout.vocab_size,
    )
    title = "Atlas-30L" if Path(name) == SHIPPED_MODEL else info.name
    size = f"{info.n_layers} layers · {info.vocab_size:,} tokens"
    # transformers notes places only where there are several.
    count = len({str(part) for part in getattr(model, "hf_device_map", {"": place}).values()})
    label = f"{title} · {size} · {f'{count} × ' if count > 1 else ''}{_device_label(place)} {_SHORT[torch_dtype]}"
    label += " · compiled" if compiled else ""
    return LoadedModel(model, tokenizer, readout, label, info, preset, fixed=fixed)


_SHORT = {torch.float32: "float32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def _auto_class(config: PreTrainedConfig) -> Any:
    """Janus is filed under image-text-to-text; everything else here is a causal LM."""
    return AutoModelForImageTextToText if config.model_type == "janus" else AutoModelForCausalLM


def _device(device: str) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise LoadError(f"There is no device {device!r} here; use auto, cpu, cuda, cuda:0 or split.") from error
    return place


def _device_label(place: torch.device) -> str:
    return torch.cuda.get_device_name(place) if place.type == "cuda" else place.type.upper()


def _fast_dtype(place: torch.device) -> torch.dtype:
    """bfloat16 where a small decoding product really runs faster in it than in float32, else float32."""
    if place.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if place.type != "cpu":
        return torch.float32

    def seconds(dtype: torch.dtype) -> float:
        weight, rows = torch.ones(1024, 1024, dtype=dtype), torch.ones(2, 1024, dtype=dtype)
        best = float("inf")
        for _ in range(40):  # with few, other work on the machine decides, and a page starts in another dtype
            start = time.perf_counter()
            rows @ weight.T
            best = min(best, time.perf_counter() - start)
        return best

    return torch.bfloat16 if seconds(torch.bfloat16) < 0.7 * seconds(torch.float32) else torch.float32


def _tokenizer(name: str) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        if Path(name).is_dir():
            raise LoadError(f"The folder {name} holds no tokenizer that transformers can load.") from error
        raise


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: CUDA and Python say so by type, PyTorch for CPU and MPS only in the text."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(s in str(error) for s in ("can't allocate memory", "out of memory"))


def _reason(name: str, place: torch.device, error: BaseException) -> str:
    """One sentence for what `from_pretrained` raised."""
    causes = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(out_of_memory(c) for c in causes):
        return f"{name} does not fit into the memory of {place}; choose a smaller model or another device."
    if any(isinstance(c, GatedRepoError) for c in causes):
        return f"{name} is gated; ask for access on its page and log in with `hf auth login`."
    if any(isinstance(c, (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError)) for c in causes):
        return f"There is no model called {name}; give a folder or a name such as HuggingFaceTB/SmolLM2-135M."
    text = " ".join(str(c) for c in causes)
    if "trust_remote_code" in text or "does not recognize this architecture" in text or "Unrecognized" in text:
        return f"{name} has an architecture that transformers does not ship; code from repositories is never run."
    if Path(name).is_dir():
        return f"The folder {name} holds no causal language model that transformers can load: {_first_line(error)}"
    if isinstance(error, OSError):
        return f"{name} is neither a folder here nor reachable on the Hugging Face Hub; check the name and the network."
    return f"{name} could not be loaded: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
