"""Going on from what was read before: fewer tokens to read, the same to say."""

import pytest
import torch
from transformers import AutoModelForCausalLM, DynamicCache

from dola_core.decoding.prefix_cache import PrefixCache
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.reading.readout import Readout
from tests.dola_core.tiny import CONFIGS, compare, prepared, prompt, texts, tokens_read

PROMPT = prompt(7)
LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22))
GREEDY = DecodingConfig(max_new_tokens=10)
SAMPLED = DecodingConfig(max_new_tokens=10, temperature=0.9, seed=3)


def kept(readout, decoding=GREEDY):
    """A memory of a comparison of `PROMPT`, and what its lanes wrote."""
    cache = PrefixCache()
    return cache, texts(compare(readout, PROMPT, LANES, decoding, prefix_cache=cache))


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("lane", [0, 1])
@pytest.mark.parametrize("index", [0, 1, 4, 9])
def test_going_on_reads_one_token_and_writes_what_a_fresh_start_would(readout, decoding, lane, index):
    cache, written = kept(readout, decoding)
    prefix = [*PROMPT, *written[lane][:index]]
    fresh = list(compare(readout, prefix, LANES, decoding))
    with tokens_read(readout) as read:
        on = list(compare(readout, prefix, LANES, decoding, prefix_cache=cache))
    assert read[0] == 1
    assert texts(on) == texts(fresh)
    assert texts(on)[lane][: len(written[lane]) - index] == written[lane][index:]
    for one, other in zip(on, fresh, strict=True):
        for a, b in zip(one.steps, other.steps, strict=True):
            assert a.tokens.tolist() == b.tokens.tolist()
            torch.testing.assert_close(
                torch.from_numpy(a.log_q.copy()), torch.from_numpy(b.log_q.copy()), atol=1e-4, rtol=1e-4
            )


def test_a_forced_token_is_read_and_nothing_else(readout):
    cache, written = kept(readout)
    prefix = [*PROMPT, *written[0][:3], (written[0][3] + 1) % 97]
    with tokens_read(readout) as read:
        on = texts(compare(readout, prefix, LANES, GREEDY, prefix_cache=cache))
    assert read[0] == 1
    assert on == texts(compare(readout, prefix, LANES, GREEDY))


def test_of_another_prompt_only_what_differs_is_read(readout):
    cache, _ = kept(readout)
    other = [*PROMPT[:4], *prompt(5, seed=9)]
    common = next(n for n in range(len(other)) if other[: n + 1] != PROMPT[: n + 1])
    with tokens_read(readout) as read:
        on = texts(compare(readout, other, LANES, GREEDY, prefix_cache=cache))
    assert read[0] == len(other) - common
    assert on == texts(compare(readout, other, LANES, GREEDY))


def test_an_abandoned_comparison_is_remembered_and_a_broken_one_is_not(readout, monkeypatch):
    cache = PrefixCache()
    steps = compare(readout, PROMPT, LANES, GREEDY, prefix_cache=cache)
    ids = [next(steps).tokens[0] for _ in range(3)]
    steps.close()
    assert cache.take([*PROMPT, *ids]).known == len(PROMPT) + 2

    steps = compare(readout, PROMPT, LANES, GREEDY, prefix_cache=cache)
    next(steps)
    monkeypatch.setattr(DynamicCache, "update", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(steps)
    assert cache.take([*PROMPT, *ids]) is None


def test_what_was_taken_or_forgotten_is_gone(readout):
    cache, written = kept(readout)
    assert cache.take([*PROMPT, *written[0]]) is not None
    assert cache.take([*PROMPT, *written[0]]) is None
    cache, written = kept(readout)
    cache.forget()
    assert cache.take([*PROMPT, *written[0]]) is None
    cache, _ = kept(readout)
    assert cache.take([(PROMPT[0] + 1) % 97, *PROMPT[1:]]) is None


def test_a_cache_of_sliding_windows_is_not_kept():
    torch.manual_seed(0)
    config = CONFIGS["mistral"]()
    config.sliding_window = 4
    readout = Readout.of(prepared(AutoModelForCausalLM.from_config(config)))
    cache, written = kept(readout)
    prefix = [*PROMPT, *written[0][:5]]
    on = texts(compare(readout, prefix, LANES, GREEDY, prefix_cache=cache))
    assert on == texts(compare(readout, prefix, LANES, GREEDY))
    assert cache.take(prefix) is None
