"""Lock step is the model's own decoding: what a model cannot do is done another way, or the model is refused."""

import pytest
import torch
from transformers import DynamicCache, GPT2LMHeadModel, LlamaForCausalLM

from dola_core.decoding.compiled.static_step import StaticStep
from dola_core.decoding.engine import Engine
from dola_core.errors import PromptError, UnsupportedModelError
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.reading.cached_texts import CachedTexts, ReadingRules, read_logits
from dola_core.models.reading.proof import context_length, reading_rules
from dola_core.models.reading.readout import Readout
from tests.dola_core.models.reading.families import tiny_config, tiny_family
from tests.dola_core.tiny import CONFIGS, V, asked, compare, engine_of, prepared, prompt, texts

LANES = (Baseline(name="baseline"), DolaStatic(name="low", layer=2), DolaStatic(name="high", layer=20))
GREEDY = DecodingConfig(max_new_tokens=12)


def generated(model, ids, n, **how):
    inputs = torch.tensor([ids])
    output = model.generate(inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=n, do_sample=False, **how)
    return output[0, len(ids) :].tolist()


def made(kind) -> Readout:
    """A tiny random model of one of the classes below."""
    torch.manual_seed(0)
    config = CONFIGS["gpt2"]() if issubclass(kind, GPT2LMHeadModel) else CONFIGS["llama"]()
    return Readout.of(prepared(kind(config)))


class ReadsPromptsInOnePiece(LlamaForCausalLM):
    """Goes on from a cache by one token only; of more it forgets all but the last."""

    def forward(self, input_ids=None, past_key_values=None, **kwargs):
        if past_key_values is not None and past_key_values.get_seq_length() and input_ids.shape[1] > 1:
            past_key_values.update = lambda keys, values, *_: (keys, values)
        return super().forward(input_ids=input_ids, past_key_values=past_key_values, **kwargs)


class ReadsOneRowAtATime(LlamaForCausalLM):
    """Gives every row of a cache that was copied the keys of the first."""

    def forward(self, input_ids=None, past_key_values=None, **kwargs):
        if past_key_values is not None and len(input_ids) > 1:
            for layer in past_key_values.layers:
                if layer.is_initialized:
                    layer.keys = layer.keys[:1].expand_as(layer.keys)
        return super().forward(input_ids=input_ids, past_key_values=past_key_values, **kwargs)


class OwnCache(DynamicCache):
    """A cache that a model makes for itself and accepts no other."""


class MakesItsOwnCache(LlamaForCausalLM):
    def forward(self, past_key_values=None, use_cache=None, **kwargs):
        if past_key_values is None and use_cache:
            past_key_values = OwnCache(config=self.config)
        if past_key_values is not None and not isinstance(past_key_values, OwnCache):
            raise ValueError("This model needs a cache of its own.")
        return super().forward(past_key_values=past_key_values, use_cache=use_cache, **kwargs)


class CannotGoBack(LlamaForCausalLM):
    """Counts the tokens it has read beside its cache, which does not know of it when it is shortened."""

    def forward(self, input_ids=None, past_key_values=None, position_ids=None, **kwargs):
        if past_key_values is not None:
            read = getattr(past_key_values, "read", 0)
            position_ids = position_ids + (read - past_key_values.get_seq_length())
            past_key_values.read = read + input_ids.shape[1]
        return super().forward(
            input_ids=input_ids, past_key_values=past_key_values, position_ids=position_ids, **kwargs
        )


class PreparesItsPositions(GPT2LMHeadModel):
    """Counts positions from 3, which on a cache only `prepare_inputs_for_generation` knows."""

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        inputs = super().prepare_inputs_for_generation(input_ids, attention_mask=attention_mask, **kwargs)
        inputs["position_ids"] = inputs["position_ids"] + 3
        return inputs

    def forward(self, input_ids=None, position_ids=None, past_key_values=None, **kwargs):
        if past_key_values is None:
            position_ids = 3 + torch.arange(input_ids.shape[1])[None]
        return super().forward(
            input_ids=input_ids, position_ids=position_ids, past_key_values=past_key_values, **kwargs
        )


class KeepsWhatItHasRead(LlamaForCausalLM):
    """Keeps its cache on itself, so that two texts in turn are one to it."""

    def forward(self, input_ids=None, past_key_values=None, **kwargs):
        if past_key_values is not None:
            if not past_key_values.get_seq_length():
                self.kept = past_key_values
            past_key_values = self.kept
        return super().forward(input_ids=input_ids, past_key_values=past_key_values, **kwargs)


class IgnoresItsCache(LlamaForCausalLM):
    def forward(self, past_key_values=None, **kwargs):
        return super().forward(**{**kwargs, "use_cache": False})


class SeesWhatFollows(LlamaForCausalLM):
    """Reads a text as a whole, both ways, when it has no cache."""

    def forward(self, input_ids=None, past_key_values=None, **kwargs):
        if past_key_values is None and input_ids.shape[1] > 1:
            kwargs["attention_mask"] = torch.zeros(len(input_ids), 1, input_ids.shape[1], input_ids.shape[1])
        return super().forward(input_ids=input_ids, past_key_values=past_key_values, **kwargs)


class SeesPadding(LlamaForCausalLM):
    """Attends to all that its cache holds."""

    def forward(self, attention_mask=None, **kwargs):
        return super().forward(**kwargs)


class CountsPositionsByItsCache(LlamaForCausalLM):
    def forward(self, position_ids=None, **kwargs):
        return super().forward(**kwargs)


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (LlamaForCausalLM, ReadingRules(padded=True)),
        (PreparesItsPositions, ReadingRules()),  # its `forward` names no mask
        (SeesPadding, ReadingRules()),
        (CountsPositionsByItsCache, ReadingRules()),
        (ReadsPromptsInOnePiece, ReadingRules(in_chunks=False)),
        (ReadsOneRowAtATime, ReadingRules(rows_together=False)),
        (MakesItsOwnCache, ReadingRules(own_cache=True)),
        (CannotGoBack, ReadingRules(shortened=False)),
    ],
)
def test_what_a_model_cannot_do_is_done_another_way(kind, rules):
    readout = made(kind)
    assert reading_rules(readout) == rules
    engine, ids = engine_of(readout), prompt(9)
    whole = texts(engine.compare(asked(ids, LANES, GREEDY)))
    if kind is not MakesItsOwnCache:  # which generate does not let it
        assert whole[0] == generated(readout.model, ids, 12)
    for number, lane in enumerate(LANES):
        assert [whole[number]] == texts(compare(readout, ids, [lane], GREEDY, record=False))
    assert texts(engine.compare(asked(ids, LANES, GREEDY), chunk=4, reuse_prefix=True)) == whole
    longer = [*ids, *whole[1][:4]]
    assert texts(engine.compare(asked(longer, LANES, GREEDY), chunk=4, reuse_prefix=True)) == texts(
        compare(readout, longer, LANES, GREEDY)
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (KeepsWhatItHasRead, "going on from its cache.* differs from the logits of its own uncached passes"),
        (IgnoresItsCache, "hands on no cache of what it has read"),
        (SeesWhatFollows, "differs from the logits of its own uncached passes"),
    ],
)
def test_a_model_that_has_no_other_way_is_refused_by_a_sentence(kind, reason):
    with pytest.raises(UnsupportedModelError, match=rf"^{kind.__name__} cannot decode in lock step: .*{reason}\.$"):
        reading_rules(made(kind))
    with pytest.raises(UnsupportedModelError, match=reason):
        engine_of(made(kind))


def rope(kind: str, length: int, **more):
    """A rotary embedding that changes once a text is longer than `length`."""
    return {"rope_type": kind, "rope_theta": 10_000.0, "original_max_position_embeddings": length, **more}


FACTORS = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
CHANGES = {
    "a window": ("mistral", {"sliding_window": 4}, None),
    "a window beyond the prompt": ("mistral", {"sliding_window": 20}, None),
    "windows in some layers": ("gemma3_text", {"sliding_window": 6}, None),
    "chunks of attention": ("llama4_text", {"attention_chunk_size": 8}, None),
    "positions scaled alike": ("llama", {"rope_parameters": rope("yarn", 16, factor=4.0)}, None),
    "positions scaled by length": ("llama", {"rope_parameters": rope("dynamic", 20, factor=4.0)}, 20),
    "long positions with no reset": ("llama", {"rope_parameters": rope("longrope", 20, factor=8.0, **FACTORS)}, 20),
    "long positions with a reset": (
        "phi3",
        {
            "rope_parameters": rope("longrope", 20, **FACTORS),
            "original_max_position_embeddings": 20,
            "sliding_window": None,
        },
        None,
    ),
    "long positions with a reset, and a window": (
        "phi3",
        {"rope_parameters": rope("longrope", 20, **FACTORS), "original_max_position_embeddings": 20},
        None,
    ),
    "states beside attention": ("bamba", {"attn_layer_indices": [1, 3]}, None),
}


@pytest.mark.parametrize("weights", [1.0, 4.0])
@pytest.mark.parametrize("length", [3, 12, 17])
@pytest.mark.parametrize("what", CHANGES)
def test_where_a_rule_changes_with_length_the_text_is_the_models_own_or_ends(what, length, weights):
    family, changes, longest = CHANGES[what]
    model = tiny_family(tiny_config(family, **changes), weights=weights)
    readout, lanes = Readout.of(model), LANES[:2]
    ids = [1 + n % 90 for n in prompt(length)]
    config = DecodingConfig(max_new_tokens=24)
    expected = generated(model, ids, 24)
    engine = engine_of(readout)
    assert reading_rules(readout).longest == longest
    whole = texts(engine.compare(asked(ids, lanes, config), chunk=5, reuse_prefix=True))
    assert whole[0] == expected[: (longest or 1000) - length]
    # Going back into a longer text must not bring along what was read by the other rule.
    for back in (4, 1):
        begun = [*ids, *whole[0][:back]]
        if len(begun) >= (longest or 1000):
            continue
        again = texts(engine.compare(asked(begun, lanes, config), reuse_prefix=True))
        assert again[0][: 24 - back] == whole[0][back:]


def test_a_prompt_longer_than_what_is_proved_is_refused():
    model = tiny_family(tiny_config("llama", rope_parameters=rope("dynamic", 20, factor=4.0)))
    readout = Readout.of(model)
    assert context_length(readout) == 20
    with pytest.raises(PromptError, match="reads at most 20"):
        Engine.check(engine_of(readout), asked(prompt(20), LANES[:1], GREEDY))


def test_a_model_whose_positions_change_with_length_is_not_compiled():
    """Phi-3 drops its cache there, which a compiled step does not do."""
    family, changes, _ = CHANGES["long positions with a reset"]
    readout = Readout.of(tiny_family(tiny_config(family, **changes)))
    with pytest.raises(UnsupportedModelError, match="start without --compile"):
        StaticStep(readout, rows=2, length=21, compiler=lambda step: step)
    assert StaticStep(readout, rows=2, length=20, compiler=lambda step: step).length == 20


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (LlamaForCausalLM, torch.bfloat16),
        (LlamaForCausalLM, torch.float16),
        (KeepsWhatItHasRead, torch.bfloat16),
        (KeepsWhatItHasRead, torch.float16),
        (ReadsOneRowAtATime, torch.float16),
    ],
)
def test_rounding_is_told_from_a_fault(kind, dtype):
    readout = Readout.of(made(kind).model.to(dtype))
    if kind is KeepsWhatItHasRead:
        with pytest.raises(UnsupportedModelError):
            reading_rules(readout)
    else:
        is_plain = kind is LlamaForCausalLM
        assert reading_rules(readout) == ReadingRules(rows_together=is_plain, padded=is_plain)


@pytest.mark.parametrize("together", [True, False])
def test_rows_with_caches_of_their_own_read_what_one_cache_reads(readout, together):
    ids = torch.tensor([prompt(7), prompt(7, seed=1)])
    pairs = [(3, 1), (3, 0), (28, 1)]
    alone = [
        read_logits(CachedTexts(readout, row[None], ReadingRules()), [(3, 0), (28, 0)], early_norm=True) for row in ids
    ]
    both = CachedTexts(readout, ids, ReadingRules(rows_together=together))
    logits = read_logits(both, pairs, early_norm=True)
    expected = torch.stack([alone[1][0], alone[0][0], alone[1][1], alone[0][2], alone[1][2]])
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    both.select([1, 1, 0])
    both.append(torch.tensor([[5], [6], [7]]))
    logits = read_logits(both, [(3, 2)], early_norm=True)
    naive = CachedTexts(
        readout, torch.tensor([[*prompt(7, seed=1), 5], [*prompt(7, seed=1), 6], [*prompt(7), 7]]), ReadingRules()
    )
    torch.testing.assert_close(logits, read_logits(naive, [(3, 2)], early_norm=True), rtol=1e-4, atol=1e-4)
    assert logits.shape == (4, V)
