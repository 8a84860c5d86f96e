"""The shipped model, which the tests of the layer search share."""

import pytest

from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model


@pytest.fixture(scope="session")
def atlas() -> LoadedModel:
    return load_model(device="cpu", dtype="float32")
