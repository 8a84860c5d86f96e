"""The model `dola` of lm-evaluation-harness: its plain lane is `hf`, and its scores are those of the layer search."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

from dola_core.errors import UnsupportedModelError
from dola_core.evaluation.lm_eval import DolaLM
from dola_core.evaluation.model_args import ModelArgsError
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.generation import generate_with_dola
from dola_core.lanes import Baseline, DolaStatic, LinearContrast, parse_lane
from dola_core.layer_search.answers.plausible_heads import OUTSIDE
from dola_core.layer_search.answers.scoring import ScoringConfig, score_items
from dola_core.models.loading import load_model
from tests.dola_core.tiny import CONFIGS, hooks_on, prepared

ROOT = Path(__file__).resolve().parents[3]
LANES = ["static:22,alpha=0.1", "static:26,alpha=0.01,beta=0.5", "dynamic:high", "linear:22=-0.5,9=-0.25,alpha=0.02"]
ON_CPU = {"device": "cpu", "dtype": "float32", "batch_size": 4}


def evaluated(model: HFLM | str, tasks: Path, *names: str, **settings: Any) -> dict[str, Any]:
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    names = tuple(f"here_{name}" for name in names)
    return lm_eval.simple_evaluate(model, tasks=list(names), task_manager=manager, bootstrap_iters=0, **settings)


def answers_of(result: dict[str, Any], name: str) -> list[list[Any]]:
    """What the model answered to each request of each question, in the file's order."""
    samples = sorted(result["samples"][f"here_{name}"], key=lambda sample: sample["doc_id"])
    return [[answer for [answer] in sample["resps"]] for sample in samples]


def dola(loaded, lane, **settings) -> DolaLM:
    return DolaLM(loaded.model, tokenizer=loaded.tokenizer, lane=lane, batch_size=4, **settings)


@pytest.fixture(scope="module")
def stock(atlas) -> HFLM:
    return HFLM(atlas.model, tokenizer=atlas.tokenizer, batch_size=4)


def search_scores(loaded, items, lane) -> list[np.ndarray]:
    """The scores of the layer search, question by question, right answers first."""
    lane = parse_lane(lane).fitted(loaded.readout.n_layers, tied=loaded.readout.is_tied)
    scored = dict(pair for batch in score_items(loaded, items, (), (), ScoringConfig(), lanes=[lane]) for pair in batch)
    return [np.concatenate([scored[n].right[:, -1], scored[n].wrong[:, -1]]) for n in range(len(items))]


def test_the_plain_lane_is_hf_number_for_number(atlas, stock, tasks):
    kinds = ("choice", "generation", "rolling")
    expected, found = evaluated(stock, tasks, *kinds), evaluated(dola(atlas, "plain"), tasks, *kinds)
    for kind in kinds:
        assert answers_of(found, kind) == answers_of(expected, kind)
    assert found["results"] == expected["results"]


@pytest.mark.parametrize("lane", LANES)
def test_scores_are_those_of_the_layer_search(atlas, items, tasks, lane):
    found = answers_of(evaluated(dola(atlas, lane), tasks, "choice"), "choice")
    for answers, expected in zip(found, search_scores(atlas, items, lane), strict=True):
        assert [score for score, _ in answers] == pytest.approx(expected, abs=1e-4)


def test_smollm2_by_its_short_name_has_the_recorded_lane_and_the_scores_of_the_layer_search(
    smollm2_cache, items, tasks
):
    loaded, model = load_model("smollm2", device="cpu", dtype="float32"), DolaLM("smollm2", **ON_CPU)
    lane = f"static:{loaded.preset.layer},alpha={loaded.preset.alpha}"  # recorded in no folder of the model's own
    result = evaluated(model, tasks, "choice")
    assert result["config"]["dola_lane"] == lane
    for answers, expected in zip(answers_of(result, "choice"), search_scores(loaded, items, lane), strict=True):
        assert [score for score, _ in answers] == pytest.approx(expected, abs=1e-4)


def test_the_shipped_model_by_its_arguments_takes_the_recorded_lane(tasks, atlas, caplog):
    result = evaluated(
        "dola", tasks, "choice", model_args={"pretrained": "atlas-30l", "dtype": "float32"}, device="cpu"
    )
    preset = atlas.preset
    assert result["config"]["dola_lane"] == f"static:{preset.layer},alpha={preset.alpha}"
    assert result["config"]["dola_outside"] == OUTSIDE
    assert f"No lane is named; dola takes static:{preset.layer},alpha={preset.alpha}." in caplog.text


def test_other_norms_and_penalties_make_other_numbers(atlas, tasks):
    usual, raw, penalised = (
        answers_of(evaluated(dola(atlas, f"static:22{more}"), tasks, "choice"), "choice")
        for more in ("", ",norm=off", ",penalty=1.5")
    )
    assert raw != usual
    assert penalised == usual  # an answer that is given repeats nothing


@pytest.mark.parametrize("lane", ["static:22,alpha=0.1", "dynamic:high", "plain,penalty=1.3", "static:12,norm=off"])
def test_texts_are_what_generate_with_dola_writes(atlas, items, tasks, lane, stock):
    found = answers_of(evaluated(dola(atlas, lane), tasks, "generation"), "generation")
    for item, [text] in zip(items, found, strict=True):
        ids = atlas.tokenizer(item.prompt, return_tensors="pt")
        settings = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": atlas.tokenizer.pad_token_id}
        written = generate_with_dola(atlas.model, **ids, lane=parse_lane(lane), **settings)[0, ids.input_ids.shape[1] :]
        assert text == atlas.tokenizer.decode(written, skip_special_tokens=True).partition(".")[0]
    assert found != answers_of(evaluated(stock, tasks, "generation"), "generation")


def test_sampled_texts_have_the_seed_and_the_temperature_that_are_asked_for(atlas, tasks):
    lane, asked = dola(atlas, "static:22,alpha=0.02"), {"do_sample": True, "temperature": 1.5}
    first, again, other = (
        answers_of(evaluated(lane, tasks, "generation", gen_kwargs=asked, torch_random_seed=seed), "generation")
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_where_every_answer_is_cut_a_warning_tells_and_another_score_mends_it(atlas, items, caplog):
    answers = [(("", ""), [9, 10]), (("", ""), [11])]
    requests = [(texts, atlas.encode(item.prompt), ids) for item in items[:2] for texts, ids in answers]
    usual, mended = dola(atlas, "static:22"), dola(atlas, "static:22", outside=-20)
    caplog.clear()
    assert [score for score, _ in usual._loglikelihood_tokens(requests)] == [2 * OUTSIDE, OUTSIDE] * 2
    assert "2 of 2 contexts have no answer of a probability above 0." in caplog.text
    caplog.clear()
    assert [score for score, _ in mended._loglikelihood_tokens(requests)] == [-40.0, -20.0] * 2
    assert not caplog.text


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # asked for by PEFT
def test_a_model_in_peft_is_read_with_its_adapter_and_prompt_tuning_is_refused():
    config = CONFIGS["llama"]()
    torch.manual_seed(0)
    base = prepared(AutoModelForCausalLM.from_config(config))
    tokenizer = load_model(device="cpu", dtype="float32").tokenizer
    requests = [(("a", "b"), [5, 6, 7], [9, 10])]
    lane = DolaStatic(layer=22, alpha=0.0)
    plain = DolaLM(base, tokenizer=tokenizer, lane=lane)._loglikelihood_tokens(requests, disable_tqdm=True)
    adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    model = DolaLM(adapted, tokenizer=tokenizer, lane=lane)
    assert model._loglikelihood_tokens(requests, disable_tqdm=True) != plain
    assert hooks_on(model.readout.model) == 0
    tuned = get_peft_model(adapted.unload(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(UnsupportedModelError, match="The adapter changes no weights; choose one that does"):
        DolaLM(tuned, tokenizer=tokenizer, lane=lane)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("lane=static:30", r"layer must be an integer from 1 to 29 \(the model has 30 layers\); got 30\."),
        ("lane=dynamic:top", "bucket: must be low, high"),
        ("lane=static:22,alpha=2", "alpha: must be a number from 0 to 1"),
        ("lane=plain,alpha=0.1", "'alpha=0.1' has no place in 'plain,alpha=0.1'"),
        ("alpha=0.1", "alpha is set of no lane"),
        ("lane=static:22,outside=-inf", "outside must be a finite number, at most 0"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_sentence(arguments, message):
    with pytest.raises(ModelArgsError, match=message):
        DolaLM.create_from_arg_string(f"pretrained={SHIPPED_MODEL},dtype=float32,{arguments}", {"device": "cpu"})


def test_arguments_as_text_and_as_an_object_name_the_same_lane():
    text = "pretrained=atlas-30l,lane=linear:10=-0.5,22=-0.25,alpha=0.2,outside=-20"
    expected = LinearContrast(weights={10: -0.5, 22: -0.25}, alpha=0.2)
    objects = {"pretrained": "atlas-30l", "lane": "linear:10=-0.5,22=-0.25,alpha=0.2", "outside": -20}
    for model in (DolaLM.create_from_arg_string(text, ON_CPU), DolaLM.create_from_arg_obj(objects, ON_CPU)):
        assert (model.lane, model.outside) == (expected, -20.0)
    assert DolaLM.create_from_arg_string("pretrained=atlas-30l,lane=plain", ON_CPU).lane == Baseline()


def test_the_harness_knows_the_model_by_name_and_by_the_entry_point_of_the_package():
    assert lm_eval.api.registry.get_model("dola") is DolaLM
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert list(points["lm_eval.models"]) == [DolaLM.NAME]
    assert EntryPoint("dola", points["lm_eval.models"]["dola"], "lm_eval.models").load() is DolaLM


def test_what_the_harness_offers_to_override_is_still_called(stock):
    """The names that `DolaLM` overrides; a version that renames one would run `hf` under the name of dola."""
    for name in ("_loglikelihood_tokens", "_model_generate", "get_model_info"):
        assert callable(getattr(HFLM, name))
        assert name in vars(DolaLM)
