"""Rows say what their traces say, and a file of rows is taken up again where it was left."""

import json
from collections.abc import Callable

import pytest

from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine
from dola_core.errors import PromptError
from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic, LinearContrast
from dola_core.many_prompts.results import OtherRunError, RunsFile
from dola_core.many_prompts.rows import PromptRow, mean_divergence, settings_digest
from dola_core.many_prompts.run import run_prompts
from dola_core.models.loading import load_model

PROMPTS = ["Gold is a", "The capital of Peru is", "x"]
CONFIG = DecodingConfig(max_new_tokens=12)
LANES = {
    "static": (Baseline(), DolaStatic(layer=12, alpha=0.01)),
    "dynamic": (Baseline(), DolaDynamic(bucket="high", alpha=0.01)),
    "linear": (Baseline(), LinearContrast(weights={12: -0.5})),
    "plain": (Baseline(), Baseline(name="penalty", repetition_penalty=1.5)),
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(load_model(device="cpu", dtype="float32"))


def comparison_for(engine: Engine, lanes) -> Callable[[str], Comparison]:
    def comparison_of(prompt: str) -> Comparison:
        if prompt == "refused":
            raise PromptError("empty")
        return Comparison(prompt, tuple(engine.loaded.encode(prompt)), lanes, CONFIG)

    return comparison_of


def run(engine: Engine, lanes, prompts=PROMPTS, **named) -> list:
    return list(run_prompts(engine, list(enumerate(prompts, start=1)), comparison_for(engine, lanes), "s", **named))


@pytest.mark.parametrize("kind", LANES)
def test_a_row_says_what_its_trace_says(engine, kind):
    for number, (row, trace) in enumerate(run(engine, LANES[kind]), start=1):
        assert (row.number, row.prompt, row.digest) == (number, PROMPTS[number - 1], trace.digest)
        assert list(row.texts.values()) == list(trace.texts)
        assert list(row.ends.values()) == list(trace.ends)
        rows = {(step.index, step.lanes): len({choice.id for choice in step.choices}) > 1 for step in trace.steps}
        assert row.differing == sum(rows.values())
        assert row.first_difference == min((index + 1 for (index, _), differs in rows.items() if differs), default=None)
        # The first choice that differs is where the texts part.
        assert row.first_difference == (None if trace.fork is None else trace.fork + 1)
        assert row.steps == max(map(len, map(trace.lane_ids, range(2))))


def test_the_mean_divergence_is_that_of_the_layer_contrasted_with(engine):
    for kind, lanes in LANES.items():
        for row, trace in run(engine, lanes):
            steps = trace.lane_steps(1)
            if kind == "static":
                expected = sum(float(step.jsd[11]) for step in steps) / len(steps)
            elif kind == "dynamic":
                expected = sum(float(step.jsd[step.choices[1].layer - 1]) for step in steps) / len(steps)
            elif kind == "linear":
                expected = sum(float(step.jsd[11]) for step in steps) / len(steps)
            else:
                assert mean_divergence(trace) is row.mean_divergence is None
                continue
            assert row.mean_divergence == pytest.approx(expected, abs=1e-6)


def test_a_prompt_that_cannot_be_run_has_a_row_that_says_why(engine):
    rows = [row for row, _ in run(engine, LANES["static"], ["a", "refused", "b"])]
    assert [bool(row.error) for row in rows] == [False, True, False]
    assert rows[1].texts == {}


def test_rows_do_not_depend_on_those_before_them(engine):
    together = [row for row, _ in run(engine, LANES["static"])]
    alone = [run(engine, LANES["static"], [prompt])[0][0] for prompt in PROMPTS]
    assert [row.texts for row in together] == [row.texts for row in alone]


@pytest.mark.parametrize("max_rows", [1, 2, 7, 16])
def test_as_many_are_decoded_together_as_there_are_rows_for(engine, max_rows):
    most = [0]

    def note(module, args, output):
        most[0] = max(most[0], len(args[0]))

    hook = engine.loaded.model.get_input_embeddings().register_forward_hook(note)
    try:
        found = run(engine, LANES["static"], PROMPTS * 4, max_rows=max_rows)
    finally:
        hook.remove()
    assert [row.number for row, _ in found] == list(range(1, 4 * len(PROMPTS) + 1))
    assert most[0] <= max(max_rows, 2)
    assert most[0] > 2 or max_rows < 7


def test_one_that_is_abandoned_runs_nothing_more(engine):
    rows = run_prompts(engine, list(enumerate(PROMPTS * 9, start=1)), comparison_for(engine, LANES["static"]), "s")
    next(rows)
    rows.close()
    assert engine.scheduler.wait(10)


def test_an_error_that_is_not_of_a_prompt_ends_all(engine):
    def fail(*_):
        raise MemoryError("none left")

    hook = engine.loaded.readout.blocks[3].register_forward_pre_hook(fail)
    try:
        with pytest.raises(MemoryError):
            run(engine, LANES["static"])
    finally:
        hook.remove()


def rows_of(prompts) -> list[PromptRow]:
    return [PromptRow(number=number, settings="s", prompt=prompt) for number, prompt in enumerate(prompts, start=1)]


@pytest.mark.parametrize("kept", range(4))
@pytest.mark.parametrize("cut", [0, 1, 10])
def test_a_file_is_taken_up_where_it_was_left_whole_or_cut_off(tmp_path, kept, cut):
    file = tmp_path / "runs.jsonl"
    first = RunsFile(file, PROMPTS, "s")
    for row in rows_of(PROMPTS)[:kept]:
        first.add(row)
    if cut and kept:
        file.write_bytes(file.read_bytes()[:-cut])
    again = RunsFile(file, PROMPTS, "s")
    whole = kept - bool(cut and kept)
    assert sorted(again.rows) == list(range(1, whole + 1))
    for row in rows_of(PROMPTS)[whole:]:
        again.add(row)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(
    ("prompts", "settings", "said"),
    [
        (PROMPTS[::-1], "s", "line 1: the row is of other prompts or settings; name another file for --out."),
        (PROMPTS, "t", "line 1: the row is of other prompts or settings"),
        (PROMPTS[:2], "s", "line 3: the row is of other prompts"),
    ],
)
def test_rows_of_another_run_are_refused_and_kept(tmp_path, prompts, settings, said):
    file = tmp_path / "runs.jsonl"
    runs = RunsFile(file, PROMPTS, "s")
    for row in rows_of(PROMPTS):
        runs.add(row)
    before = file.read_bytes()
    with pytest.raises(OtherRunError, match=said):
        RunsFile(file, prompts, settings)
    assert file.read_bytes() == before


def test_a_file_of_something_else_is_refused(tmp_path):
    file = tmp_path / "runs.jsonl"
    file.write_text('{"other": 1}\n', encoding="utf-8")
    with pytest.raises(OtherRunError, match="line 1: it is no row of such a run"):
        RunsFile(file, PROMPTS, "s")


def test_settings_that_give_other_rows_have_another_digest(engine):
    info = engine.loaded.info
    digests = {settings_digest(info, lanes, CONFIG, chat=False) for lanes in LANES.values()}
    digests |= {settings_digest(info, LANES["static"], CONFIG, chat=True)}
    digests |= {settings_digest(info, LANES["static"], DecodingConfig(max_new_tokens=13), chat=False)}
    digests |= {settings_digest(info.model_copy(update={"name": "b"}), LANES["static"], CONFIG, chat=False)}
    assert len(digests) == len(LANES) + 3
