"""The folder for `custom_generate`, as `make custom-generate` writes it, and a call of `generate` that names it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, dynamic_module_utils

from tests.dola_core.generation.generating import IDS, STEPS
from tests.dola_core.tiny import tiny
from tests.server import ROOT, load_module

Generated = Callable[..., Any]


@pytest.fixture(scope="session")
def building() -> Any:
    """The script that puts the folder together."""
    return load_module(ROOT / "assets" / "custom_generate" / "build.py", "custom_generate_build")


@pytest.fixture(scope="session")
def folder(building: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new one."""
    out = tmp_path_factory.mktemp("pushed") / "dola"
    building.assemble(out)
    return out


@pytest.fixture(scope="session", autouse=True)
def _own_cache_of_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`transformers` copies code into the user's cache before it runs it, and makes that importable."""
    path = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        yield
    sys.path[:] = path


@pytest.fixture(scope="session")
def generated(folder: Path) -> Generated:
    """`model.generate` with the code of the folder, greedy unless told otherwise."""

    def call(model: PreTrainedModel, ids: Tensor | None = IDS, **kwargs: Any) -> Any:
        settings = {"do_sample": False, "max_new_tokens": STEPS} | kwargs
        # The only place where the project lets transformers run code of a repository: its own, which is tested here.
        return model.generate(ids, custom_generate=str(folder), trust_remote_code=True, **settings)

    return call


@pytest.fixture(scope="session")
def llama() -> PreTrainedModel:
    """A tiny random LLaMA of 30 layers."""
    return tiny("llama")


@pytest.fixture(autouse=True)
def _the_same_numbers() -> None:
    """Every test draws from the same seed."""
    torch.manual_seed(5)
