"""With an image in the prompt, every lane of every family writes what uncached passes of the whole model say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dola_core.generation import generate_with_dola, generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic, gumbel_noise
from dola_core.trace.recorder import Recorder
from tests.dola_core import reference
from tests.dola_core.models.images.cases import KINDS, NaiveWithImages, case
from tests.dola_core.tiny import texts, tokens_read

GREEDY = DecodingConfig(max_new_tokens=7)
SAMPLED = DecodingConfig(max_new_tokens=7, temperature=0.8, top_p=0.9, top_k=40, seed=4)
LANES = (Baseline(), DolaStatic(layer=12), Baseline(image=False), DolaStatic(layer=20, alpha=0.2, image=False))
CLOSE = 2e-3
"""How far below the best a chosen token's score may lie, since passes add up in another order."""


def recorded_by(one) -> tuple:
    return one.engine.fitted(one.comparison(LANES, GREEDY)), one.engine.loaded.info


def naive_of(one, lane) -> NaiveWithImages:
    inputs = one.images.inputs if lane.image else one.images.blank
    return NaiveWithImages(one.model, dict(inputs.beside), len(one.ids))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("config", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_every_lane_chooses_as_the_whole_model_run_anew(name, config):
    one = case(name)
    written = texts(one.engine.compare(one.comparison(LANES, config)))
    for lane, ids in zip(LANES, written, strict=True):
        naive = naive_of(one, lane)
        for step, token in enumerate(ids):
            scores = naive.scores([*one.ids, *ids[:step]], lane)
            if config.samples:
                noise = gumbel_noise(config, len(one.ids) + step, len(scores)).double().numpy()
                with np.errstate(divide="ignore"):
                    scores = np.log(reference.warp(scores, temperature=0.8, top_k=40, top_p=0.9)) + noise
            assert scores[token] >= scores.max() - CLOSE, (lane, step)


@pytest.mark.parametrize("name", KINDS)
def test_the_baseline_is_what_generate_writes(name):
    one = case(name)
    ids = torch.tensor([one.ids])
    written = texts(one.engine.compare(one.comparison([Baseline()], GREEDY), record=False))[0]
    generated = one.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=7,
        do_sample=False,
        eos_token_id=list(one.engine.loaded.eos_ids) or None,
        **one.images.inputs.beside,
    )
    assert generated[0, ids.shape[1] :].tolist() == written


@pytest.mark.parametrize("name", KINDS)
def test_generate_with_dola_takes_what_generate_takes(name):
    one = case(name)
    ids, eos = torch.tensor([one.ids]), list(one.engine.loaded.eos_ids) or None
    how = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 7, "do_sample": False, "eos_token_id": eos}
    static, dynamic = DolaStatic(layer=12), DolaDynamic(bucket="high")
    written = texts(one.engine.compare(one.comparison([static, dynamic], GREEDY), record=False))
    beside = one.images.inputs.beside
    by_static = generate_with_dola_static(one.model, ids, layer=12, alpha=0.1, **how, **beside)
    by_dynamic = generate_with_dola(one.model, ids, lane=dynamic, **how, **beside)
    assert [each[0, ids.shape[1] :].tolist() for each in (by_static, by_dynamic)] == written


@pytest.mark.parametrize("name", KINDS)
def test_every_text_is_read_with_the_image_and_without_it(name):
    one = case(name)
    lanes = [Baseline(), Baseline(image=False), DolaStatic(layer=12, image=False)]
    steps = [step for output in one.engine.compare(one.comparison(lanes, GREEDY)) for step in output.steps]
    ids = [*one.ids]
    for index in range(GREEDY.max_new_tokens):
        seen, blank = (step for step in steps if step.index == index and 0 in step.lanes)
        assert (seen.reading, blank.reading) == (0, 1)
        for step, lane in ((seen, lanes[0]), (blank, lanes[1])):
            (mature,) = naive_of(one, lane).log_qs(ids)
            log_q_N = step.log_q.reshape(-1, 30)[:, -1]
            assert np.allclose(log_q_N, mature[step.tokens[: len(log_q_N)]], atol=CLOSE)
        assert not np.allclose(seen.layer_entropy, blank.layer_entropy, atol=1e-3), "the image matters"
        for number, lane in enumerate(lanes):
            scores = naive_of(one, lane).scores(ids, lane)
            assert scores[seen.choices[number].id] >= scores.max() - CLOSE, "what each would choose on the same text"
        ids.append(seen.taken[0])


@pytest.mark.parametrize("name", ["llava", "qwen2.5-vl", "gemma3"])
def test_a_text_that_comes_first_is_recorded_as_any(name):
    one = case(name)
    by_step, later = Recorder(*recorded_by(one)), Recorder(*recorded_by(one))
    for recorder, first in ((by_step, False), (later, True)):
        for output in one.engine.compare(one.comparison(LANES, GREEDY), text_first=first):
            recorder.add(output.tokens, output.ends, output.steps)
    assert by_step.ids == later.ids
    for one_step, other in zip(by_step.steps, later.steps, strict=True):
        assert one_step.choices == other.choices
        assert np.allclose(one_step.log_q, other.log_q, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_chunks_and_what_is_decoded_together_change_nothing(name):
    one = case(name)
    longer = replace(one, ids=(*one.ids, *range(300, 320)))
    usual = texts(longer.engine.compare(longer.comparison(LANES, GREEDY), record=False))
    assert texts(longer.engine.compare(longer.comparison(LANES, GREEDY), record=False, chunk=4)) == usual
    if longer.engine.decodes_together:
        plain = replace(longer.comparison(LANES[:2], GREEDY), images=None)
        both = [
            longer.engine.compare(each, together=True, record=False)
            for each in (longer.comparison(LANES, GREEDY), plain)
        ]
        written = [[], []]
        for first, second in zip(*both, strict=False):
            written[0].append(first)
            written[1].append(second)
        assert texts(written[0]) == usual
        assert texts(written[1]) == texts(longer.engine.compare(plain, record=False))


@pytest.mark.parametrize("name", ["llava", "qwen2.5-vl", "smolvlm"])
def test_what_is_kept_of_a_prompt_is_taken_with_the_same_image_alone(name):
    one = case(name)
    engine, comparison = one.engine, one.comparison([Baseline()], GREEDY)
    other = replace(comparison, images=replace(one.images, inputs=one.images.blank))
    fresh = {id(each): texts(engine.compare(each)) for each in (comparison, other)}
    for before, asked, reads in ((comparison, comparison, 1), (comparison, other, len(one.ids)), (other, other, 1)):
        engine.prefix_cache.forget()
        list(engine.compare(before, keep_prefix=True))
        with tokens_read(one.engine.loaded.readout) as read:
            assert texts(engine.compare(asked, reuse_prefix=True)) == fresh[id(asked)]
        assert read[0] == reads
    list(engine.compare(comparison, keep_prefix=True))
    with tokens_read(one.engine.loaded.readout) as read:
        list(engine.compare(replace(comparison, images=None), reuse_prefix=True))
    assert read[0] == len(one.ids), "a text with the same ids has seen nothing"


@pytest.mark.parametrize("name", ["llava", "qwen2.5-vl", "gemma3"])
def test_beams_see_the_image(name):
    one = case(name)
    config = DecodingConfig(max_new_tokens=4, num_beams=2)
    found = [
        event.beams[0].ids
        for event in one.engine.beam_search(one.comparison([Baseline(), Baseline(image=False)], config))
        if hasattr(event, "beams")
    ]
    ids = torch.tensor([one.ids])
    for inputs, beam in zip((one.images.inputs, one.images.blank), found, strict=True):
        generated = one.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=4,
            num_beams=2,
            do_sample=False,
            eos_token_id=list(one.engine.loaded.eos_ids) or None,
            **inputs.beside,
        )
        assert tuple(generated[0, ids.shape[1] :].tolist()) == beam
