"""What `load_model` says about an input that it refuses."""

import re

import pytest

from dola_core.errors import LoadError
from dola_core.models.loading import load_model


def refused(name: object, **how: object) -> str:
    """The one sentence."""
    with pytest.raises(LoadError) as error:
        load_model(name, **{"device": "cpu", "dtype": "float32"} | how)
    said = str(error.value)
    assert said.endswith("."), said
    assert not re.search(r"\n|[.!?:]\s+[A-Z].*[.!?]\s+[A-Z]|Error\b|\w\.\s+[A-Z]", said), said
    return said
