"""Scores of given answers equal those of the naive decoder, however texts are batched, padded and cut into chunks."""

import numpy as np
import pytest

from dola_core.evaluation import answer_scores
from dola_core.evaluation.answer_scores import batches, read_texts, score_batch
from dola_core.lanes import DolaDynamic, DolaStatic, LinearContrast
from dola_core.models.reading.readout import Readout
from tests.dola_core.reference import closeness, contrast, log_softmax, softmax
from tests.dola_core.tiny import N, V, prompt, tiny

OUTSIDE = -50.0
LENGTHS = [(9, 3), (2, 1), (5, 6), (1, 2)]
ANSWERS = [(prompt(length, seed), prompt(size, 50 + seed)) for seed, (length, size) in enumerate(LENGTHS)]
ANSWERS += [(ANSWERS[0][0], [*ANSWERS[0][1][:-1], last]) for last in (1, 2)]
"""(context, answer) of several lengths; two more share the first one's text."""
LANES = [
    DolaStatic(layer=22, alpha=0.0),
    DolaStatic(layer=22, alpha=0.1, beta=0.5),
    DolaStatic(layer=9, alpha=0.1, early_norm=False),
    DolaDynamic(bucket="20-28/4", alpha=0.05),
    LinearContrast(weights={9: -0.25, 22: -0.5}, alpha=0.1),
]


def scored(readout, lane, *, size=None, answers=ANSWERS, most=128):
    lane = lane.fitted(readout.n_layers, tied=readout.is_tied)
    found = {}
    for batch in batches(read_texts(answers, most), size):
        found |= score_batch(readout, lane, batch, OUTSIDE)
    return [found[number] for number in range(len(answers))]


def naive_log_p(naive, lane, ids):
    """`log p_hat` `[V]`, float64, after `ids`."""
    log_q_N = log_softmax(naive.logits(ids))
    normed = lane.early_norm is not False
    log_q = {layer: log_softmax(naive.logits(ids, layer, early_norm=normed)) for layer in range(1, N)}
    if isinstance(lane, LinearContrast):
        F = log_q_N + sum(weight * log_q[layer] for layer, weight in lane.weights.items())
        F[np.exp(log_q_N) < lane.alpha * np.exp(log_q_N).max()] = -np.inf
    elif isinstance(lane, DolaDynamic):
        best = min((20, 24, 28), key=lambda layer: closeness(softmax(log_q_N), softmax(log_q[layer])))
        F = contrast(log_q_N, log_q[best], lane.alpha, lane.beta)
    else:
        F = contrast(log_q_N, log_q[lane.layer], lane.alpha, lane.beta)
    return log_softmax(F)


@pytest.mark.parametrize("size", [None, 1, 3])
@pytest.mark.parametrize("lane", LANES, ids=lambda lane: f"{lane.kind}-{lane.alpha:g}-{lane.early_norm}")
def test_scores_are_those_of_the_naive_decoder(readout, naive, lane, size):
    was_outside = 0
    for (context, answer), (score, greedy) in zip(ANSWERS, scored(readout, lane, size=size), strict=True):
        total, all_chosen = 0.0, True
        for place, token in enumerate(answer):
            log_p = naive_log_p(naive, lane, [*context, *answer[:place]])
            total += log_p[token] if log_p[token] > -np.inf else OUTSIDE
            was_outside += log_p[token] == -np.inf
            all_chosen &= int(log_p.argmax()) == token
        assert score == pytest.approx(total, abs=2e-4)
        assert greedy == all_chosen
    assert bool(was_outside) == (lane.alpha > 0)


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "mistral", "llama-tied"])
def test_padding_changes_no_score_in_other_families(name):
    readout, lane = Readout.of(tiny(name)), DolaStatic(layer=22, alpha=0.02)
    together, alone = scored(readout, lane), scored(readout, lane, size=1)
    assert [score for score, _ in together] == pytest.approx([score for score, _ in alone], abs=2e-4)


def test_what_the_lane_writes_by_itself_is_greedy(readout, naive):
    lane, ids = DolaStatic(layer=22, alpha=0.1), prompt(6)
    written = []
    for _ in range(4):
        written.append(int(naive_log_p(naive, lane, [*ids, *written]).argmax()))
    answers = [(ids, written), (ids, [*written[:-1], (written[-1] + 1) % V])]
    assert [greedy for _, greedy in scored(readout, lane, answers=answers)] == [True, False]


def test_the_head_reads_answers_alone_and_a_bounded_number_of_positions(readout, monkeypatch):
    lane, whole, rows = LANES[1], scored(readout, LANES[1]), []
    monkeypatch.setattr(answer_scores, "CHUNK_LOGITS", V * 4 * 3)  # three positions of two layers, and room
    hook = readout.phi.register_forward_hook(lambda _module, _args, output: rows.append(output.numel() // V))
    try:
        in_chunks = scored(readout, lane)
    finally:
        hook.remove()
    assert [score for score, _ in in_chunks] == pytest.approx([score for score, _ in whole], abs=1e-5)
    texts, tokens = len({(*context, *answer[:-1]) for context, answer in ANSWERS}), sum(len(a) for _, a in ANSWERS)
    assert sum(rows) == texts + 2 * tokens
    assert sorted(rows)[-2] <= 3 or max(rows) == texts


def test_answers_that_differ_in_their_last_token_share_a_text():
    texts = read_texts(ANSWERS, 128)
    assert [len(text.answers) for text in texts if 0 in text.answers] == [3]
    assert [len(text.ids) for text in texts] == sorted((len(text.ids) for text in texts), reverse=True)
    assert sorted(number for text in texts for number in text.answers) == list(range(len(ANSWERS)))


def test_a_text_that_is_too_long_loses_its_beginning_and_an_answer_is_refused():
    context, answer = list(range(1, 11)), [11, 12, 13]
    (text,) = read_texts([(context, answer)], 8)
    assert text.ids == (5, 6, 7, 8, 9, 10, 11, 12)
    with pytest.raises(ValueError, match=r"An answer has 3 tokens; the model reads at most 2\."):
        read_texts([(context, answer)], 2)


def test_batches_hold_so_many_tokens_and_at_least_one_text(monkeypatch):
    texts = read_texts([(prompt(length, length), [1]) for length in (20, 6, 5, 4, 2)], 128)
    monkeypatch.setattr(answer_scores, "BATCH_TOKENS", 12)
    assert [[len(text.ids) for text in batch] for batch in batches(texts, None)] == [[20], [6, 5], [4, 2]]
    assert [len(batch) for batch in batches(texts, 3)] == [3, 2]


def test_a_text_as_long_as_the_model_reads_is_scored():
    readout = Readout.of(tiny("gpt2"))  # whose positions end at 128
    [(score, _)] = scored(readout, DolaStatic(layer=22, alpha=0.0), answers=[(prompt(200), prompt(3, 9))])
    assert np.isfinite(score)
