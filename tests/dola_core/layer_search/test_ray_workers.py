"""Workers that Ray runs measure what one process measures, and go on when one of them is lost."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from dola_core.errors import LoadError, QuestionPromptError
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.lanes import DecodingConfig
from dola_core.layer_search import ray_workers
from dola_core.layer_search.__main__ import main
from dola_core.layer_search.questions.dataset import Item
from dola_core.layer_search.questions.file import QuestionFile
from dola_core.layer_search.questions.image_files import image_facts
from dola_core.layer_search.ray_workers import RayWorkers
from dola_core.layer_search.search import Search
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from tests.dola_core.models.images import cases as vision
from tests.dola_core.models.images.families import picture
from tests.server import ray_processes

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.timeout(300)]
QUESTIONS = SHIPPED_MODEL / "validation.jsonl"
CONFIGS = {
    "scores": SearchConfig(metric="said", limit=30, alphas=(0.1, 0.2), buckets=("low",)),
    "texts": SearchConfig(
        task="generate", metric="contains", limit=4, layers=(12, 22), alphas=(0.1,),
        decoding=DecodingConfig(max_new_tokens=6),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Ray on this machine, whose workers have one processor, as this process has in these tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return QuestionFile.read(QUESTIONS).items("auto")


def workers(**more: object) -> RayWorkers:
    return RayWorkers(**({"device": "cpu", "count": 2} | more))


def measured(search: Search, after_each: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """The metrics of all questions."""
    for done, _ in search.run():
        after_each(done)
    return search.rounds[0].values


def gone() -> bool:
    """Whether no such process is left, a while after they were told to end."""
    for _ in range(100):
        if not ray_processes("Worker"):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("task", CONFIGS)
def test_they_measure_what_one_process_measures_to_the_last_bit(loaded, items, task):
    alone = measured(Search(loaded, items, CONFIGS[task]))
    assert np.array_equal(measured(Search(loaded, items, CONFIGS[task], evaluate=workers().evaluate)), alone)
    assert gone()


@pytest.fixture
def with_images(tmp_path, items) -> list[Item]:
    """Questions about two images, and without one."""
    for seed, name in enumerate(("a.png", "b.png")):
        picture(seed, (40, 28 + 4 * seed)).save(tmp_path / name)
    asked = [
        Item(prompt=text, answers=("Yes",), wrong=("No",), image=str(tmp_path / name))
        for text in ("Is there a cat?", "Is it red?", "Is there anything?")
        for name in ("a.png", "b.png")
    ]
    return [*items[:2], *asked]


@pytest.mark.parametrize("task", CONFIGS)
def test_they_measure_questions_about_images_as_one_process_does(with_images, task):
    model, config = vision.loaded("llava"), CONFIGS[task].model_copy(update={"limit": None})
    alone = measured(Search(model, with_images, config))
    on_workers = workers(model=str(vision.folder("llava"))).evaluate
    assert np.array_equal(measured(Search(model, with_images, config, evaluate=on_workers)), alone)


def test_an_image_that_a_worker_cannot_open_is_told_by_the_number_of_its_question(with_images, monkeypatch):
    model, config = vision.loaded("llava"), CONFIGS["scores"].model_copy(update={"limit": None})
    opened = image_facts(with_images)
    for module in ("search", "ray_workers"):  # as on another machine, where the folder is missing
        monkeypatch.setattr(f"dola_core.layer_search.{module}.image_facts", lambda *_: opened)
    os.remove(with_images[3].image)
    on_workers = workers(model=str(vision.folder("llava"))).evaluate
    with pytest.raises(QuestionPromptError, match=r"^Question 4: The image .*b\.png cannot be read: No such file"):
        measured(Search(model, with_images, config, evaluate=on_workers))


def test_a_lost_worker_is_started_anew_and_its_questions_are_measured_again(loaded, items):
    killed = list[int]()

    def kill(done: int) -> None:
        if not killed:
            killed.append(ray_processes("Worker")[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    found = measured(Search(loaded, items, CONFIGS["scores"], evaluate=workers().evaluate), kill)
    assert killed
    assert np.array_equal(found, measured(Search(loaded, items, CONFIGS["scores"])))


def test_where_all_are_lost_for_good_what_was_measured_stays(loaded, items, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_workers, "LOST", 0)
    config = CONFIGS["scores"]

    def kill(done: int) -> None:
        for one in ray_processes("Worker"):
            os.kill(one.pid, signal.SIGKILL)

    with pytest.raises(LoadError, match="All workers are lost"):
        measured(Search(loaded, items, config, out=tmp_path, evaluate=workers().evaluate), kill)
    resumed = Search(loaded, items, config, out=tmp_path, resume=True)
    steps = [done for done, _ in resumed.run()]
    assert 1 < steps[0] <= config.limit, "it goes on where the workers were lost"
    assert np.array_equal(resumed.rounds[0].values, measured(Search(loaded, items, config)))


def test_a_worker_with_other_weights_is_refused(items):
    changed = load_model(device="cpu", dtype="float32")
    changed.model.get_input_embeddings().weight.data[7] += 1
    with pytest.raises(LoadError, match="other weights of atlas-30l; give all machines the same model"):
        measured(Search(changed, items, CONFIGS["scores"], evaluate=workers().evaluate))


def test_workers_compute_in_the_dtype_of_the_model_here(items):
    half = load_model(device="cpu", dtype="bfloat16")
    config = CONFIGS["scores"].model_copy(update={"limit": 6})
    alone = measured(Search(half, items, config))
    assert np.array_equal(measured(Search(half, items, config, evaluate=workers().evaluate)), alone)


def test_more_workers_than_there_is_room_for_are_refused(loaded, items):
    with pytest.raises(LoadError, match="Ray has 2 processors for 3 workers; ask for fewer workers"):
        measured(Search(loaded, items, CONFIGS["scores"], evaluate=workers(count=3).evaluate))


@pytest.mark.parametrize("task", CONFIGS)
def test_a_question_that_cannot_be_read_is_refused_by_its_number_in_the_file(loaded, items, task):
    long = items[0].model_copy(update={"prompt": "Gold is " * 600})
    asked = [*items[:5], long], CONFIGS[task].model_copy(update={"limit": None})
    said = []
    for more in ({}, {"evaluate": workers().evaluate}):
        with pytest.raises(ValueError, match="6") as refused:
            measured(Search(loaded, *asked, **more))
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_search_that_is_stopped_leaves_no_worker(loaded, items):
    steps = Search(loaded, items, CONFIGS["scores"], evaluate=workers().evaluate).run()
    next(steps)
    assert ray_processes("Worker")
    steps.close()
    assert gone()


def test_a_signal_to_end_ends_the_command_as_without_workers(tmp_path):
    command = [sys.executable, "-m", "dola_core.layer_search", "--data", str(QUESTIONS), "--metric", "said"]
    command += ["--device", "cpu", "--out", str(tmp_path), "--ray", "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "RAY_ADDRESS": ""}) as run:
        while "1/" not in (said := run.stderr.readline(200)):
            assert said, "it ended before it had begun"
        run.send_signal(signal.SIGTERM)
        end = run.stderr.read()
    assert run.returncode == 128 + signal.SIGTERM
    assert "interrupted. What was measured is in" in end


def test_the_command_measures_on_workers_and_resumes(tmp_path, capsys):
    given = ["--data", QUESTIONS, "--limit", "8", "--layers", "12,22", "--alphas", "0.1", "--metric", "said"]
    given += ["--device", "cpu", "--dtype", "float32"]
    assert main([*given, "--out", tmp_path / "one"]) == 0
    assert main([*given, "--out", tmp_path / "ray", "--ray", "--workers", "2"]) == 0
    assert main([*given, "--out", tmp_path / "ray", "--ray", "--resume"]) == 0
    one, other = (result_of(tmp_path / name) for name in ("one", "ray"))
    assert one == other


def result_of(folder: Path) -> dict[str, object]:
    """A result but for the time that it took."""
    document = json.loads((folder / "result.json").read_text())
    document.pop("seconds")
    return document


@pytest.mark.parametrize("given", [["--workers", "2"], ["--ray", "--workers", "0"]])
def test_the_command_says_what_a_number_of_workers_is(given, capsys):
    with pytest.raises(SystemExit):
        main(["--data", "x", *given])
    assert "--workers must be a number of workers, beside --ray." in capsys.readouterr().err


def test_without_ray_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LoadError, match=r"pip install -r requirements-ray\.txt"):
        RayWorkers()
