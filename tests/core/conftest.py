"""Tiny models and what reads them."""

import pytest
from transformers import PreTrainedModel

from dola_core.readout import Readout
from tests.core.reference import NaiveDecoder
from tests.core.tiny import hooks_on, tiny


@pytest.fixture(scope="session")
def llama() -> PreTrainedModel:
    return tiny("llama")


@pytest.fixture(scope="session")
def readout(llama) -> Readout:
    return Readout.of(llama)


@pytest.fixture(scope="session")
def naive(llama) -> NaiveDecoder:
    return NaiveDecoder(llama)


@pytest.fixture(scope="session")
def janus() -> PreTrainedModel:
    return tiny("janus")


@pytest.fixture(autouse=True)
def _no_test_leaves_hooks():
    yield
    for name in ("llama",):
        assert hooks_on(tiny(name)) == 0
