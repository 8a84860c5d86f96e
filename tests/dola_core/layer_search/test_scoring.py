"""Scores from one shared forward pass must equal those of a forward pass for every item, answer, layer and α."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, JanusForConditionalGeneration

from dola_core.contrast import log_softmax
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.layer_search.answers.plausible_heads import OUTSIDE
from dola_core.layer_search.answers.scoring import ScoringConfig, score_items
from dola_core.layer_search.metrics import COMPARING_METRICS, GREEDY_METRICS, metric_values
from dola_core.layer_search.questions.dataset import Item
from dola_core.models.info import ModelInfo
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.preset import Preset
from dola_core.models.reading.readout import Readout
from tests.dola_core.tiny import CONFIGS, N, prepared

LAYERS, ALPHAS = (1, 22, 29), (0.0, 0.05, 0.5, 1.0)
ITEMS = [
    Item(prompt="The capital of Japan is", answers=("Tokyo", "the city of Tokyo"), wrong=("Osaka", "Kyoto")),
    Item(prompt="Pakistan: the capital is", answers=("Islamabad.",), wrong=("Karachi", "Kabul, in the west")),
    Item(prompt="Gold is", answers=("a metal.", "Au"), wrong=("Ag",)),
    Item(prompt="Iron is", answers=("Fe",), wrong=("a gas at room temperature, as many people say",)),
]
SCORINGS = [
    ScoringConfig(),
    ScoringConfig(early_norm=False),
    ScoringConfig(post_softmax="vocabulary"),
    ScoringConfig(post_softmax="off"),
    ScoringConfig(apc=False),
    ScoringConfig(apc=False, post_softmax="off"),
]


def with_atlas_tokenizer(model):
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_MODEL)
    info = ModelInfo(name="tiny", dtype="float32", n_layers=N, vocab_size=len(tokenizer))
    return LoadedModel(model, tokenizer, Readout.of(model), "tiny", info, Preset(layer=22))


@pytest.fixture(scope="module", params=["atlas", "llama", "gpt2", "janus"])
def loaded(request):
    if request.param == "atlas":
        return request.getfixturevalue("atlas")
    config = CONFIGS[request.param]()
    text = config.get_text_config()
    text.vocab_size = 6144
    text.initializer_range = 0.1  # so that raw logits, without the norm, keep four digits in float32
    torch.manual_seed(0)
    return with_atlas_tokenizer(prepared(build(config)))


def build(config):
    if config.model_type == "janus":
        return JanusForConditionalGeneration(config)
    return AutoModelForCausalLM.from_config(config)


def naive(loaded, item, text, scoring):
    """Scores of one answer: a forward pass of its own, plain log-softmax, and the constraint as in the paper."""
    prompt, ids = loaded.encode(item.prompt), loaded.encode(f"{item.prompt} {text}")
    with loaded.readout.capture([*LAYERS, N], pick=lambda h: h) as h, torch.no_grad():
        loaded.model(input_ids=torch.tensor([ids]), use_cache=False)
    places = range(len(prompt), len(ids))

    def log_qs(layer, *, early_norm=True):
        read = [loaded.readout.logits(h[layer][0, place - 1], early_norm=early_norm) for place in places]
        return [log_softmax(logits).double() for logits in read]

    mature, early = log_qs(N), {layer: log_qs(layer, early_norm=scoring.early_norm) for layer in LAYERS}
    totals = [sum(log_q_N[ids[place]].item() for place, log_q_N in zip(places, mature, strict=True))]
    for layer, alpha in product(LAYERS, ALPHAS):
        total = 0.0
        for place, log_q_N, log_q_J in zip(places, mature, early[layer], strict=True):
            F, q_N = log_q_N - log_q_J, log_q_N.float().exp()
            kept = q_N >= alpha * q_N.max() if scoring.apc else torch.ones_like(F).bool()
            if scoring.post_softmax == "head":
                F = F.masked_fill(~kept, -torch.inf).log_softmax(-1)
            elif scoring.post_softmax == "vocabulary":
                F = F.log_softmax(-1)
            total += F[ids[place]].item() if kept[ids[place]] else OUTSIDE
        totals.append(total)
    return totals


@pytest.mark.parametrize("scoring", SCORINGS, ids=str)
def test_every_score_equals_that_of_a_separate_forward_pass(loaded, scoring):
    scored = dict(pair for batch in score_items(loaded, ITEMS, LAYERS, ALPHAS, scoring) for pair in batch)
    assert sorted(scored) == list(range(len(ITEMS)))
    for number, item in enumerate(ITEMS):
        for texts, rows in ((item.answers, scored[number].right), (item.wrong, scored[number].wrong)):
            for text, scores in zip(texts, rows, strict=True):
                assert scores.tolist() == pytest.approx(naive(loaded, item, text, scoring), rel=1e-6, abs=1e-4)


@settings(max_examples=6, deadline=None)
@given(order=st.permutations(range(len(ITEMS))), tokens=st.integers(1, 200), rows=st.integers(1, 9))
def test_scores_do_not_depend_on_order_batches_or_chunks(atlas, order, tokens, rows):
    whole = dict(pair for batch in score_items(atlas, ITEMS, LAYERS, ALPHAS) for pair in batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dola_core.layer_search.answers.batches.BATCH_TOKENS", tokens)
        patch.setattr("dola_core.layer_search.answers.scoring.CHUNK_LOGITS", rows * atlas.readout.vocab_size)
        shuffled = dict(
            pair for batch in score_items(atlas, [ITEMS[i] for i in order], LAYERS, ALPHAS) for pair in batch
        )
    for place, number in enumerate(order):
        for metric in (*COMPARING_METRICS, *GREEDY_METRICS):
            values, shuffled_values = metric_values(whole[number], metric), metric_values(shuffled[place], metric)
            assert values == pytest.approx(shuffled_values, abs=0 if metric not in ("mc2", "margin") else 1e-4)


def test_many_answers_of_one_question_are_read_in_groups(atlas, monkeypatch):
    monkeypatch.setattr("dola_core.layer_search.answers.batches.BATCH_TOKENS", 60)
    item = Item(prompt="Tokyo is the capital of", answers=("Japan",), wrong=tuple(f"the {n}th one" for n in range(20)))
    read = []
    hook = atlas.readout.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    ((_, scored),) = next(score_items(atlas, [item], LAYERS, ALPHAS))
    hook.remove()
    (prompt, length), *answers = read
    assert prompt == 1
    assert sum(rows for rows, _ in answers) == 21
    assert max(rows for rows, _ in answers) == 60 // (length + max(width for _, width in answers)) > 1
    assert scored.wrong.shape == (20, 1 + len(LAYERS) * len(ALPHAS))


def test_an_item_longer_than_the_context_raises_with_its_number(atlas):
    long = Item(prompt="word " * 600, answers=("a",), wrong=("b",))
    with pytest.raises(ValueError, match=r"Question 2 has [\d,]+ tokens.*at most 512"):
        list(score_items(atlas, [ITEMS[0], long], LAYERS, ALPHAS))


def test_without_wrong_answers_only_greedy_metrics_are_measured(atlas):
    (batch,) = score_items(atlas, [Item(prompt="The capital of Japan is", answers=("Tokyo",))], (), ())
    ((_, scored),) = batch
    assert metric_values(scored, "said").shape == metric_values(scored, "first").shape == (1,)
    for metric in COMPARING_METRICS:
        with pytest.raises(ValueError, match="offers no wrong one"):
            metric_values(scored, metric)
    with pytest.raises(ValueError, match="on generated texts"):
        metric_values(scored, "exact")
