"""The modules that build the shipped model, and the shipped model itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

ATLAS = Path(__file__).parents[2] / "assets" / "atlas-30l"


@pytest.fixture(scope="session")
def build() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a build module by name, as the build scripts import each other."""
    folder, writes = str(ATLAS / "build"), sys.dont_write_bytecode
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    yield import_module
    sys.dont_write_bytecode = writes
    sys.path.remove(folder)


@pytest.fixture(scope="session")
def atlas() -> Path:
    """The folder of the shipped model."""
    return ATLAS


@pytest.fixture(scope="session")
def tokenizer(atlas: Path) -> PreTrainedTokenizerFast:
    """The shipped model's tokenizer."""
    return AutoTokenizer.from_pretrained(atlas, local_files_only=True)
