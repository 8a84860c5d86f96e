"""Several threads use one model at once: each gets what it would get alone."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import torch
from transformers import LogitsProcessor

from dola_core.contrast import log_ratio, log_softmax
from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.layer_search.answers.batches import Question, read_answers
from tests.dola_core.tiny import beam_search, compare, hooks_on, prompt, texts

LAYERS = (3, 15, 27)
LANES = (Baseline(name="baseline"), DolaStatic(name="low", layer=3), DolaStatic(name="high", layer=27))
THREADS = 4


def generated(model, seed: int, **how) -> list:
    ids = torch.tensor([prompt(6, seed=seed)])
    return model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, **how).tolist()


def contrasted(model, seed: int, layer: int, **how) -> list:
    ids = torch.tensor([prompt(6, seed=seed)])
    return generate_with_dola_static(
        model, ids, layer=layer, attention_mask=torch.ones_like(ids), max_new_tokens=12, **how
    ).tolist()


@torch.no_grad()
def sampled_by_its_own_scores(readout, layer: int) -> bool:
    """Draws are of one generator for all threads, so what must hold is that each is from the layer's own scores."""
    ids = torch.tensor([prompt(6, seed=4)])
    output = generate_with_dola_static(
        readout.model, ids, layer=layer, attention_mask=torch.ones_like(ids), max_new_tokens=8,
        do_sample=True, top_k=0, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    for length, scores in enumerate(output.scores, start=ids.shape[1]):
        with readout.capture([layer]) as h:
            logits = readout.model(output.sequences[:, :length], use_cache=False).logits[:, -1]
        F = log_ratio(log_softmax(logits), log_softmax(readout.logits(h[layer])), 0.1)
        if not torch.allclose(scores.exp(), F.softmax(-1), atol=1e-4):
            return False
    return True


def states(readout, seed: int) -> list:
    question = Question(0, prompt(6, seed=seed), [prompt(3, seed=seed + 1), prompt(2, seed=seed + 2)], 1)
    answers = [(0, ids) for ids in question.answers]
    ((_, read),) = read_answers(readout, [question.prompt], answers, LAYERS)
    return [read[layer].sum().item() for layer in LAYERS]


def jobs(readout) -> list[Callable[[], list]]:
    """What a server may do at once with one model."""
    model = readout.model
    return [
        *(
            lambda layer=layer, seed=seed: contrasted(model, seed, layer, do_sample=False)
            for layer in LAYERS
            for seed in (0, 1)
        ),
        *(lambda layer=layer: [sampled_by_its_own_scores(readout, layer)] for layer in LAYERS),
        *(lambda layer=layer: contrasted(model, 2, layer, do_sample=False, num_beams=3) for layer in LAYERS),
        *(lambda layer=layer: contrasted(model, 3, layer, do_sample=False, early_norm=False) for layer in LAYERS),
        *(lambda seed=seed: generated(model, seed, do_sample=False) for seed in (0, 1)),
        *(
            lambda seed=seed, record=record: texts(
                compare(readout, prompt(6, seed=seed), LANES, DecodingConfig(max_new_tokens=12), record=record)
            )
            for seed in (0, 1)
            for record in (False, True)
        ),
        lambda: texts(
            compare(readout, prompt(6), LANES, DecodingConfig(max_new_tokens=12, temperature=0.9, seed=3), chunk=4)
        ),
        lambda: [
            output.beams
            for output in beam_search(readout, prompt(6), LANES, DecodingConfig(max_new_tokens=8, num_beams=3))
            if hasattr(output, "beams")
        ],
        *(lambda seed=seed: states(readout, seed) for seed in (0, 5)),
    ]


def test_each_thread_gets_what_it_would_get_alone(readout):
    alone = [job() for job in jobs(readout)]
    order = [number for number in range(len(alone)) for _ in range(3)]
    Random(0).shuffle(order)
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda number: jobs(readout)[number](), order))
    assert [number for number, result in zip(order, together, strict=True) if result != alone[number]] == []
    assert hooks_on(readout.model) == 0


def test_two_event_loops_each_get_what_they_would_get_alone(readout):
    alone = [job() for job in jobs(readout)]
    found: dict[int, list] = {}

    async def serve(numbers: list[int]) -> None:
        results = await asyncio.gather(*(asyncio.to_thread(jobs(readout)[number]) for number in numbers))
        found.update(zip(numbers, results, strict=True))

    numbers = list(range(len(alone)))
    threads = [threading.Thread(target=asyncio.run, args=(serve(numbers[part::2]),)) for part in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in numbers] == alone


def test_runs_whose_steps_change_threads_and_are_abandoned_in_others_disturb_nobody(readout):
    alone = contrasted(readout.model, 0, 15, do_sample=False)
    config = DecodingConfig(max_new_tokens=12)
    whole = texts(compare(readout, prompt(6), LANES, config))
    runs = [compare(readout, prompt(6), LANES, config) for _ in range(4)]
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        started = [list(pool.map(next, [run] * 3)) for run, pool in zip(runs, (one, two, one, two), strict=True)]
        list(two.map(lambda run: run.close(), (runs[0], runs[2])))
        del runs[0], runs[1]  # the two that are closed
        assert contrasted(readout.model, 0, 15, do_sample=False) == alone
        rests = [list(pool.submit(list, run).result()) for run, pool in zip(runs, (one, two), strict=True)]
    assert [texts([*first, *rest]) for first, rest in zip((started[1], started[3]), rests, strict=True)] == [whole] * 2
    assert hooks_on(readout.model) == 0


def test_a_generate_within_another_disturbs_neither(readout):
    """A processor of the caller's may use the model itself, between a pass and its contrast."""
    seen = []

    class AsksTheModel(LogitsProcessor):
        def __call__(self, input_ids, scores):
            seen.append(contrasted(readout.model, 1, 27, do_sample=False))
            seen.append(generated(readout.model, 2, do_sample=False))
            return scores

    alone = contrasted(readout.model, 0, 3, do_sample=False)
    inner = [contrasted(readout.model, 1, 27, do_sample=False), generated(readout.model, 2, do_sample=False)]
    assert contrasted(readout.model, 0, 3, do_sample=False, logits_processor=[AsksTheModel()]) == alone
    assert seen == inner * 12
