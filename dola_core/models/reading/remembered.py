"""Rules that were proved before: the same weights in the same surroundings need no second proof.

The proof takes some twenty passes of the model, which is most of loading one from disk. What it found is kept in the
user's cache, by a hash of everything that it depends on: weights and tokenizer, config, dtype, device, the libraries,
the processor, and the code of the proof itself. Where the cache cannot be read or written, the proof is made.
"""

import hashlib
import json
import platform
from contextlib import suppress
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path

import platformdirs
import torch
import transformers

from dola_core.files.writing import write_atomically
from dola_core.models.reading.cached_texts import ReadingRules
from dola_core.models.reading.proof import know_rules, reading_rules
from dola_core.models.reading.readout import Readout

MOST_BYTES = 1000
"""More than the file of any rules has."""


def remembered_rules(readout: Readout, identity: str, *, how: str = "") -> ReadingRules:
    """The rules of the model of `readout`, from the user's cache, or else proved now and kept there.

    `identity` is the model's; `how` says what else its numbers depend on, such as how its weights are kept. Raises
    `UnsupportedModelError` as `reading_rules`; nothing is kept then.
    """
    file = rules_folder() / f"{_key(readout, identity, how)}.json"
    rules = _read(file)
    if rules is None:
        rules = reading_rules(readout)
        with suppress(OSError):  # without a cache it is only slower
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, lambda out: out.write(json.dumps(asdict(rules)).encode()))
    know_rules(readout, rules)
    return rules


def rules_folder() -> Path:
    """The folder for rules in the user's cache."""
    return Path(platformdirs.user_cache_path("dola-duet", appauthor=False)) / "rules"


def _read(file: Path) -> ReadingRules | None:
    """The rules in a file; None if there are none that can be used."""
    try:
        if file.stat().st_size > MOST_BYTES:
            return None
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kinds = {field.name: (bool,) for field in fields(ReadingRules)} | {"longest": (int, type(None))}
    if not isinstance(values, dict) or set(values) != set(kinds):
        return None
    if any(type(value) not in kinds[name] for name, value in values.items()):
        return None
    return ReadingRules(**values)


def _key(readout: Readout, identity: str, how: str) -> str:
    model, first = readout.model, next(readout.model.parameters())
    parts = [
        identity,
        how,
        type(model).__qualname__,
        model.config.to_json_string(use_diff=False),
        str(getattr(model.config, "_attn_implementation", "")),
        str(first.dtype),
        str(first.device),
        torch.cuda.get_device_name(first.device) if first.device.type == "cuda" else platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
        torch.__version__,
        transformers.__version__,
        _code(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def _code() -> str:
    """Hash of the code that proves and reads."""
    here = Path(__file__).parent
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in sorted(here.glob("*.py")))).hexdigest()
