"""No family of models is silently decoded in another way than its own."""

import pytest

from tests.dola_core.models.reading.families import CANNOT, families
from tests.dola_core.models.reading.sweep import outcome

SAMPLE = {
    "llama", "gpt2", "opt", "mpt", "xglm", "dbrx", "llama4_text", "modernbert-decoder", "cohere", "minicpm3", "gemma2",
    "bamba", "jamba", "minimax", "qwen3_next", "lfm2", "nemotron_h", "deepseek_v4", "phi3", "moshi", "mamba", "rwkv",
    "bert", "hy_v4", "inkling_text",
}  # fmt: skip
"""Of each kind of norm, head, cache and refusal one or two; `make sweep` tries them all."""


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=() if f in SAMPLE else pytest.mark.slow) for f in families() if f not in CANNOT]
)
def test_a_family_is_decoded_as_the_model_itself_does_or_refused(family):
    found = outcome(family)
    assert found.faults == ()
    assert found.refused.endswith(".") if found.refused else found.rules
