"""The what-if of a step names the token that decoding really takes with other settings."""

import itertools
import math

import numpy as np
import pytest
import torch

from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.trace.schema import Trace
from dola_core.trace.step import ALPHA_MIN
from dola_core.trace.step_record import Allowance, RowLanes, record_steps
from tests.dola_core.tiny import N, compare, prompt, recorded, texts

PROMPT = prompt(7)
LANES = (Baseline(name="baseline"), DolaStatic(name="dola", layer=22))
ALPHAS = (ALPHA_MIN, 0.02, 0.05, 0.1, 0.3, 0.7, 1.0)
PENALTIES = [(1.0, "before"), (1.4, "before"), (1.4, "after")]
CHOICES = [
    {},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 1.3, "top_k": 5},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.05},
]


def forced_for(lanes, texts_of):
    """The two recorded texts for any number of lanes, so that the rows are the recorded ones."""
    return {n: texts_of[n % 2] for n in range(len(lanes))}


class TestWhatIf:
    @pytest.mark.parametrize("choice", CHOICES, ids=str)
    @pytest.mark.parametrize(("penalty", "position"), PENALTIES)
    def test_names_the_token_that_really_decoding_the_step_takes(self, readouts, choice, penalty, position):
        """The recorded texts are replayed with a lane for every setting, and each lane's own choice is looked at."""
        random = np.random.default_rng(0)
        checked = wrong = 0
        for number, readout in enumerate(readouts):
            early_norm, prompt_ids = bool((number + CHOICES.index(choice)) % 2), prompt(4 + number, seed=number)
            decoding = DecodingConfig(
                max_new_tokens=4,
                early_norm=early_norm,
                repetition_penalty=penalty,
                penalty_position=position,
                seed=number,
                **choice,
            )
            trace = recorded(readout, prompt_ids, LANES, decoding)
            trace = Trace.model_validate_json(trace.to_json())
            layers = random.choice(np.arange(1, N), 5, replace=False).tolist()
            settings = list(itertools.product(layers, ALPHAS))
            lanes = [DolaStatic(name="", layer=layer, alpha=alpha) for layer, alpha in settings]
            forced = forced_for(lanes, {n: (trace.lane_ids(n), "length") for n in range(2)})
            for advance in compare(readout, prompt_ids, lanes, decoding, forced=forced):
                for lane in range(2):
                    real = next(step for step in advance.steps if lane in step.lanes)
                    exact_alpha = trace.lane_steps(lane)[advance.index].exact_alpha
                    for n, (_, alpha) in enumerate(settings):
                        if alpha >= exact_alpha:
                            checked += 1
                            wrong += trace.what_if(lane, advance.index, lanes[n]) != real.choices[n].id
        assert wrong == 0
        assert checked > 300

    @pytest.mark.parametrize(("penalty", "position"), PENALTIES)
    def test_is_exact_at_exact_alpha_itself_at_every_layer(self, readouts, penalty, position):
        capped = 0
        for number, readout in enumerate(readouts):
            decoding = DecodingConfig(max_new_tokens=3, repetition_penalty=penalty, penalty_position=position)
            trace = recorded(readout, prompt(6, seed=number), LANES, decoding)
            forced = {n: (trace.lane_ids(n), "length") for n in range(2)}
            for step in trace.steps:
                capped += step.exact_alpha > ALPHA_MIN
                lanes = [DolaStatic(name="", layer=layer, alpha=step.exact_alpha) for layer in (1, *range(1, N))]
                replay = compare(readout, trace.prompt_ids, lanes, decoding, forced=forced_for(lanes, forced))
                real = next(s for a in replay if a.index == step.index for s in a.steps if step.lanes[0] in s.lanes)
                for lane, choice in zip(lanes, real.choices, strict=True):
                    assert step.what_if(lane, decoding) == choice.id
        assert capped

    def test_names_what_a_lane_writes_that_starts_from_the_recorded_prefix(self, readouts):
        """Nothing is replayed here: prompt and prefix are the prompt, and a lane for every layer takes one step."""
        decoding = DecodingConfig(max_new_tokens=5, repetition_penalty=1.4)
        trace = recorded(readouts[1], PROMPT, LANES, decoding)
        lanes = [DolaStatic(name="", layer=layer, alpha=0.1) for layer in range(1, N)]
        for step in trace.lane_steps(1):
            prefix = [*trace.prompt_ids, *trace.lane_ids(1)[: step.index]]
            one_step = decoding.model_copy(update={"max_new_tokens": 1})
            written = texts(compare(readouts[1], prefix, lanes, one_step, record=False))
            assert [[trace.what_if(1, step.index, lane)] for lane in lanes] == written

    def test_the_settings_a_lane_had_give_the_token_it_chose(self, trace):
        for step in trace.steps:
            if step.exact_alpha <= LANES[1].alpha:
                assert step.what_if(LANES[1], trace.decoding) == step.choices[1].id

    def test_below_what_is_recorded_is_refused_with_the_bound(self, readouts):
        trace = recorded(readouts[0], PROMPT, LANES, DecodingConfig(max_new_tokens=1))
        step = trace.steps[0]
        assert step.exact_alpha > ALPHA_MIN
        with pytest.raises(ValueError, match="recorded for alpha from"):
            trace.what_if(0, 0, DolaStatic(layer=22, alpha=step.exact_alpha * 0.99))
        sharp = recorded(readouts[2], PROMPT, LANES, DecodingConfig(max_new_tokens=1))
        assert sharp.steps[0].exact_alpha == ALPHA_MIN
        with pytest.raises(ValueError, match=r"recorded for alpha from 0\.01"):
            sharp.what_if(0, 0, DolaStatic(layer=22, alpha=0.0099))

    @pytest.mark.parametrize(
        ("layer", "alpha"), [(0, 0.1), (30, 0.1), (True, 0.1), (22, 1.5), (22, math.nan), (22, True)]
    )
    def test_settings_out_of_range_are_refused(self, trace, layer, alpha):
        with pytest.raises(ValueError, match=r"must be|should be"):
            trace.what_if(0, 0, DolaStatic(layer=layer, alpha=alpha))

    def test_is_exact_on_a_step_whose_tokens_are_all_equally_probable(self):
        """More tokens than are kept share the maximum, so every α has a plausible head of the whole vocabulary."""
        log_q = torch.full((3, 40), -math.log(40))
        log_q[0] = torch.linspace(0, 1, 40).flip(0).log_softmax(-1)
        decoding = DecodingConfig()
        F = log_q[-1] - log_q[0]
        (step,) = record_steps(
            0,
            [RowLanes((0,), (0,))],
            Allowance(1),
            choices=torch.tensor([[0]]),
            scores=log_q[None, -1:],
            log_q=log_q[:, None],
            ids=torch.tensor([[1]]),
            noise=None,
        )
        try:
            named = step.what_if(DolaStatic(layer=1, alpha=1.0), decoding)
        except ValueError:
            return  # saying that it is not recorded is exact, too
        assert named == F.argmax()
