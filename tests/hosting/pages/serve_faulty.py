"""Serve the page with a model that fails on demand: `serve_faulty.py FILE [options of app.py]`.

The file holds the fault: `memory`, `numbers`, `hold`, or nothing. It is read at every forward pass.
"""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.server import ROOT, load_module

FAULT = Path(sys.argv.pop(1))
sys.argv[0] = str(ROOT / "app.py")
from app.settings import read_settings  # noqa: E402
from dola_core.models import loading  # noqa: E402
from dola_core.models.loaded_model import LoadedModel  # noqa: E402

HOLD_SECONDS = 30
"""After so long a forward pass that is held goes on in any case."""
GOOD_READOUTS = 3
"""Read-outs that are still finite once numbers are to break."""


def fault() -> str:
    """What is to go wrong now."""
    return FAULT.read_text(encoding="utf-8")


def make_faulty(loaded: LoadedModel) -> LoadedModel:
    """Hang hooks on the model that fail on demand."""
    readouts = 0

    def run_out_of_memory_or_hold(*_: object) -> None:
        if fault() == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        end = time.monotonic() + HOLD_SECONDS
        while fault() == "hold" and time.monotonic() < end:
            time.sleep(0.02)

    def break_numbers(_module: object, _inputs: object, normed: torch.Tensor) -> torch.Tensor | None:
        nonlocal readouts
        readouts = readouts + 1 if fault() == "numbers" else 0
        return normed * float("nan") if readouts > GOOD_READOUTS else None

    loaded.readout.blocks[9].register_forward_hook(run_out_of_memory_or_hold)
    loaded.readout.blocks[9].input_layernorm.register_forward_hook(break_numbers)
    return loaded


def main() -> None:
    """Serve until terminated."""
    load_model = loading.load_model
    loading.load_model = lambda *args, **kwargs: make_faulty(load_model(*args, **kwargs))
    served = load_module(ROOT / "app.py", "served")
    served.launch(read_settings(sys.argv[1:]))


if __name__ == "__main__":
    main()
