"""The trace that several tests look at."""

import pytest

from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.trace.schema import Trace
from tests.dola_core.tiny import prompt, recorded

PROMPT = prompt(7)
LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22))


@pytest.fixture(scope="module")
def trace(readout) -> Trace:
    decoding = DecodingConfig(max_new_tokens=4, temperature=0.9, repetition_penalty=1.2, seed=2)
    return recorded(readout, PROMPT, LANES, decoding)
