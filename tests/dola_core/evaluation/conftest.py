"""Tasks of lm-evaluation-harness in files here, and the models that they are run on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dola_core.files.paths import SHIPPED_MODEL
from dola_core.layer_search.questions.dataset import Item, read_items
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model

CHOICE = """
task: here_choice
dataset_path: json
dataset_kwargs:
  data_files: {file}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{answers + wrong}}}}"
doc_to_target: 0
metric_list:
  - metric: acc
"""
GENERATION = """
task: here_generation
dataset_path: json
dataset_kwargs:
  data_files: {file}
test_split: train
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answers[0]}}}}"
generation_kwargs:
  until: ["."]
  max_gen_toks: 8
metric_list:
  - metric: exact_match
"""
ROLLING = """
task: here_rolling
dataset_path: json
dataset_kwargs:
  data_files: {file}
test_split: train
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{prompt}}}}"
metric_list:
  - metric: word_perplexity
"""


@pytest.fixture(scope="session")
def items() -> list[Item]:
    """Some questions of the shipped model, with three wrong answers each."""
    return read_items(SHIPPED_MODEL / "validation.jsonl")[:240:16]


@pytest.fixture(scope="session")
def tasks(items, tmp_path_factory) -> Iterator[Path]:
    """A folder with a task of each kind, and the cache of its data elsewhere than the user's."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("tasks")
    file = folder / "questions.jsonl"
    lines = [{"prompt": item.prompt, "answers": item.answers, "wrong": item.wrong} for item in items]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    for name, task in (("choice", CHOICE), ("generation", GENERATION), ("rolling", ROLLING)):
        (folder / f"{name}.yaml").write_text(task.format(file=file), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield folder


@pytest.fixture(scope="session")
def atlas() -> LoadedModel:
    return load_model(device="cpu", dtype="float32")
