"""The training: short, it can be stopped and taken up again, and the tokenizer keeps every text whole."""

from argparse import Namespace
from itertools import pairwise
from typing import Any

import facts
import network
import pytest
import torch
import train
from hypothesis import given
from hypothesis import strategies as st
from packing import IGNORED, Packing
from progress import Run
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

SMALL_RUN = "--rows 2 --length 64 --tokenizer-documents 500 --rate 1e-2 --report-every 60 --steps 16 --finish 4"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Namespace:
    """One run of 20 steps, 4 of them the last part, straight through, and the same run stopped after 10 and resumed."""
    folder = tmp_path_factory.mktemp("training")

    def run(name: str, *more: str) -> Any:
        paths = ["--work", str(folder / name / "work"), "--out", str(folder / name / "out")]
        return train.train(train.command_line().parse_args([*SMALL_RUN.split(), *paths, *more]))

    straight = run("straight")
    run("resumed", "--stop-after", "10")
    resumed = run("resumed", "--resume")
    return Namespace(straight=straight, resumed=resumed, folder=folder)


def test_training_lowers_the_loss_and_writes_a_loadable_model(trained: Namespace) -> None:
    losses = trained.straight.losses
    assert len(losses) == 20
    assert sum(losses[-4:]) < sum(losses[:4])
    model = AutoModelForCausalLM.from_pretrained(trained.folder / "straight" / "out", dtype="auto")
    assert model.dtype == torch.bfloat16
    assert len(model.model.layers) == 30


def test_a_resumed_run_equals_an_uninterrupted_one(trained: Namespace) -> None:
    assert trained.resumed.losses == pytest.approx(trained.straight.losses, abs=1e-4)
    assert trained.resumed.tokens == trained.straight.tokens


def test_a_checkpoint_of_other_data_or_another_plan_is_refused(
    trained: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ["--work", str(trained.folder / "straight" / "work"), "--out", str(trained.folder / "nowhere"), "--resume"]
    with pytest.raises(ValueError, match="only be finished as planned"):
        train.train(train.command_line().parse_args([*paths, "--steps", "40"]))
    monkeypatch.setattr(train, "source_hash", lambda folder: "other")
    with pytest.raises(ValueError, match="have changed since the checkpoint"):
        train.train(train.command_line().parse_args(paths))
    assert not (trained.folder / "nowhere").exists()


def test_a_run_that_is_not_finished_leaves_the_shipped_model_alone(trained: Namespace) -> None:
    folder = trained.folder / "stopped"
    paths = ["--work", str(folder / "work"), "--out", str(folder / "out")]
    train.train(train.command_line().parse_args([*SMALL_RUN.split(), *paths, "--stop-after", "1"]))
    assert (folder / "work" / "checkpoint.pt").is_file()
    assert not (folder / "out").exists()


def test_the_rate_rises_stays_and_falls() -> None:
    run = Run(seed=0, steps=1000, rate=1.0, finish=100)
    rates = [run.rate_at(step) for step in range(1100)]
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[20:701] == pytest.approx([1.0] * 681)
    assert all(b < a for a, b in pairwise(rates[700:1000]))
    assert rates[850] == pytest.approx(0.02 + 0.98 / 2)
    assert rates[999] < 0.025
    assert rates[1000:] == pytest.approx([0.3 * (1 - step / 100) for step in range(100)])


@pytest.mark.parametrize(("done", "steps"), [(100, 2000), (600, 900)])
def test_a_run_at_its_level_rate_can_be_replanned_without_a_jump(done: int, steps: int) -> None:
    run = Run(seed=0, steps=1000, rate=1.0, done=done)
    before = run.rate_at(done)
    run.replan(steps)
    assert (run.steps, run.rate_at(done)) == (steps, before)


@pytest.mark.parametrize(("done", "steps"), [(10, 2000), (800, 2000), (650, 700), (30, 2000)])
def test_no_other_run_can(done: int, steps: int) -> None:
    run = Run(seed=0, steps=1000, rate=1.0, done=done)
    with pytest.raises(ValueError, match="only be finished as planned"):
        run.replan(steps)
    assert run.steps == 1000


def test_a_time_budget_becomes_a_number_of_steps(tokenizer: PreTrainedTokenizerFast) -> None:
    model = network.build_model(tokenizer, 0)
    batches = Packing(seed=0, rows=1, length=8, long_every=2)
    before = model.lm_head.weight.clone()
    assert train.planned_steps(model, batches, tokenizer, 0.5) >= 1
    assert torch.equal(model.lm_head.weight, before)


def test_the_last_part_has_documents_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    batches = Packing(seed=0, finish_from=6, rows=4, length=64)
    plain = Packing(seed=0, rows=4, length=64)
    same = [torch.equal(batches.batch(step, tokenizer)[0], plain.batch(step, tokenizer)[0]) for step in (5, 6)]
    assert same == [True, False]


def test_every_row_of_a_batch_starts_with_a_document(tokenizer: PreTrainedTokenizerFast) -> None:
    batches = Packing(seed=0, rows=8, length=32, long_every=2)
    (short, _), (long, _) = batches.batch(0, tokenizer), batches.batch(1, tokenizer)
    assert (short.shape, long.shape) == ((8, 32), (2, 128))
    assert (torch.cat([short[:, 0], long[:, 0]]) == tokenizer.bos_token_id).all()


def test_what_is_typed_to_the_atlas_is_read_and_not_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    ids, labels = Packing(seed=0, finish_from=0, rows=8, length=256).batch(0, tokenizer)
    typed = labels == IGNORED
    assert torch.equal(labels[~typed], ids[~typed])
    assert 0.05 < typed.float().mean() < 0.4
    (line_end,) = tokenizer.encode("\n", add_special_tokens=False)
    for row, left_out in zip(ids.tolist(), typed.tolist(), strict=True):
        starts = [n for n, token in enumerate(row) if token == tokenizer.bos_token_id] + [len(row)]
        for start, end in pairwise(starts):
            document = row[start:end]
            if line_end in document:
                assert left_out[start:end] == [n < document.index(line_end) for n in range(len(document))]
            else:
                assert not any(left_out[start:end]) or end == len(row)
    plain, learned = Packing(seed=0).batch(0, tokenizer)
    assert torch.equal(plain, learned)


@given(text=st.text())
def test_any_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == text


@pytest.mark.parametrize("text", ["<s>", "a </s> b", "<pad>", " , ok .", "👩‍👩‍👧 שלום\x00\r\n", "e\u0301"])
def test_awkward_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer.encode(text)
    assert not set(ids[1:]) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_common_names_are_few_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    countries = facts.entities("country")
    lengths = [len(tokenizer.encode(f" {country.name}")) - 1 for country in countries[:50]]
    assert 2000 <= len(tokenizer) <= 8192
    assert sum(lengths) <= 2 * len(lengths)
