"""One GGUF file and one base of adapters for all tests."""

from pathlib import Path

import pytest

from tests.dola_core.models.sources.gguf_files import write_gguf
from tests.dola_core.models.test_loading import folder
from tests.dola_core.tiny import tiny


@pytest.fixture(scope="session")
def gguf_file(tmp_path_factory) -> Path:
    """A whole GGUF file of weights in float32."""
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """The folder of a model that adapters are put on."""
    return folder(tiny("llama"), tmp_path_factory.mktemp("base") / "tiny")
