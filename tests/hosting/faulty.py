"""The page on the shipped model, whose model fails as a file says: `python tests/hosting/faulty.py FILE [options]`.

The file holds a fault, `memory`, `numbers` or `hold`, or nothing. It is read at every forward pass.
"""

import sys
import time
from pathlib import Path

import torch

ROOT, FAULT = Path(__file__).resolve().parents[2], Path(sys.argv.pop(1))
sys.path.insert(0, str(ROOT))
sys.argv[0] = str(ROOT / "app.py")
from app.server import guard  # noqa: E402, F401  (the package of that name before the script)
from app.settings import read_settings  # noqa: E402
from dola_core.models import loading as models  # noqa: E402

HELD = 30
"""Seconds after which a model that holds goes on in any case."""
CALLS = 3
"""Read-outs that are still good before numbers break."""


def fault() -> str:
    """What is to go wrong now."""
    return FAULT.read_text(encoding="utf-8")


def spoil(loaded: models.LoadedModel) -> models.LoadedModel:
    """Hooks that fail on demand."""
    calls = []

    def block(*_: object) -> None:
        if fault() == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        end = time.monotonic() + HELD
        while fault() == "hold" and time.monotonic() < end:
            time.sleep(0.02)

    def head(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor | None:
        calls.append(1)
        if fault() != "numbers":
            calls.clear()
        return output * float("nan") if len(calls) > CALLS else None

    loaded.readout.blocks[9].register_forward_hook(block)
    loaded.readout.phi.register_forward_hook(head)
    return loaded


def main() -> None:
    """Serve until killed."""
    import importlib.util

    load = models.load_model
    models.load_model = lambda *args, **kwargs: spoil(load(*args, **kwargs))
    spec = importlib.util.spec_from_file_location("served", ROOT / "app.py")
    served = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(served)
    served.launch(read_settings(sys.argv[1:]))


if __name__ == "__main__":
    main()
