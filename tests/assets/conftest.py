"""The shipped model and its tokenizer. The tests import the modules that build it by pytest's `pythonpath`."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dola_core.files.paths import SHIPPED_MODEL
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model


@pytest.fixture(scope="session")
def atlas() -> Path:
    """The folder of the shipped model."""
    return SHIPPED_MODEL


@pytest.fixture(scope="session")
def tokenizer(atlas: Path) -> PreTrainedTokenizerFast:
    """The shipped model's tokenizer."""
    return AutoTokenizer.from_pretrained(atlas, local_files_only=True)


@pytest.fixture(scope="session")
def loaded(atlas: Path) -> LoadedModel:
    """The shipped model."""
    return load_model(atlas, device="cpu", dtype="float32")
