"""One pass an answer must give what one forward pass for every item, answer, layer and α would."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from outcomes import search

from dola_core.contrast import log_p_hat, log_softmax
from dola_core.generation import generate_with_dola_static
from dola_core.layer_search.answers.plausible_heads import OUTSIDE
from dola_core.layer_search.questions.dataset import Item

LAYERS, ALPHAS = (1, 11, 22, 29), (0.05, 0.1, 0.5, 1.0)
KINDS = ("baseline_mc_correct", "baseline_greedy_correct", "dola_mc_correct", "dola_greedy_correct")
ITEMS = [
    Item(prompt="The capital of Japan is", answers=("Tokyo",), wrong=("Osaka", "Kyoto")),
    Item(prompt="Pakistan: the capital is", answers=("Islamabad",), wrong=("Karachi", "Kabul"), domain="hard"),
    Item(prompt="France borders", answers=("Spain", "Italy", "Germany"), wrong=("Portugal", "Poland")),
    Item(prompt="Gold is", answers=("a metal.", "Au"), wrong=("Ag",)),
    Item(prompt="The capital of Chile is", answers=("Lima",), wrong=("Santiago",)),
]


def naive(loaded, item, layer, alpha):
    """Whether the multiple choice and the greedy text are right: no cache, no batch, all positions and tokens."""

    def distributions(ids):
        with loaded.readout.capture([layer or 30, 30], pick=lambda h: h) as h, torch.no_grad():
            loaded.model(torch.tensor([ids]), use_cache=False)
        log_q_N = log_softmax(loaded.readout.logits(h[30][0]))
        if layer is None:
            return log_q_N
        return log_p_hat(log_q_N, log_softmax(loaded.readout.logits(h[layer][0])), alpha)

    def likelihood(text):
        prompt, ids = loaded.encode(item.prompt), loaded.encode(f"{item.prompt} {text}")
        log_p = distributions(ids)
        return sum(max(log_p[place - 1, ids[place]].item(), OUTSIDE) for place in range(len(prompt), len(ids)))

    def greedy():
        inputs = loaded.tokenizer(item.prompt, return_tensors="pt")
        ids = generate_with_dola_static(
            loaded.model, **inputs, layer=layer or 1, alpha=alpha or 0.1, use_dola_lm_static=layer is not None,
            max_new_tokens=12, do_sample=False,
        )  # fmt: skip
        return loaded.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    text = greedy().strip()
    greedy_correct = any(
        text.startswith(a) and not re.match(r"\w|[-/]", text[len(a) : len(a) + 1]) for a in item.answers
    )
    mc_correct = max(map(likelihood, item.answers)) > max(map(likelihood, item.wrong))
    return mc_correct, greedy_correct


def test_every_setting_equals_a_naive_evaluation(loaded):
    outcome = search(loaded, ITEMS, LAYERS, ALPHAS)
    for kind in KINDS:
        assert len(np.unique(getattr(outcome, kind))) == 2, f"{kind} should have both outcomes"
    for number, item in enumerate(ITEMS):
        baseline = outcome.baseline_mc_correct[number], outcome.baseline_greedy_correct[number]
        assert naive(loaded, item, None, None) == baseline
        for i, layer in enumerate(LAYERS):
            for k, alpha in enumerate(ALPHAS):
                dola = outcome.dola_mc_correct[number, i, k], outcome.dola_greedy_correct[number, i, k]
                assert naive(loaded, item, layer, alpha) == dola, (item.prompt, layer, alpha)


def test_alpha_1_writes_what_the_baseline_writes(loaded):
    outcome = search(loaded, ITEMS, LAYERS, (1.0,))
    assert (outcome.dola_greedy_correct[:, :, 0] == outcome.baseline_greedy_correct[:, None]).all()


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(len(ITEMS))), tokens=st.integers(1, 200))
def test_the_outcome_depends_neither_on_order_nor_on_batches(loaded, order, tokens):
    whole = search(loaded, ITEMS, LAYERS, ALPHAS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dola_core.layer_search.answers.batches.BATCH_TOKENS", tokens)
        shuffled = search(loaded, [ITEMS[i] for i in order], LAYERS, ALPHAS)
    for name in KINDS:
        assert np.array_equal(getattr(whole, name)[list(order)], getattr(shuffled, name))


def test_open_questions_need_no_wrong_answers_and_the_baseline_no_layers(loaded):
    items = [item.model_copy(update={"wrong": ()}) for item in ITEMS]
    outcome = search(loaded, items, (), (1.0,))
    assert np.array_equal(outcome.baseline_greedy_correct, search(loaded, ITEMS, (22,), (0.1,)).baseline_greedy_correct)
    assert outcome.dola_greedy_correct.shape == (len(ITEMS), 0, 1)


def test_a_prefix_of_a_word_is_not_correct(loaded):
    """The answers are the model's own first word, of several tokens, and the same word without the last of them."""

    def first_word(prompt: str) -> list[str]:
        inputs = loaded.tokenizer(prompt, return_tensors="pt")
        ids = loaded.model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        pieces = [loaded.piece(token) for token in ids.tolist()]
        return pieces[: next(n for n in range(1, len(pieces)) if not pieces[n][:1].isalnum())]

    elements = ("lead", "gold", "silver", "mercury", "uranium", "radon", "platinum", "tin", "iodine", "xenon")
    words = {prompt: first_word(prompt) for prompt in (f"The atomic number of {name} is" for name in elements)}
    prompt, pieces = next((prompt, pieces) for prompt, pieces in words.items() if len(pieces) > 1)
    items = [Item(prompt=prompt, answers=("".join(some).strip(),)) for some in (pieces, pieces[:-1])]
    assert search(loaded, items, (), (1.0,)).baseline_greedy_correct.tolist() == [True, False]
