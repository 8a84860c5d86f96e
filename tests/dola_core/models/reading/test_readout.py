"""Where models keep their layers, and what is read there."""

import copy
import gc
import threading
from functools import cache

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
)

from dola_core.models.reading.readout import Readout
from tests.dola_core.tiny import CONFIGS, WIDTH, N, V, hooks_on, prepared, prompt, tiny

IDS = torch.tensor([prompt(6, seed=1), prompt(6, seed=2)])
AFTER_HEAD = {
    "gemma2": lambda logits: torch.tanh(logits / 2.0) * 2.0,
    "cohere": lambda logits: logits * 0.25,
    "granite": lambda logits: logits / 3.0,
}
every_architecture = pytest.mark.parametrize("name", CONFIGS)


@torch.no_grad()
def run(model, ids=IDS, **kwargs):
    return model(ids, use_cache=False, **kwargs)


@cache
def hidden_states(name):
    """From a copy, since `output_hidden_states=True` hangs `transformers`' own hooks on a model for good."""
    return run(copy.deepcopy(tiny(name)), output_hidden_states=True).hidden_states


class TestArchitectures:
    @every_architecture
    def test_finds_thirty_layers_and_the_vocabulary(self, name):
        readout = Readout.of(tiny(name))
        assert (readout.n_layers, readout.vocab_size, readout.context_length) == (N, V, 128)

    @every_architecture
    def test_the_last_block_read_out_is_the_models_own_logits(self, name):
        readout = Readout.of(tiny(name))
        with readout.capture([N]) as captured:
            own = run(readout.model).logits[:, -1]
        torch.testing.assert_close(readout.logits(captured[N]), own, rtol=1e-4, atol=1e-4)

    @every_architecture
    def test_what_is_captured_are_the_hidden_states_of_the_last_position(self, name):
        readout, states = Readout.of(tiny(name)), hidden_states(name)
        with readout.capture(range(1, N)) as captured:
            run(readout.model)
        assert sorted(captured) == list(range(1, N))
        for layer, h in captured.items():
            torch.testing.assert_close(h, states[layer][:, -1], rtol=1e-5, atol=1e-5)
            assert not torch.allclose(h, states[layer - 1][:, -1])
            assert not torch.allclose(h, states[layer + 1][:, -1])

    @every_architecture
    def test_the_last_block_is_captured_before_the_final_norm(self, name):
        readout, normed = Readout.of(tiny(name)), hidden_states(name)[N][:, -1]
        with readout.capture([N]) as captured:
            run(readout.model)
        torch.testing.assert_close(readout.ln_out(captured[N]), normed, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(captured[N], normed, atol=1e-2)
        assert not torch.allclose(readout.ln_out(normed), normed, atol=1e-2)

    @every_architecture
    @torch.no_grad()
    def test_early_layers_are_read_through_the_same_norm_head_and_scale(self, name):
        model = tiny(name)
        readout, states = Readout.of(model), hidden_states(name)
        ln_out = next(m for n, m in model.get_decoder().named_children() if n in ("norm", "ln_f", "final_layer_norm"))
        head, after = model.get_output_embeddings(), AFTER_HEAD.get(name, lambda logits: logits)
        for layer in (1, 15, 29):
            h = states[layer][:, -1]
            torch.testing.assert_close(readout.logits(h), after(head(ln_out(h))), rtol=1e-5, atol=1e-5)
            raw = readout.logits(h, early_norm=False)
            torch.testing.assert_close(raw, after(head(h)), rtol=1e-5, atol=1e-5)
            assert not torch.allclose(raw, readout.logits(h), atol=1e-2)

    @every_architecture
    def test_the_model_is_left_as_it_was(self, name):
        model = tiny(name)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        kind, forward, generate = type(model), model.forward, model.generate
        readout = Readout.of(model)
        with readout.capture(range(1, N + 1)):
            run(model)
        assert hooks_on(model) == 0
        assert (type(model), model.forward, model.generate) == (kind, forward, generate)
        after = model.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert readout.ln_out in set(model.modules())
        assert readout.phi is model.get_output_embeddings()

    def test_a_bfloat16_model_is_read_in_float32(self):
        readout = Readout.of(prepared(AutoModelForCausalLM.from_config(CONFIGS["llama"](), dtype=torch.bfloat16)))
        with readout.capture([10]) as captured:
            run(readout.model)
        assert captured[10].dtype == torch.bfloat16
        assert readout.logits(captured[10]).dtype == torch.float32


class TestCapture:
    def test_only_the_last_position_is_kept_and_owns_its_memory(self, readout):
        with readout.capture([10]) as captured:
            run(readout.model)
        assert captured[10].shape == (2, WIDTH)
        assert captured[10].untyped_storage().nbytes() == 2 * WIDTH * 4

    def test_only_the_layers_asked_for_are_captured(self, readout):
        with readout.capture([3, 22]) as captured:
            run(readout.model)
        assert sorted(captured) == [3, 22]

    def test_a_later_forward_pass_overwrites_an_earlier_one(self, readout):
        with readout.capture([10]) as captured:
            run(readout.model)
            first = captured[10]
            run(readout.model, IDS[:1, :3])
        assert captured[10].shape == (1, WIDTH)
        assert not torch.allclose(captured[10], first[:1])

    def test_nothing_is_captured_after_the_end(self, readout):
        with readout.capture([10]) as captured:
            pass
        run(readout.model)
        assert captured == {}

    def test_hooks_are_gone_after_success(self, readout):
        with readout.capture([10, 20]):
            assert hooks_on(readout.model) == 2
        assert hooks_on(readout.model) == 0

    def test_hooks_are_gone_after_an_error(self, readout):
        with pytest.raises(KeyError), readout.capture([10, 20]):
            raise KeyError
        assert hooks_on(readout.model) == 0

    def test_nested_captures_each_see_the_pass_and_leave_nothing(self, readout):
        with readout.capture([10]) as outer:
            with readout.capture([10, 11]) as inner:
                run(readout.model)
            assert hooks_on(readout.model) == 1
        assert hooks_on(readout.model) == 0
        assert torch.equal(outer[10], inner[10])
        assert sorted(inner) == [10, 11]

    def test_hooks_are_gone_when_a_generator_is_dropped_inside(self, readout):
        def steps():
            with readout.capture([10]) as captured:
                while True:
                    run(readout.model)
                    yield captured[10]

        generator = steps()
        next(generator)
        assert hooks_on(readout.model) == 1
        del generator
        gc.collect()
        assert hooks_on(readout.model) == 0

    def test_forward_passes_of_other_threads_are_not_captured(self, readout):
        with readout.capture([10]) as captured:
            run(readout.model)
            mine = captured[10]
            other = threading.Thread(target=run, args=(readout.model, IDS[:1]))
            other.start()
            other.join()
            assert captured[10] is mine

    def test_a_thread_that_captures_sees_its_own_passes(self, readout):
        seen = {}

        def capture(ids):
            with readout.capture([10]) as captured:
                run(readout.model, ids)
                seen[len(ids)] = captured[10].shape[0]

        threads = [threading.Thread(target=capture, args=(ids,)) for ids in (IDS, IDS[:1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == {2: 2, 1: 1}


def early_states(readout, captured, layer, *, early_norm):
    return lambda x: readout.norm(captured[layer]) if early_norm else readout.raw(captured[layer])


class TestBesideHead:
    @pytest.mark.parametrize("early_norm", [True, False])
    @pytest.mark.parametrize("keep", [0, 1])
    @pytest.mark.parametrize("name", ["llama", "gpt2", "janus", "gemma2"])
    @torch.no_grad()
    def test_the_head_reads_both_in_one_product_and_the_model_sees_its_last_position(self, name, keep, early_norm):
        readout, shapes = Readout.of(tiny(name)), []
        own = run(readout.model).logits[:, -1]
        with readout.capture([7]) as captured:
            early = early_states(readout, captured, 7, early_norm=early_norm)
            with readout.beside_head(early) as product:
                counter = readout.phi.register_forward_hook(lambda _m, args, _o: shapes.append(args[0].shape))
                beside = run(readout.model, logits_to_keep=keep).logits
                counter.remove()
        torch.testing.assert_close(product.take_early(readout), readout.logits(captured[7], early_norm=early_norm))
        assert product.take_early(readout) is None
        torch.testing.assert_close(beside[:, -1], own)
        assert shapes == [(4, WIDTH)]

    @torch.no_grad()
    def test_a_pass_with_nothing_to_read_is_left_alone(self, readout):
        own = run(readout.model).logits
        with readout.beside_head(lambda x: None) as product:
            assert torch.equal(run(readout.model).logits, own)
        assert product.output is None

    @torch.no_grad()
    def test_only_the_innermost_acts(self, readout):
        with readout.beside_head(lambda x: x) as outer:
            with readout.beside_head(lambda x: torch.cat([x, x])) as inner:
                run(readout.model)
            assert outer.output is None
            assert inner.output.shape == (6, V)
            run(readout.model)
            assert outer.output.shape == (4, V)

    @torch.no_grad()
    def test_passes_of_other_threads_are_left_alone(self, readout):
        own, seen = run(readout.model).logits, []
        with readout.beside_head(lambda x: x) as product:
            other = threading.Thread(target=lambda: seen.append(run(readout.model).logits))
            other.start()
            other.join()
            assert product.output is None
        assert torch.equal(seen[0], own)

    def test_hooks_are_gone_where_the_generator_is_closed_in_another_thread(self, readout):
        def steps():
            with readout.beside_head(lambda x: x):
                yield

        generator = steps()
        next(generator)
        other = threading.Thread(target=generator.close)
        other.start()
        other.join()
        assert hooks_on(readout.model) == 0
        with readout.beside_head(lambda x: x) as product:
            run(readout.model)
        assert product.output is not None
