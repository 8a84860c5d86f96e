"""What a model's own generation config brings holds in lock step as in stock `generate`, token for token."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from dola_core.comparison import Comparison
from dola_core.decoding import engine
from dola_core.decoding.beam_search import BeamResult
from dola_core.errors import PromptError, UnsupportedModelError
from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic, Lane
from dola_core.trace.schema import Trace
from dola_core.trace.step_record import LEAST_LOG_Q
from tests.dola_core.models.small_tokenizers import byte_level, loaded_with
from tests.dola_core.tiny import V, beam_search, compare, engine_of, prompt, recorded, texts

PROMPT = [*prompt(8), *prompt(8)]  # a text that has been repeated
EOS = 7
N_NEW = 12
DOLA = DolaStatic(name="DoLa", layer=20, alpha=0.05)
LANES = (Baseline(name="baseline"), DOLA)

# fmt: off
OWN: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no n-grams": {"no_repeat_ngram_size": 2},
    "no single token": {"no_repeat_ngram_size": 1},
    "no token of the prompt": {
        "encoder_no_repeat_ngram_size": 1, "suppress_tokens": sorted(set(range(90)) - set(PROMPT) - {EOS}),
    },
    "prompt preferred": {"encoder_repetition_penalty": 1.7},
    "suppressed": {"suppress_tokens": list(range(0, V, 2))},
    "suppressed at the beginning": {"begin_suppress_tokens": list(range(1, 90))},
    "bad words": {"bad_words_ids": [[token] for token in range(10, 60)] + [[61, 62], [EOS]]},
    "bias": {"sequence_bias": [[[token], -9.0] for token in range(30)] + [[[40, 41], 4.0]]},
    "forced end": {"forced_eos_token_id": EOS},
    "forced ends": {"forced_eos_token_id": [EOS, 9]},
    "shortest text": {"min_length": len(PROMPT) + 5, "sequence_bias": [[[EOS], 30.0]]},
    "fewest new tokens": {"min_new_tokens": 6, "sequence_bias": [[[EOS], 30.0]]},
    "growing end": {"exponential_decay_length_penalty": (2, 1.9)},
    "values mended": {"remove_invalid_values": True},
    "several": {"no_repeat_ngram_size": 2, "suppress_tokens": [3, 4], "forced_eos_token_id": EOS, "min_new_tokens": 3},
}
# fmt: on
"""{what is brought: entries of a generation config}"""
TABLE = pytest.mark.parametrize("own", OWN.values(), ids=OWN)


@pytest.fixture
def model(llama, monkeypatch) -> Iterator[Any]:
    """A way to give the tiny model a generation config."""

    def with_settings(**own: Any) -> Any:
        config = GenerationConfig(eos_token_id=EOS, pad_token_id=0, **own)
        monkeypatch.setattr(llama, "generation_config", config)
        return llama

    return with_settings


def generated(model: Any, lane: Lane, *, penalty: float = 1.0, position: str = "before", **how: Any) -> torch.Tensor:
    """What stock `generate` writes, with the contrast if the lane has one."""
    settings = {"max_new_tokens": N_NEW, "do_sample": False, "repetition_penalty": penalty} | how
    ids = torch.tensor([PROMPT])
    if not lane.reads:
        return model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    return generate_with_dola_static(
        model, ids, layer=lane.layer, alpha=lane.alpha, penalty_position=position, **settings
    )


@TABLE
@pytest.mark.parametrize(("penalty", "position"), [(1.0, "before"), (1.3, "before"), (1.3, "after")])
def test_greedy_lanes_write_what_generate_writes(readout, model, own, penalty, position):
    stock = model(**own)
    config = DecodingConfig(max_new_tokens=N_NEW, repetition_penalty=penalty, penalty_position=position)
    written = texts(compare(readout, PROMPT, LANES, config, eos_ids=[EOS], record=False))
    for lane, ids in zip(LANES, written, strict=True):
        expected = generated(stock, lane, penalty=penalty, position=position)[0, len(PROMPT) :].tolist()
        assert ids == expected


def test_the_table_changes_texts(readout, model):
    """Else a lane that follows nothing would pass."""
    config = DecodingConfig(max_new_tokens=N_NEW)
    model()
    free = texts(compare(readout, PROMPT, LANES, config, eos_ids=[EOS]))
    unchanged = []
    for name, own in OWN.items():
        model(**own)
        if free[0] == texts(compare(readout, PROMPT, LANES, config, eos_ids=[EOS]))[0]:
            unchanged.append(name)
    assert unchanged == ["nothing", "values mended"]


@TABLE
def test_beams_and_lanes_follow_the_same(readout, model, own):
    stock = model(**own)
    config = DecodingConfig(max_new_tokens=N_NEW, num_beams=3)
    events = beam_search(readout, PROMPT, LANES, config, eos_ids=[EOS])
    for lane, result in zip(LANES, [e for e in events if isinstance(e, BeamResult)], strict=True):
        best = generated(stock, lane, num_beams=3)[0, len(PROMPT) :].tolist()
        assert list(result.beams[0].ids) == best


class _Forced(LogitsProcessor):
    """Notes the scores it gets, which are what the built-in processors leave, and forces the next token."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.seen = ids, []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        token = self.ids[len(self.seen)]
        self.seen.append(scores.log_softmax(-1)[0])
        return torch.full_like(scores, -torch.inf).index_fill(1, torch.tensor([token]), 0.0)


@TABLE
def test_sampled_lanes_draw_from_what_generate_draws_from(readout, model, own):
    stock = model(**own)
    config = DecodingConfig(max_new_tokens=N_NEW, temperature=0.8, seed=3, repetition_penalty=1.2)
    trace = recorded(readout, PROMPT, LANES[:1], config, eos_ids=[EOS])
    force = _Forced(trace.lane_ids(0))
    generated(stock, LANES[0], penalty=1.2, logits_processor=LogitsProcessorList([force]), max_new_tokens=N_NEW)
    assert len(force.seen) == len(trace.steps)
    for step, log_q_N in zip(trace.steps, force.seen, strict=True):
        tokens = torch.from_numpy(step.tokens.astype("int64"))[: len(step.exact_log_q)]
        assert torch.allclose(torch.from_numpy(step.exact_log_q[:, -1].copy()), log_q_N[tokens], atol=1e-5)
        assert log_q_N[step.taken[0]] > -torch.inf


@TABLE
@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("position", ["before", "after"])
def test_what_if_is_exact_whatever_the_model_brings(readout, model, own, temperature, position):
    model(**own)
    config = DecodingConfig(
        max_new_tokens=N_NEW, temperature=temperature, repetition_penalty=1.2, penalty_position=position
    )
    trace = recorded(
        readout, PROMPT, [LANES[0], DOLA, DolaStatic(name="other", layer=11, alpha=0.3)], config, eos_ids=[EOS]
    )
    trace = Trace.model_validate_json(trace.to_json())
    answered = 0
    for step in trace.steps:
        for number, lane in enumerate(trace.lanes):
            if lane.reads and lane.alpha >= step.exact_alpha:
                assert step.what_if(lane, config) == step.choices[number].id
                answered += 1
    assert answered


def test_a_run_whose_settings_leave_no_token_ends_as_broken(readout, model):
    model(suppress_tokens=list(range(V)))
    [only] = list(compare(readout, PROMPT, LANES, DecodingConfig(), eos_ids=[EOS]))
    assert only.ends == {0: "broken", 1: "broken"}


def test_a_text_given_to_a_lane_may_hold_what_the_model_rules_out(readout, model):
    model(suppress_tokens=[11])
    forced = {1: ((5, 11, 6), "length")}
    trace = recorded(readout, PROMPT, LANES, DecodingConfig(max_new_tokens=3), eos_ids=[EOS], forced=forced)
    assert Trace.model_validate_json(trace.to_json()).lane_ids(1) == [5, 11, 6]


def test_no_token_that_the_model_rules_out_is_recorded(readout, model):
    """Charts read the recorded tokens, and could not draw a log-probability that is infinite."""
    model(suppress_tokens=sorted(set(range(1, 90)) - {EOS}), forced_eos_token_id=EOS)
    for step in recorded(readout, PROMPT, LANES, DecodingConfig(max_new_tokens=4), eos_ids=[EOS]).steps:
        assert step.log_q_table[:, -1].min() > LEAST_LOG_Q
        assert set(step.tokens.tolist()) <= {0, EOS, *range(90, V)}


def test_stop_strings_of_the_model_end_lanes_and_beams(readout, model):
    model()
    free = texts(compare(readout, PROMPT, LANES, DecodingConfig(max_new_tokens=6)))
    third = f" t{free[0][2]}"
    model(stop_strings=[third])
    outputs = list(compare(readout, PROMPT, LANES[:1], DecodingConfig(max_new_tokens=6)))
    assert outputs[-1].ends == {0: "stop"}
    assert len(outputs) == 3


def test_stop_strings_of_the_model_end_beams(model):
    loaded = loaded_with(byte_level())
    model(stop_strings=["e"], sequence_bias=[[[loaded.tokenizer.convert_tokens_to_ids("e")], 9.0]])
    comparison = Comparison("a", tuple(loaded.encode("a")), LANES, DecodingConfig(num_beams=3, max_new_tokens=30))
    beams = [b for e in engine.Engine(loaded).beam_search(comparison) if isinstance(e, BeamResult) for b in e.beams]
    assert {beam.end for beam in beams} >= {"stop"}
    for beam in beams:
        assert loaded.text(beam.ids).count("e") == (beam.end == "stop")


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"bad_words_ids": []}, "bad_words_ids"),
        ({"sequence_bias": [[[V + 5], 1.0]]}, "sequence_bias|bias"),
        ({"encoder_repetition_penalty": -1.0}, "strictly positive"),
    ],
)
def test_a_broken_generation_config_is_refused_before_a_text_is_begun(readout, model, own, said):
    model(**own)
    with pytest.raises(UnsupportedModelError, match=rf"generation_config cannot be followed \(.*({said}).*remove"):
        engine_of(readout, eos_ids=[EOS])


def test_what_is_not_followed_stands_in_the_label(readout, model):
    model(guidance_scale=1.5, token_healing=True)
    one = engine_of(readout)
    one.loaded.label = "Tiny"
    assert one.label == "Tiny · its guidance_scale, token_healing not followed"
    model(guidance_scale=1.0, token_healing=False)
    assert one.label == "Tiny"


@pytest.mark.parametrize("own", [{"prompt_lookup_num_tokens": 3}, {"watermarking_config": {"bias": 9.0}}])
def test_a_search_that_would_be_another_one_is_refused_by_name(readout, model, own):
    model(**own)
    with pytest.raises(UnsupportedModelError, match=f"asks for {next(iter(own))}"):
        beam_search(readout, PROMPT, LANES, DecodingConfig(num_beams=2))


def test_beams_leave_out_what_lock_step_leaves_out(readout, model):
    config = DecodingConfig(max_new_tokens=6, num_beams=2)
    found = []
    for own in ({}, {"guidance_scale": 3.0, "token_healing": True}):
        model(**own)
        found.append([e for e in beam_search(readout, PROMPT, LANES, config) if isinstance(e, BeamResult)])
    assert found[0] == found[1]


def test_beams_do_not_sample_where_the_model_does(readout, model):
    model(do_sample=True, temperature=5.0, top_k=2)
    config = DecodingConfig(max_new_tokens=6, num_beams=2)
    first, again = (
        [e.beams for e in beam_search(readout, PROMPT, LANES, config) if isinstance(e, BeamResult)] for _ in range(2)
    )
    assert first == again


def test_the_models_own_penalty_is_the_default_and_a_config_says_otherwise(model):
    model(repetition_penalty=1.4)
    loaded = loaded_with(byte_level())
    assert engine.compare(loaded, "a", LANES).decoding == DecodingConfig(repetition_penalty=1.4)
    assert engine.compare(loaded, "a", LANES, DecodingConfig()).decoding.repetition_penalty == 1.0


@pytest.mark.parametrize(("own", "usable"), [(None, 1.0), (1, 1.0), (0.5, 0.5), (40.0, 10.0), (0.01, 0.1)])
def test_a_penalty_out_of_range_becomes_one_that_a_lane_can_have(model, own, usable):
    model(repetition_penalty=own)
    assert loaded_with(byte_level()).repetition_penalty == usable


@pytest.mark.parametrize("bad", [V, -1, 10**9])
def test_ids_that_the_model_has_not_are_refused_where_a_run_is_checked(readout, bad):
    for run in (compare, beam_search):
        with pytest.raises(PromptError, match=f"for {bad}, but the model itself has none"):
            run(readout, [5, bad], LANES, DecodingConfig(num_beams=2))
