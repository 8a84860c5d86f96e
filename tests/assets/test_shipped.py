"""The shipped model, and that its card and its recorded figures are right."""

import hashlib
import json
from pathlib import Path
from typing import Any

import card
import evaluate
import measures
import probes
import pytest
import torch
from outcomes import search
from transformers import AutoModelForCausalLM

from dola_core.layer_search.questions.dataset import Item, read_items
from dola_core.layer_search.result import SearchResult
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.preset import PRESET_FILE, Preset


@pytest.fixture(scope="module")
def recorded(atlas: Path) -> dict[str, Any]:
    """What `make atlas-eval` wrote."""
    return json.loads((atlas / "evaluation.json").read_text(encoding="utf-8"))


def test_it_is_small_and_has_30_llama_layers(atlas: Path, loaded: LoadedModel) -> None:
    assert (atlas / "model.safetensors").stat().st_size <= 32 * 2**20
    assert loaded.model.config.model_type == "llama"
    assert loaded.model.config.num_hidden_layers == len(loaded.model.model.layers) == 30
    assert loaded.readout.context_length >= 512


def test_plain_transformers_loads_it(atlas: Path, loaded: LoadedModel) -> None:
    assert type(AutoModelForCausalLM.from_pretrained(atlas, local_files_only=True)) is type(loaded.model)


def test_the_weights_are_the_ones_that_were_measured(atlas: Path, recorded: dict[str, Any]) -> None:
    assert hashlib.sha256((atlas / "model.safetensors").read_bytes()).hexdigest() == recorded["model_sha256"]


def assert_same(path: str, was: Any, now: Any, *, items: int = 0) -> None:
    """Assert that figures agree; two answers may differ where another processor rounds differently."""
    if isinstance(was, dict):
        assert was.keys() == now.keys(), path
        items = was.get("items", items)
        for key in was:
            assert_same(f"{path}.{key}", was[key], now[key], items=items)
    elif isinstance(was, list):
        assert len(was) == len(now), path
        for number, pair in enumerate(zip(was, now, strict=True)):
            assert_same(f"{path}[{number}]", *pair, items=items)
    elif path.endswith((".items", ".things")):
        assert now == was, path
    elif isinstance(was, float) and ".layer" not in path:
        assert now == pytest.approx(was, abs=2.5 / items if items else 0.005), path
    else:
        assert now == pytest.approx(was, abs=2), path


MEASURED_AGAIN = ("country.capital", "element.symbol", "moon.planet", "person.century", "animal.class")
"""Relations of several subjects, some whose answers are long and some that arrive early."""


def of_those(items: list[Item]) -> list[Item]:
    """The questions of those relations."""
    return [item for item in items if item.relation in MEASURED_AGAIN]


def figures_of_those(table: dict[str, Any]) -> dict[str, Any]:
    """The figures of those relations."""
    return {name: table[name] for name in MEASURED_AGAIN if name in table}


class TestTheRecordedFigures:
    """The command's own steps, run again on some relations; those of all are the mean of theirs."""

    def test_what_it_knows(self, loaded: LoadedModel, recorded: dict[str, Any]) -> None:
        sets = recorded["sets"]
        assert_same("loss", recorded["fresh_loss"], evaluate.fresh_loss(loaded))
        for name, items in (
            ("statements", probes.statements()),
            ("questions", probes.questions(held_out=False)),
            ("silent_things", probes.questions(held_out=True)),
        ):
            assert_same(
                name, figures_of_those(sets[name]), figures_of_those(evaluate.knowledge(loaded, of_those(items)))
            )

    def test_the_share_of_all_is_the_mean_of_its_relations(self, recorded: dict[str, Any]) -> None:
        for shares in recorded["sets"].values():
            whole, *parts = (shares[name] for name in ("all", *(name for name in shares if name != "all")))
            assert whole["items"] == sum(part["items"] for part in parts)
            mean = sum(part["items"] * part["said"][0] for part in parts) / whole["items"]
            assert whole["said"][0] == pytest.approx(mean, abs=2e-4)

    def test_how_it_continues_everyday_prompts(self, loaded: LoadedModel, recorded: dict[str, Any]) -> None:
        now = evaluate.everyday(loaded)
        assert [one["prompt"] for one in now] == [one["prompt"] for one in recorded["everyday"]]
        assert sum(one != other for one, other in zip(now, recorded["everyday"], strict=True)) <= 1

    def test_at_which_layer(self, loaded: LoadedModel, recorded: dict[str, Any]) -> None:
        now = evaluate.arrivals(loaded, of_those(probes.statements()))
        assert_same("arrival", figures_of_those(recorded["arrival"]), figures_of_those(now))

    def test_what_dola_static_does(self, loaded: LoadedModel, recorded: dict[str, Any]) -> None:
        items, choice = of_those(probes.unseen("test")), recorded["choice"]
        outcome = search(loaded, items, [choice["layer"]], [choice["alpha"]])
        now = evaluate.compared(items, outcome, (0, 0), "relation")
        assert_same("relations", figures_of_those(recorded["test"]["relations"]), figures_of_those(now))
        prompts = {item.prompt for item in items}
        for change, texts in evaluate.examples(items, outcome, (0, 0)).items():
            was = {text for text in recorded["test"]["examples"][change] if text.partition(" … ")[0] in prompts}
            assert len({*texts} ^ was) <= 2

    def test_what_it_knows_in_unseen_wordings(self, loaded: LoadedModel, recorded: dict[str, Any]) -> None:
        """The whole curve is compared with the page's search, which another command made."""
        items = of_those(probes.unseen("validation"))
        outcome = search(loaded, items, (), (1.0,))
        for name, shares in evaluate.unseen_knowledge(items, outcome.baseline_greedy_correct).items():
            assert_same(name, figures_of_those(recorded["sets"][name]), figures_of_those(shares))


def test_the_card_and_the_choice_hold_what_was_recorded(atlas: Path, recorded: dict[str, Any]) -> None:
    log = json.loads((atlas / "training_log.json").read_text(encoding="utf-8"))
    text = (atlas / "README.md").read_text(encoding="utf-8")
    assert card.figures(recorded, log) in text
    size = (atlas / "model.safetensors").stat().st_size / 1e6
    assert f"{log['parameters']:,}" in text
    assert f"{size:.1f} MB" in text
    preset = Preset.model_validate_json((atlas / PRESET_FILE).read_text(encoding="utf-8"))
    assert preset == evaluate.preset_of(recorded)


def test_its_evaluation_and_its_layer_search_choose_and_count_the_same(atlas: Path, recorded: dict[str, Any]) -> None:
    """Two commands measured the same questions, each with its own code around the scores."""
    preset = Preset.model_validate_json((atlas / PRESET_FILE).read_text(encoding="utf-8"))
    searched = SearchResult.model_validate_json((atlas / "layer_search" / "result.json").read_bytes())
    tested = SearchResult.model_validate_json((atlas / "measured" / "side-test.json").read_bytes()).tested
    assert searched.asked.alphas == evaluate.ALPHAS
    assert (preset.layer, preset.alpha) == (searched.chosen.layer, searched.chosen.alpha)
    assert (preset.tested.questions, preset.tested.mended, preset.tested.broken) == (
        tested.questions,
        tested.mended,
        tested.broken,
    )
    assert preset.tested.gain == pytest.approx(tested.gain, abs=0.006)


@pytest.mark.parametrize("name", ["validation", "test"])
def test_the_split_files_are_the_ones_that_the_tables_give(atlas: Path, name: str) -> None:
    assert read_items(atlas / f"{name}.jsonl") == probes.unseen(name)


def test_it_knows_what_it_read_and_not_all_that_it_is_asked_anew(recorded: dict[str, Any]) -> None:
    sets = recorded["sets"]
    assert sets["statements"]["all"]["said"][0] >= 0.95
    assert 0.4 <= sets["unseen_questions"]["all"]["said"][0] <= 0.9


def test_answers_arrive_in_the_upper_two_thirds_and_not_all_at_one_layer(recorded: dict[str, Any]) -> None:
    layers = {name: found["layer"][0] for name, found in recorded["arrival"].items()}
    assert layers.pop("all") > 10
    assert len(set(layers.values())) > 2


def test_at_least_eight_of_ten_everyday_prompts_are_answered_fluently_to_the_point_and_end(
    recorded: dict[str, Any],
) -> None:
    assert len(recorded["everyday"]) == 10
    assert sum(one["ends"] and one["whole"] and one["on_topic"] for one in recorded["everyday"]) >= 8


def test_it_loads_in_three_seconds_where_it_was_measured(recorded: dict[str, Any]) -> None:
    assert recorded["load_seconds"] < 3


def test_arrival_is_the_layer_from_which_on_every_layer_predicts_the_answer(loaded: LoadedModel) -> None:
    items = probes.statements()[::211]
    layers = measures.arrival(loaded, items)

    def naive(prompt: list[int], answer: list[int]) -> int:
        """The answer's tokens one by one, each with a forward pass of its own."""
        predicts = [True] * 30
        for n, token in enumerate(answer):
            with loaded.readout.capture(range(1, 31)) as h, torch.no_grad():
                loaded.model(torch.tensor([prompt + answer[:n]]))
                predicts = [
                    so and loaded.readout.logits(h[j]).argmax() == token for j, so in enumerate(predicts, start=1)
                ]
        return next((j for j in range(1, 31) if all(predicts[j - 1 :])), 0)

    for one, layer in zip(items, layers, strict=True):
        prompt = loaded.encode(one.prompt)
        answers = [loaded.encode(f"{one.prompt} {answer}")[len(prompt) :] for answer in one.answers]
        arrivals = [naive(prompt, answer) for answer in answers]
        assert layer == min((arrived for arrived in arrivals if arrived), default=0), one.prompt
    assert (layers > 0).any()


def test_choosing_looks_at_the_validation_questions_only(recorded: dict[str, Any]) -> None:
    found = recorded["validation"]["curve"]
    shares = {
        (layer, alpha): share[0]
        for layer, row in zip(found["layers"], found["said"]["dola"], strict=True)
        for alpha, share in zip(found["alphas"], row, strict=True)
    }
    assert shares[recorded["choice"]["layer"], recorded["choice"]["alpha"]] == max(shares.values())
