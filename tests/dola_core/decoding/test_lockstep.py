"""Lanes in lock step: what they write, what it costs, and how they end."""

import gc
import threading
from contextlib import contextmanager

import pytest
import torch

from dola_core.errors import PromptError
from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic, gumbel_noise
from dola_core.models.reading.readout import Readout
from tests.dola_core.reference import warp
from tests.dola_core.tiny import CONFIGS, V, compare, hooks_on, layer_and_alpha, prompt, texts, tiny

STEPS = 10
PROMPT = prompt(7)
BASELINE, DOLA, LOW = (
    Baseline(name="baseline"),
    DolaStatic(name="dola", layer=22),
    DolaStatic(name="low", layer=3, alpha=0.05),
)
BOTH = (BASELINE, DOLA)
GREEDY = DecodingConfig(max_new_tokens=STEPS)
SAMPLED = DecodingConfig(max_new_tokens=STEPS, temperature=0.9, top_k=30, top_p=0.95, seed=3)


def stock(model, prompt_ids, steps, **settings):
    output = model.generate(torch.tensor([prompt_ids]), do_sample=False, max_new_tokens=steps, **settings)
    return output[0, len(prompt_ids) :].tolist()


def contrasted(model, prompt_ids, steps, lane, **settings):
    output = generate_with_dola_static(
        model,
        torch.tensor([prompt_ids]),
        layer=lane.layer,
        alpha=lane.alpha,
        do_sample=False,
        max_new_tokens=steps,
        **settings,
    )
    return output[0, len(prompt_ids) :].tolist()


@contextmanager
def calls_of(module):
    """The leading shape of what `module` returns at each call, `(rows, positions)` for the decoder."""
    shapes = []

    def note(_module, _args, output):
        value = output if isinstance(output, torch.Tensor) else output.last_hidden_state
        shapes.append(tuple(value.shape[:-1]))

    handle = module.register_forward_hook(note)
    yield shapes
    handle.remove()


class TestAgainstStockGenerate:
    @pytest.mark.parametrize("name", CONFIGS)
    def test_both_lanes_equal_generate(self, name):
        """Prompt and text are longer than the sliding window of 8 that Mistral and Gemma 2 have here."""
        model, prompt_ids = tiny(name), prompt(11, seed=4)
        decoding = DecodingConfig(max_new_tokens=7)
        baseline, dola = texts(compare(Readout.of(model), prompt_ids, BOTH, decoding, record=False))
        assert baseline == stock(model, prompt_ids, 7)
        assert dola == contrasted(model, prompt_ids, 7, DOLA)
        assert baseline != dola

    @pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt2"])
    def test_a_short_prompt_grows_beyond_the_window(self, name):
        model, prompt_ids = tiny(name), prompt(3, seed=5)
        decoding = DecodingConfig(max_new_tokens=14, repetition_penalty=1.3)
        baseline, dola = texts(compare(Readout.of(model), prompt_ids, BOTH, decoding, record=False))
        assert baseline == stock(model, prompt_ids, 14, repetition_penalty=1.3)
        assert dola == contrasted(model, prompt_ids, 14, DOLA, repetition_penalty=1.3)

    @pytest.mark.parametrize(
        "lanes",
        [
            (BASELINE,),
            (DOLA,),
            (BASELINE, DOLA, LOW, DolaStatic(name="high", layer=29), DolaStatic(name="strict", layer=22, alpha=0.5)),
            (DOLA, DOLA, BASELINE, BASELINE, DOLA),
        ],
        ids=["baseline", "dola", "five", "duplicates"],
    )
    def test_any_number_of_lanes_each_write_what_they_write_alone(self, readout, lanes):
        together = texts(compare(readout, PROMPT, lanes, GREEDY))
        assert together == [texts(compare(readout, PROMPT, [lane], GREEDY, record=False))[0] for lane in lanes]

    def test_recording_changes_no_token(self, readout):
        for decoding in (GREEDY, SAMPLED):
            lanes = (BASELINE, DOLA, LOW)
            with_record = list(compare(readout, PROMPT, lanes, decoding))
            without = list(compare(readout, PROMPT, lanes, decoding, record=False))
            assert texts(with_record) == texts(without)
            assert all(advance.steps for advance in with_record)
            assert not any(advance.steps for advance in without)

    def test_alpha_one_writes_the_baseline(self, readout):
        baseline, strict = texts(compare(readout, PROMPT, (BASELINE, DolaStatic(name="", layer=9, alpha=1.0)), GREEDY))
        assert baseline == strict


class TestCost:
    @pytest.mark.parametrize("record", [True, False])
    @pytest.mark.parametrize("lanes", [BOTH, (BASELINE, DOLA, LOW, DOLA)], ids=["two", "four"])
    def test_rows_are_the_distinct_texts_and_each_step_is_one_forward_pass(self, readout, lanes, record):
        with calls_of(readout.decoder) as passes:
            written = texts(compare(readout, PROMPT, lanes, GREEDY, record=record))
        distinct = [len({tuple(text[:step]) for text in written}) for step in range(1, STEPS)]
        assert passes == [(1, len(PROMPT)), *((rows, 1) for rows in distinct)]
        assert distinct[-1] > distinct[0] or distinct[0] > 1

    def test_one_head_product_reads_all_layers_of_all_rows_for_the_trace(self, readout):
        with calls_of(readout.phi) as products, calls_of(readout.decoder) as passes:
            list(compare(readout, PROMPT, BOTH, GREEDY))
        assert products == [(30 * rows,) for rows, _ in passes]

    def test_without_a_trace_each_lane_s_layer_is_read_on_its_own_row_alone(self, readout):
        lanes = (BASELINE, DOLA, LOW, DOLA, DolaStatic(name="looser", layer=DOLA.layer, alpha=0.01))
        with calls_of(readout.phi) as products:
            written = texts(compare(readout, PROMPT, lanes, GREEDY, record=False))
        prefixes = [[tuple(text[:step]) for text in written] for step in range(STEPS)]
        read = [
            {(lane.reads, text) for lane, text in zip(lanes, texts_, strict=True) if lane.reads} for texts_ in prefixes
        ]
        assert products == [(len(set(here)) + len(pairs),) for here, pairs in zip(prefixes, read, strict=True)]
        assert len({len(pairs) for pairs in read}) > 1  # the two with one layer share it until they part

    def test_lanes_that_never_differ_stay_one_row(self, readout):
        with calls_of(readout.decoder) as passes:
            list(compare(readout, PROMPT, (DOLA, DOLA, DOLA), GREEDY))
        assert {rows for rows, _ in passes} == {1}

    def test_a_lane_that_ends_gives_its_row_back(self, readout):
        baseline = texts(compare(readout, PROMPT, (BASELINE,), GREEDY))[0]
        dola = texts(compare(readout, PROMPT, (DOLA,), GREEDY))[0]
        end = next(token for token in baseline[3:] if token not in dola)
        with calls_of(readout.decoder) as passes:
            list(compare(readout, PROMPT, BOTH, GREEDY, eos_ids=[end]))
        assert passes[-1] == (1, 1)
        assert len(passes) == STEPS


@pytest.fixture(scope="module")
def alone(readout):
    """What the two lanes write without each other and without an end."""
    return [texts(compare(readout, PROMPT, [lane], GREEDY, record=False))[0] for lane in BOTH]


class TestEnds:
    def test_the_end_of_text_ends_one_lane_and_the_other_goes_on(self, readout, alone):
        end = next(token for token in alone[0][2:] if token not in alone[1])
        advances = list(compare(readout, PROMPT, BOTH, GREEDY, eos_ids=[end]))
        stopped = alone[0].index(end)
        assert texts(advances) == [alone[0][: stopped + 1], alone[1]]
        assert advances[stopped].ends == {0: "eos"}
        assert all(set(advance.tokens) == {1} for advance in advances[stopped + 1 :])
        assert advances[-1].ends == {1: "length"}

    def test_a_lane_that_has_ended_still_has_ghosts(self, readout, alone):
        end = next(token for token in alone[0][2:] if token not in alone[1])
        last = list(compare(readout, PROMPT, BOTH, GREEDY, eos_ids=[end]))[-1].steps
        assert [step.lanes for step in last] == [(1,)]
        ghost = texts(compare(readout, PROMPT + alone[1][:-1], [BASELINE], DecodingConfig(max_new_tokens=1)))
        assert last[0].choices[0].id == ghost[0][0]

    def test_all_lanes_end_and_so_does_the_generator(self, readout, alone):
        ends = {alone[0][1], alone[1][1]}
        advances = list(compare(readout, PROMPT, BOTH, GREEDY, eos_ids=ends))
        assert len(advances) <= 2
        assert {reason for advance in advances for reason in advance.ends.values()} == {"eos"}

    def test_a_stop_string_ends_a_lane(self, readout, alone):
        def text_of(ids):
            return " ".join(map(str, ids))

        decoding = GREEDY.model_copy(update={"stop": (text_of(alone[1][2:4]),)})
        advances = list(compare(readout, PROMPT, (DOLA,), decoding, text_of=text_of))
        assert texts(advances) == [alone[1][:4]]
        assert advances[-1].ends == {0: "stop"}

    def test_length_ends_every_lane(self, readout):
        advances = list(compare(readout, PROMPT, BOTH, DecodingConfig(max_new_tokens=3)))
        assert [advance.index for advance in advances] == [0, 1, 2]
        assert [advance.ends for advance in advances] == [{}, {}, {0: "length", 1: "length"}]

    def test_the_context_ends_every_lane(self, readout):
        advances = list(compare(readout, prompt(125), BOTH, GREEDY))
        assert len(advances) == 3
        assert advances[-1].ends == {0: "length", 1: "length"}

    @pytest.mark.parametrize("length", [128, 200])
    def test_a_prompt_that_fills_the_context_is_refused_at_once(self, readout, length):
        with pytest.raises(PromptError, match=r"at most 128 .*[Ss]horten it"):
            compare(readout, prompt(length), BOTH, GREEDY)

    def test_an_empty_prompt_is_refused_at_once(self, readout):
        with pytest.raises(PromptError, match="empty"):
            compare(readout, [], BOTH, GREEDY)

    def test_a_lane_with_a_layer_the_model_lacks_is_refused_at_once(self, readout):
        with pytest.raises(ValueError, match="from 1 to 29"):
            compare(readout, PROMPT, (BASELINE, DolaStatic(name="", layer=30)), GREEDY)


class TestAbandoning:
    def test_a_dropped_comparison_leaves_no_hooks_and_the_next_one_works(self, readout):
        whole = texts(compare(readout, PROMPT, BOTH, GREEDY))
        comparison = compare(readout, PROMPT, BOTH, GREEDY)
        next(comparison), next(comparison)
        assert hooks_on(readout.model) == 0
        del comparison
        gc.collect()
        assert hooks_on(readout.model) == 0
        assert texts(compare(readout, PROMPT, BOTH, GREEDY)) == whole

    def test_a_comparison_never_begun_runs_nothing(self, readout):
        with calls_of(readout.decoder) as passes:
            compare(readout, PROMPT, BOTH, GREEDY)
        assert passes == []

    def test_comparisons_interleaved_on_one_model_do_not_disturb_each_other(self, readout):
        prompts = [PROMPT, prompt(4, seed=8)]
        alone = [texts(compare(readout, p, BOTH, GREEDY)) for p in prompts]
        advances = zip(*(compare(readout, p, BOTH, GREEDY) for p in prompts), strict=True)
        assert [texts(column) for column in zip(*advances, strict=True)] == alone

    def test_comparisons_in_two_threads_do_not_disturb_each_other(self, readout):
        prompts = [prompt(4 + seed, seed) for seed in range(2)]
        alone = [texts(compare(readout, p, BOTH, GREEDY)) for p in prompts]
        together = [None, None]

        def work(number):
            together[number] = texts(compare(readout, prompts[number], BOTH, GREEDY))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert together == alone
        assert hooks_on(readout.model) == 0


class TestSampling:
    def test_the_same_seed_writes_the_same_text_and_another_one_another(self, readout):
        once, again = (texts(compare(readout, PROMPT, BOTH, SAMPLED, record=False)) for _ in range(2))
        assert once == again
        other = SAMPLED.model_copy(update={"seed": 4})
        assert texts(compare(readout, PROMPT, BOTH, other, record=False)) != once

    def test_the_global_seed_does_not_matter(self, readout):
        torch.manual_seed(1)
        once = texts(compare(readout, PROMPT, BOTH, SAMPLED, record=False))
        torch.manual_seed(2)
        assert texts(compare(readout, PROMPT, BOTH, SAMPLED, record=False)) == once

    def test_lanes_with_equal_distributions_draw_equal_tokens(self, readout):
        one, other, _ = texts(compare(readout, PROMPT, (DOLA, DOLA, BASELINE), SAMPLED, record=False))
        assert one == other

    def test_what_a_lane_draws_does_not_depend_on_its_companions(self, readout):
        alone = texts(compare(readout, PROMPT, [DOLA], SAMPLED, record=False))
        assert texts(compare(readout, PROMPT, (BASELINE, LOW, DOLA), SAMPLED, record=False))[2:] == alone

    @pytest.mark.parametrize(
        "penalty",
        [{}, {"penalty": 1.4, "position": "before"}, {"penalty": 1.4, "position": "after"}],
        ids=str,
    )
    def test_each_draw_is_the_maximum_of_its_own_warped_distribution_and_the_common_noise(
        self, readout, naive, penalty
    ):
        warpers = {"temperature": 0.9, "top_k": 12, "top_p": 0.9, "min_p": 0.01}
        for seed in range(12):
            decoding = DecodingConfig(
                max_new_tokens=3,
                seed=seed,
                repetition_penalty=penalty.get("penalty", 1.0),
                penalty_position=penalty.get("position", "before"),
                **warpers,
            )
            for lane, text in zip(BOTH, texts(compare(readout, PROMPT, BOTH, decoding, record=False)), strict=True):
                for step, token in enumerate(text):
                    p = warp(naive.scores(PROMPT + text[:step], *layer_and_alpha(lane), **penalty), **warpers)
                    noise = gumbel_noise(decoding, len(PROMPT) + step, V).numpy()
                    assert p[token] > 0
                    kept = [i for i in range(V) if p[i] > 0]
                    assert token == max(kept, key=lambda i: float(torch.tensor(p[i]).log()) + noise[i])


@pytest.mark.parametrize(
    "decoding", [GREEDY, DecodingConfig(max_new_tokens=8, temperature=1.1, top_p=0.95, seed=4)], ids=str
)
def test_a_text_taken_up_again_in_the_middle_goes_on_as_it_did(readout, decoding):
    for lane, text in zip(BOTH, texts(compare(readout, PROMPT, BOTH, decoding)), strict=True):
        for cut in (1, 4):
            rest = decoding.model_copy(update={"max_new_tokens": len(text) - cut})
            assert texts(compare(readout, PROMPT + text[:cut], [lane], rest)) == [text[cut:]]


class TestScripts:
    def test_a_given_text_is_replayed_and_looked_at(self, readout):
        given = prompt(5, seed=9)
        advances = list(compare(readout, PROMPT, BOTH, GREEDY, forced={0: (given, "stopped")}))
        replayed, free = texts(advances)
        assert replayed == given
        assert free == texts(compare(readout, PROMPT, [DOLA], GREEDY))[0]
        assert advances[4].ends == {0: "stopped"}
        for advance in advances[:5]:
            step = next(step for step in advance.steps if 0 in step.lanes)
            assert step.taken[step.lanes.index(0)] == given[advance.index]
            expected = stock(readout.model, PROMPT + given[: advance.index], 1)
            assert [step.choices[0].id] == expected

    def test_replaying_what_was_written_gives_the_same_steps(self, readout):
        for decoding in (GREEDY, SAMPLED):
            written = texts(compare(readout, PROMPT, BOTH, decoding))
            forced = {lane: (text, "length") for lane, text in enumerate(written)}
            original = [a.steps for a in compare(readout, PROMPT, BOTH, decoding)]
            replayed = [a.steps for a in compare(readout, PROMPT, BOTH, decoding, forced=forced)]
            assert [[s.model_dump_json() for s in steps] for steps in original] == [
                [s.model_dump_json() for s in steps] for steps in replayed
            ]

    @pytest.mark.parametrize("ending", [0, 2])
    def test_a_row_that_ends_while_another_forks_leaves_the_right_cache_to_both(self, readout, ending):
        """The number of rows stays two, yet what they hold changes."""
        given = {lane: [11, 20 + lane, *prompt(3, seed=lane)] for lane in range(3)} | {ending: [12, 13]}
        forced = {lane: (ids, "length") for lane, ids in given.items()}
        for advance in compare(readout, PROMPT, (BASELINE, DOLA, LOW), GREEDY, forced=forced):
            for step in advance.steps:
                prefix = PROMPT + given[step.lanes[0]][: advance.index]
                assert [step.choices[0].id] == stock(readout.model, prefix, 1)
                assert [step.choices[1].id] == contrasted(readout.model, prefix, 1, DOLA)
