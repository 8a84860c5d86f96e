"""The benchmarks do what they time; what they measure is not looked at."""

import pytest

from dola_core.decoding.engine import Engine
from tests.benchmarks import gpu, speed
from tests.benchmarks.shapes import ATLAS, all_models, engine_of, random_llama
from tests.benchmarks.visitors import VISITORS

NEW = 3


@pytest.fixture(scope="module")
def model():
    return random_llama(32, 48, 4, 2, "float32", vocabulary=97)


@pytest.fixture
def lengths(monkeypatch) -> list[int]:
    """How many steps each comparison made."""
    steps, compare = [], Engine.compare

    def counted(self, *given, **named):
        made = 0
        for output in compare(self, *given, **named):
            made += bool(output.tokens)
            yield output
        steps.append(made)

    monkeypatch.setattr(Engine, "compare", counted)
    return steps


def test_a_model_with_an_end_of_text_writes_all_its_tokens_too(lengths):
    for timed in all_models():
        if timed.name == ATLAS and timed.dtype == "float32":
            model = timed.build()
            speed.duet(model, speed.prompt_for(timed, model), 40)()
    assert lengths == [40]


@pytest.mark.parametrize("how", [{}, {"record": True}, {"lanes": 8}, {"repetition_penalty": 1.2}], ids=str)
def test_a_timed_comparison_writes_all_its_tokens(model, lengths, how):
    speed.duet(model, speed.ids_of(model, speed.PROMPT), NEW, **how)()
    assert lengths == [NEW]


def test_a_timed_completion_writes_all_its_tokens(model, monkeypatch):
    written, generate = [], type(model).generate

    def kept(*given, **named):
        output = generate(*given, **named)
        written.append(getattr(output, "sequences", output))
        return output

    monkeypatch.setattr(type(model), "generate", kept)
    for way in (speed.stock, speed.static):
        way(model, speed.ids_of(model, speed.PROMPT), NEW)()
        assert written[-1].shape == (1, speed.PROMPT + NEW)


def test_everything_timed_on_a_gpu_runs_elsewhere_too(model, lengths):
    ways = gpu.ways_to_decode(model, speed.ids_of(model, speed.PROMPT), NEW, engine_of(model))
    for run in ways.values():
        run()
    assert lengths == [NEW] * (7 + 2 * VISITORS)
    assert gpu.same_tokens(engine_of(model), engine_of(model), speed.ids_of(model, 5), NEW) == NEW


def test_the_layer_search_timed_on_a_gpu_runs_elsewhere_too():
    model = random_llama(32, 48, 4, 2, "float32", vocabulary=6_144)
    items = gpu.questions_with_wrong_answers()
    assert len(items) == gpu.QUESTIONS
    assert gpu.questions_a_second(model, items[:3]) > 0


def test_a_step_reads_all_weights_but_the_embeddings(model):
    head, embeddings = (part.weight.numel() for part in (model.lm_head, model.model.embed_tokens))
    assert head == embeddings
    assert gpu.bytes_of_a_step(model) == 4 * (sum(w.numel() for w in model.parameters()) - embeddings)
