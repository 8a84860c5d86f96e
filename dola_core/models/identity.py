"""What tells a model from every other one: a hash of all its weights, and one of its tokenizer and chat template.

The weights count as they lie in the files, whatever dtype they are loaded in. A model that came from no file, or that
may have been changed in memory, is hashed there.
"""

import hashlib
import json
import mmap
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from os import cpu_count
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import cached_assets_path
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dola_core.files.writing import write_atomically
from dola_core.models.checkpoint import checkpoint_folder, weight_files
from dola_core.models.sources.converted import converted_from

WEIGHTS_DIGITS, TEXT_DIGITS = 24, 16
"""Hex digits of the two parts of an identity, as `info.IDENTITY_PATTERN` has them."""
PROBES = (
    "",
    "Hello, world!",
    " Two  spaces\tand a\nnew line \r\n\n",
    "UPPER lower Title camelCase snake_case",
    "don't we'll",
    "3.14159 1,000,000 ½ ² 2026-11-26",
    "naïve façade Ångström \ufb01 \uff21 e\u0301",
    "你好，世界。 こんにちは 안녕 שלום",
    "\U0001f642\U0001f469\u200d\U0001f467 \u200b\ufeff\x00\x7f",
    "def f(x):\n    return x**2  # {'a': [1, 2]}",
    "https://example.org/?q=a&b=c",
    "<s>[INST] </s> <|im_end|> <pad> <unk>",
    "...---___===***",
)
"""Texts that tokenizers with other rules read as other ids."""
MODULUS = 1 << 256
BLOCK = 1 << 24
"""Bytes of a file without tensors of its own that are read at a time."""


def model_identity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, more: Sequence[Path] = ()) -> str:
    """The identity of a model that was just loaded: of its weights, a hyphen, and of its tokenizer and template.

    `more` are files that its weights came from beside those in its folder: a GGUF file, which stands for all of them,
    or an adapter's.
    """
    return f"{weights_identity(model, more=more)}-{text_identity(tokenizer)}"


def weights_identity(model: PreTrainedModel, *, more: Sequence[Path] = ()) -> str:
    """Hash of the weights in the files that `model` came from, else of those in memory; `more` as `model_identity`.

    Hashing reads 1 to 2 GB a second. What was found for a file is kept in the user's cache until it changes. A folder
    that was converted from another file counts as that file.
    """
    config, name = model.config, model.name_or_path
    folder = checkpoint_folder(name, getattr(config, "_commit_hash", None)) if name else None
    if any(file.suffix.lower() == ".gguf" for file in more):
        return _short(sum(map(_file_sum, more)))
    # An adapter on top of the weights is in no file that is known here, unless it is named.
    known = bool(more) or not hasattr(model, "peft_config")
    files = weight_files(folder, getattr(config, "transformers_weights", None)) if folder and known else []
    if files and folder:
        origin = converted_from(folder)
        own = int(origin, 16) if origin else sum(map(_file_sum, files))
        return _short(own + sum(map(_file_sum, more)))
    return memory_identity(model)


def memory_identity(model: PreTrainedModel) -> str:
    """Hash of the weights as they are in memory now, in the dtype that they have there."""
    return _short(_tensor_sum(partial(_hash_tensor, name, tensor) for name, tensor in model.state_dict().items()))


def text_identity(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of what turns text into ids: vocabulary, rules, special tokens and chat template.

    Rules count by the ids of `PROBES`, not as a library writes them down, which changes from version to version.
    """
    model = _backend_model(tokenizer)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model.get("merges") or ()]
    parts = [
        sorted(tokenizer.get_vocab().items()),
        merges,
        model["vocab"] if isinstance(model.get("vocab"), list) else [],  # of a unigram model, with scores
        {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        tokenizer.chat_template,
        [_ids_of(tokenizer, text) for text in PROBES],
    ]
    document = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=repr)
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()[:TEXT_DIGITS]


def _backend_model(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What a tokenizer of the library tokenizers has learned; nothing of one in Python, or with a part in Python."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    try:
        return json.loads(backend.to_str())["model"] if backend is not None else {}
    except Exception:  # the library raises this class itself
        return {}


def _ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of one probe, or none where the tokenizer cannot read it."""
    try:
        return list(tokenizer(text)["input_ids"])
    except Exception:  # a tokenizer in Python: anything can come out of it
        return []


def _short(total: int) -> str:
    return f"{total % MODULUS:064x}"[:WEIGHTS_DIGITS]


def _tensor_sum(hashes: Iterable[Callable[[], int]]) -> int:
    """The sum of the tensors' hashes, each with its name: the same however tensors are ordered or spread over files."""
    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:  # hashlib lets other threads run
        return sum(pool.map(lambda tensor_hash: tensor_hash(), hashes))


def _hash_tensor(name: str, tensor: Any) -> int:
    if not isinstance(tensor, Tensor):  # extra state of a module
        return _hash(name, "", (), repr(tensor).encode())
    shape, dtype = tuple(tensor.shape), str(tensor.dtype)
    if tensor.device.type == "meta":  # weights that accelerate keeps on disk
        return _hash(name, dtype, shape, b"")
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return _hash(name, dtype, shape, flat.view(torch.uint8).numpy().data if flat.numel() else b"")


def _hash(name: str, dtype: str, shape: Sequence[int], content: bytes | memoryview) -> int:
    digest = hashlib.sha256(json.dumps([name, dtype, list(shape)]).encode())
    digest.update(content)
    return int.from_bytes(digest.digest(), "big")


def _file_sum(file: Path) -> int:
    """The sum of the hashes of a file's tensors, from the cache if the file is as it was."""
    file, about = file.resolve(), file.stat()
    # The time of the last change of the file's status cannot be set, unlike that of its content.
    key = json.dumps([str(file), about.st_size, about.st_mtime_ns, about.st_ctime_ns])
    cache = _cache()
    kept = cache / hashlib.sha256(key.encode()).hexdigest() if cache else None
    if kept is not None:
        with suppress(OSError, ValueError):
            return int(kept.read_text(encoding="ascii"), 16)
    total = _safetensors_sum(file) if file.suffix == ".safetensors" else _bytes_hash(file)
    if kept is not None:
        with suppress(OSError):  # without a cache it is only slower
            write_atomically(kept, lambda out: out.write(f"{total:x}".encode()))
    return total


def _cache() -> Path | None:
    try:
        return cached_assets_path(library_name="dola-core", namespace="weights", subfolder="sums")
    except (OSError, ValueError):  # the second where a file lies in its place
        return None


def _safetensors_sum(file: Path) -> int:
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        length = int.from_bytes(content[:8], "little")
        header, start = json.loads(content[8 : 8 + length]), 8 + length
        header.pop("__metadata__", None)
        with memoryview(content) as view:

            def hash_of(name: str) -> int:
                about = header[name]
                low, high = about["data_offsets"]
                with view[start + low : start + high] as data:
                    return _hash(name, about["dtype"], about["shape"], data)

            return _tensor_sum(partial(hash_of, name) for name in header)


def _bytes_hash(file: Path) -> int:
    """Hash of a file whose tensors cannot be read one by one."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return int.from_bytes(digest.digest(), "big")
