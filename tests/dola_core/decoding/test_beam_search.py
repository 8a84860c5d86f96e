"""Beam search in the comparison is stock beam search, lane by lane, and can be stopped."""

import threading

import pytest
import torch

from dola_core.decoding.beam_search import BeamProgress, BeamResult
from dola_core.errors import PromptError
from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from tests.dola_core.tiny import beam_search

PROMPT = [5, 6, 7, 8]
LANES = [Baseline(name="baseline"), DolaStatic(name="DoLa", layer=20, alpha=0.2)]


def results(readout, decoding, **named):
    events = list(beam_search(readout, PROMPT, LANES, decoding, **named))
    return [e for e in events if isinstance(e, BeamResult)], [e for e in events if isinstance(e, BeamProgress)]


@pytest.mark.parametrize("penalty", [1.0, 1.2])
@pytest.mark.parametrize("position", ["before", "after"])
def test_every_lane_gets_the_beams_of_stock_generate(llama, readout, penalty, position):
    decoding = DecodingConfig(num_beams=3, max_new_tokens=7, repetition_penalty=penalty, penalty_position=position)
    found, _ = results(readout, decoding)
    settings = {
        "num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 7, "do_sample": False,
        "repetition_penalty": penalty, "pad_token_id": 0, "eos_token_id": None,
    }  # fmt: skip
    prompt = torch.tensor([PROMPT])
    plain = llama.generate(prompt, **settings)
    dola = generate_with_dola_static(llama, prompt, layer=20, alpha=0.2, penalty_position=position, **settings)
    for result, expected in zip(found, (plain, dola), strict=True):
        assert [list(beam.ids) for beam in result.beams] == expected[:, len(PROMPT) :].tolist()
        assert [beam.score for beam in result.beams] == sorted((b.score for b in result.beams), reverse=True)
        assert {beam.end for beam in result.beams} == {"length"}


def test_progress_counts_every_step_of_every_lane(readout):
    _, progress = results(readout, DecodingConfig(num_beams=2, max_new_tokens=5))
    assert progress == [BeamProgress(lane, step) for lane in (0, 1) for step in range(1, 6)]


def test_a_beam_ends_at_its_end_of_text(readout):
    free, _ = results(readout, DecodingConfig(num_beams=2, max_new_tokens=6))
    eos = free[0].beams[0].ids[2]
    found, _ = results(readout, DecodingConfig(num_beams=2, max_new_tokens=6), eos_ids=[eos])
    for beam in (beam for result in found for beam in result.beams):
        assert beam.ids.count(eos) == (beam.end == "eos")
        assert eos not in beam.ids[:-1]
    assert any(beam.end == "eos" for beam in found[0].beams)


def test_abandoning_the_search_ends_its_thread_and_leaves_no_hook(readout):
    search = beam_search(readout, PROMPT, LANES, DecodingConfig(num_beams=2, max_new_tokens=60))
    next(search)
    assert any(thread.name == "beam-search" for thread in threading.enumerate())
    passes = []
    count = readout.decoder.register_forward_hook(lambda *_: passes.append(1))
    search.close()
    for thread in [thread for thread in threading.enumerate() if thread.name == "beam-search"]:
        thread.join(timeout=30)
    count.remove()
    assert not any(thread.name == "beam-search" for thread in threading.enumerate())
    assert not any(block._forward_hooks for block in readout.blocks)
    assert len(passes) < 50, "the search must end long before its 60 steps"


def test_a_stop_string_is_looked_for_in_the_new_text_only(readout):
    def text_of(ids):
        return "".join(f"<{i}>" for i in ids)

    free, _ = results(readout, DecodingConfig(num_beams=2, max_new_tokens=6))
    third = free[0].beams[0].ids[2]
    found, _ = results(readout, DecodingConfig(num_beams=2, max_new_tokens=6, stop=(f"<{third}>",)), text_of=text_of)
    for beam in (beam for result in found for beam in result.beams):
        assert (third in beam.ids) == (beam.end == "stop")
        assert third not in beam.ids[:-1]
    assert any(beam.end == "stop" for beam in found[0].beams)
    with_prompt, _ = results(readout, DecodingConfig(num_beams=2, max_new_tokens=6, stop=("<5>",)), text_of=text_of)
    assert with_prompt[0].beams[0].ids[0] != 5
    assert len(with_prompt[0].beams[0].ids) > 1


def test_an_error_inside_the_search_reaches_the_caller(readout, monkeypatch):
    def fail(*_args, **_named):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr("dola_core.decoding.beam_search.generate_with_dola", fail)
    with pytest.raises(RuntimeError, match="the device is gone"):
        list(beam_search(readout, PROMPT, LANES, DecodingConfig(num_beams=2)))


def test_bad_input_is_refused_before_anything_runs(readout):
    with pytest.raises(PromptError):
        beam_search(readout, [], LANES, DecodingConfig(num_beams=2))
    with pytest.raises(ValueError, match="from 1 to 29"):
        beam_search(readout, PROMPT, [DolaStatic(name="x", layer=30)], DecodingConfig(num_beams=2))


@pytest.mark.parametrize("num_beams", [2, 4, 7])
def test_beams_that_found_no_text_are_dropped_and_counted(readouts, num_beams):
    lanes = [LANES[0], *(DolaStatic(name=f"{alpha}", layer=20, alpha=alpha) for alpha in (1.0, 0.8, 0.3, 0.01))]
    config = DecodingConfig(num_beams=num_beams, max_new_tokens=3)
    found = [e for e in beam_search(readouts[2], PROMPT, lanes, config) if isinstance(e, BeamResult)]
    for result in found:
        assert len(result.beams) + result.dropped == num_beams
        assert len({beam.ids for beam in result.beams}) == len(result.beams), "each beam is another text"
        assert all(-100 < beam.score <= 0 for beam in result.beams)
    assert not found[0].dropped
    assert found[1].dropped == num_beams - 1, "alpha 1 leaves one token, and one text"


def test_beams_do_not_sample():
    with pytest.raises(ValueError, match="Beam search does not sample"):
        DecodingConfig(num_beams=2, temperature=0.7)
