"""A further decoder is a few lines: a toy kind goes through everything that knows lanes."""

import json
from typing import Literal

import pytest
import torch
from pydantic import ValidationError

from dola_core.contrast import on_plausible_head
from dola_core.generation import generate_with_dola
from dola_core.lanes import Baseline, DecodingConfig, Lane, lane_text, parse_lane
from dola_core.trace.schema import Trace
from tests.dola_core.tiny import beam_search, compare, prompt, recorded, texts

PROMPT = prompt(7, seed=2)
CONFIG = DecodingConfig(max_new_tokens=5)


class Surprise(Lane):
    """The plausible token that an early layer finds least likely."""

    kind: Literal["surprise"] = "surprise"
    name: str = "Surprise"
    layer: int
    main = "layer"

    @property
    def reads(self):
        return (self.layer,)

    @property
    def least_share(self):
        return 0.05

    def scores(self, log_q_N, log_q, closeness):
        return on_plausible_head(-log_q[0], log_q_N, 0.05)


LANE = Surprise(layer=20)


@pytest.fixture(scope="module")
def trace(readout):
    return recorded(readout, PROMPT, [Baseline(), LANE], CONFIG)


def test_it_decodes_in_lock_step_in_generate_and_with_beams(llama, readout, trace):
    own = trace.lane_ids(1)
    assert own != trace.lane_ids(0)
    assert texts(compare(readout, PROMPT, [LANE], CONFIG, record=False)) == [own]
    output = generate_with_dola(llama, torch.tensor([PROMPT]), lane=LANE, do_sample=False, max_new_tokens=5)
    assert output[0, 7:].tolist() == own
    found = list(beam_search(readout, PROMPT, [LANE], DecodingConfig(max_new_tokens=5, num_beams=2)))[-1]
    assert len(found.beams) == 2


def test_its_trace_goes_both_ways_and_answers_what_if(readout, trace):
    again = Trace.model_validate_json(trace.to_json())
    assert again.lanes == (Baseline(), LANE)
    other = Surprise(layer=3)
    forced = {lane: (trace.lane_ids(1), "length") for lane in (0, 1)}
    answered = 0
    for output in compare(readout, PROMPT, [Baseline(), other], CONFIG, forced=forced):
        step = again.lane_steps(1)[output.index]
        if step.exact_alpha <= other.least_share:
            answered += 1
            assert again.what_if(1, output.index, other) == output.steps[0].choices[1].id
            assert step.what_if(LANE, CONFIG) == step.choices[1].id
    assert answered


def test_it_is_written_as_text():
    assert lane_text(LANE) == "surprise:20"
    assert parse_lane("surprise:20,penalty=1.2") == Surprise(layer=20, repetition_penalty=1.2)


def test_a_document_that_names_a_kind_which_nobody_knows_is_refused(trace):
    document = json.loads(trace.to_json())
    document["lanes"][1]["kind"] = "unheard"
    with pytest.raises(ValidationError, match="one of the kinds plain, static, dynamic, linear"):
        Trace.model_validate_json(json.dumps(document))
