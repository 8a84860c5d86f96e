"""What a search keeps is whole and of one model: on a full disk, when it is ended, and when it is resumed."""

import errno
import json
import os
import signal
from pathlib import Path

import pytest
import torch

from dola_core.errors import FolderInUseError
from dola_core.files.writing import folder_in_use
from dola_core.layer_search import evaluate
from dola_core.layer_search.result import SearchResult
from dola_core.layer_search.search import search_layers
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.loading import load_model
from tests.dola_core.layer_search.questions import ITEMS
from tests.dola_core.layer_search.test_main import data, run

__all__ = ["data"]  # a fixture

CONFIG = SearchConfig(strategy="grid", alphas=(0.1,))
FEW = ITEMS[:3]


@pytest.fixture
def quick(atlas, monkeypatch) -> None:
    """The command finds the shipped model loaded, and evaluates one question after the other."""
    monkeypatch.setattr("dola_core.models.loading.load_model", lambda *_, **__: atlas)
    monkeypatch.setattr("dola_core.layer_search.answers.batches.BATCH_TOKENS", 1)


@pytest.fixture
def at_question(monkeypatch):
    """A function that lets something happen once a search has done so many questions."""

    def during(number: int, happens) -> None:
        def update(bar, n):
            if n >= number:  # the bar does not advance, so n is the number of questions done
                happens()

        monkeypatch.setattr("dola_core.layer_search.__main__.tqdm.update", update)

    return during


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_to_end_leaves_every_question_done_and_a_result_of_them(
    quick, at_question, data, capsys, signum, status
):
    at_question(5, lambda: signal.raise_signal(signum))
    former = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert run(data) == status
    out = data.parent / "out"
    assert files(out) == {"measured-1.npz", "result.json", "report.html"}
    part = SearchResult.model_validate_json((out / "result.json").read_text())
    assert (part.complete, part.data.items) == (False, 5)
    assert f"interrupted. What was measured is in {out}; go on with --resume." in capsys.readouterr().err
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == former


def test_a_signal_that_is_repeated_does_not_cost_the_result(quick, at_question, data, monkeypatch):
    """Batch systems send one to the process and one to its group."""
    save = evaluate.MetricTable.save

    def saved_in_between(table, *arguments):
        signal.raise_signal(signal.SIGTERM)
        save(table, *arguments)
        signal.raise_signal(signal.SIGTERM)

    at_question(5, lambda: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(evaluate.MetricTable, "save", saved_in_between)
    assert run(data) == 143
    assert files(data.parent / "out") == {"measured-1.npz", "result.json", "report.html"}


def test_a_signal_while_the_error_cases_are_looked_for_leaves_a_result_without_them(
    quick, at_question, data, monkeypatch
):
    def impatient(*_, most, **__):
        if most:
            raise KeyboardInterrupt
        return []

    at_question(5, lambda: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr("dola_core.layer_search.search.error_cases", impatient)
    assert run(data) == 143
    assert SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text()).data.items == 5


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ImportError, ValueError])
def test_a_signal_while_the_model_loads_is_no_error_of_a_library(data, monkeypatch, capsys, raised):
    def load(*_, **__):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise raised from error

    monkeypatch.setattr("dola_core.models.loading.load_model", load)
    assert run(data) == 143
    assert capsys.readouterr().err == "python -m dola_core.layer_search: interrupted. Nothing was measured.\n"
    assert not (data.parent / "out").exists()


def test_a_signal_that_is_ignored_from_outside_stays_so(quick, at_question, data):
    """As `nohup` does with the one of a closed terminal."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        at_question(5, lambda: signal.raise_signal(signal.SIGHUP))
        assert run(data, "--limit", "6") == 0
    finally:
        signal.signal(signal.SIGHUP, former)


@pytest.mark.parametrize("file", ["measured-1.npz", "result.json", "report.html", "dola_static.json"])
def test_a_full_disk_is_said_with_file_and_reason_and_leaves_no_half(
    quick, data, atlas, monkeypatch, capsys, file, tmp_path
):
    monkeypatch.setattr(atlas.model, "name_or_path", str(tmp_path))
    assert run(data, "--write", "--limit", "9") == 0
    out = data.parent / "out"
    place = tmp_path if file == "dola_static.json" else out
    before = {name: (out / name).read_bytes() for name in files(out)} | {"dola_static.json": b""}
    before["dola_static.json"] = (tmp_path / "dola_static.json").read_bytes()
    sync = os.fsync

    def full_for_one(descriptor):
        if file in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full_for_one)
    capsys.readouterr()
    assert run(data, "--write", "--limit", "8") == 1
    assert capsys.readouterr().err.endswith(f"{place / file} cannot be written: No space left on device.\n")
    assert (place / file).read_bytes() == before[file]
    if file == "report.html":  # the two belong together
        assert (out / "result.json").read_bytes() == before["result.json"]
    assert files(out) == {"measured-1.npz", "result.json", "report.html"}
    assert not [*tmp_path.rglob("*.part")]


def test_a_folder_that_another_search_writes_to_is_refused(quick, data, atlas, capsys):
    out = data.parent / "out"
    with folder_in_use(out):
        assert run(data) == 1
        assert f"Another search is running in the folder {out};" in capsys.readouterr().err
        with pytest.raises(FolderInUseError):
            search_layers(atlas, FEW, CONFIG, out=out)
        assert files(out) == {".in-use"}
    search_layers(atlas, FEW, CONFIG, out=out)


def test_a_search_keeps_its_folder_from_the_first_question_to_the_result(atlas, tmp_path, monkeypatch):
    tried = []

    def second(*_):
        with pytest.raises(FolderInUseError), folder_in_use(tmp_path):
            pass
        tried.append(1)

    write = search_layers.__globals__["_write"]
    monkeypatch.setitem(search_layers.__globals__, "_write", lambda *given: (second(), write(*given)))
    search_layers(atlas, FEW, CONFIG, out=tmp_path, progress=second)
    assert len(tried) == len(FEW) + 1
    with folder_in_use(tmp_path):
        pass


def test_a_choice_that_has_no_place_is_said_before_the_search(quick, data, atlas, monkeypatch, capsys, tmp_path):
    (tmp_path / "dola_static.json").mkdir()
    monkeypatch.setattr(atlas.model, "name_or_path", str(tmp_path))
    with pytest.raises(SystemExit):
        run(data, "--write")
    assert (
        f"--write cannot store the choice in {tmp_path / 'dola_static.json'}: it is a folder" in capsys.readouterr().err
    )
    assert not (data.parent / "out").exists()


def test_memory_that_runs_out_is_said(quick, at_question, data, capsys):
    def too_large():
        raise MemoryError

    at_question(5, too_large)
    assert run(data) == 1
    said = capsys.readouterr().err
    assert "memory ran out; choose a smaller model or another device. What was measured is in" in said


def test_write_records_the_model_that_the_choice_is_for(quick, data, atlas, monkeypatch, tmp_path):
    monkeypatch.setattr(atlas.model, "name_or_path", str(tmp_path))
    assert run(data, "--write", "--limit", "8") == 0
    assert json.loads((tmp_path / "dola_static.json").read_text())["identity"] == atlas.info.identity
    result = SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())
    assert result.model.identity == atlas.info.identity


def _middle_layer(loaded):
    loaded.model.model.layers[14].mlp.up_proj.weight[0, 0] += 1e-3


def _buffer_of_positions(loaded):
    loaded.model.config.rope_parameters["rope_theta"] = 500.0


def _what_ends_a_text(loaded):
    loaded.model.generation_config.eos_token_id = [1, 5]


def _template(loaded):
    loaded.tokenizer.chat_template = "{{ messages }}"


def _vocabulary(loaded):
    loaded.tokenizer.add_tokens(["a whole new token"])


@pytest.fixture(scope="module")
def fresh():
    """A model of its own, which the tests below change."""
    return load_model(device="cpu", dtype="float32")


@pytest.mark.parametrize("change", [_middle_layer, _buffer_of_positions, _what_ends_a_text, _template, _vocabulary])
@torch.no_grad()
def test_measurements_of_another_model_are_not_gone_on_with(fresh, tmp_path, change):
    """The changes add up, so each is compared with the model before it."""
    search_layers(fresh, FEW, CONFIG, out=tmp_path)
    search_layers(fresh, FEW, CONFIG, out=tmp_path, resume=True)
    before = (tmp_path / "result.json").read_bytes()
    change(fresh)
    with pytest.raises(ValueError, match="measured with other questions, another model or other settings"):
        search_layers(fresh, FEW, CONFIG, out=tmp_path, resume=True)
    assert (tmp_path / "result.json").read_bytes() == before


def test_a_model_in_another_folder_is_gone_on_with(atlas, tmp_path, monkeypatch):
    search_layers(atlas, FEW, CONFIG, out=tmp_path)
    evaluated = []
    score = evaluate.score_items

    def counted(loaded, items, *rest, **more):
        evaluated.extend(items)
        return score(loaded, items, *rest, **more)

    monkeypatch.setattr(evaluate, "score_items", counted)
    moved = atlas.info.model_copy(update={"name": "moved"})
    other = type(atlas)(atlas.model, atlas.tokenizer, atlas.readout, atlas.label, moved, atlas.preset)
    monkeypatch.setattr(atlas.model.config, "_name_or_path", "/somewhere/else")
    search_layers(other, FEW, CONFIG, out=tmp_path, resume=True)
    assert evaluated == []
