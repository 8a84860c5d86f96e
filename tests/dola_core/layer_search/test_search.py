"""A whole search: every strategy, both tasks, the command, and what becomes of an interruption."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Decoding
from dola_core.layer_search import __main__ as command
from dola_core.layer_search.dataset import Item, write_items
from dola_core.layer_search.evaluate import contains, is_exact
from dola_core.layer_search.result import Asked, SearchResult
from dola_core.layer_search.scoring import Rule
from dola_core.layer_search.search import buckets, layer_search, layers_of
from dola_core.models.loading import load_model

NAMES = {
    name: (right, wrong)
    for name, right, wrong in (
        ("Japan", "Tokyo", "Osaka"), ("Chile", "Santiago", "Lima"), ("Kenya", "Nairobi", "Mombasa"),
        ("Pakistan", "Islamabad", "Karachi"), ("Nigeria", "Abuja", "Lagos"), ("Australia", "Canberra", "Sydney"),
        ("Brazil", "Brasília", "Rio"), ("Canada", "Ottawa", "Toronto"), ("Turkey", "Ankara", "Istanbul"),
        ("Vietnam", "Hanoi", "Hue"), ("Peru", "Lima", "Cusco"), ("Egypt", "Cairo", "Alexandria"),
        ("Italy", "Rome", "Milan"), ("Spain", "Madrid", "Barcelona"), ("Poland", "Warsaw", "Krakow"),
        ("China", "Beijing", "Shanghai"), ("India", "New Delhi", "Mumbai"), ("Ghana", "Accra", "Kumasi"),
        ("Cuba", "Havana", "Santiago"), ("Iran", "Tehran", "Shiraz"), ("Iraq", "Baghdad", "Basra"),
    )
}  # fmt: skip
ITEMS = [
    Item(prompt=f"Question: {asked.format(name)} Answer:", answers=(right,), wrong=(wrong,), domain=domain, entity=name)
    for asked, domain in (("What is the capital of {}?", "plain"), ("If I fly to {}, what is its capital?", "odd"))
    for name, (right, wrong) in NAMES.items()
]
ASKED = Asked(alphas=(0.1, 0.5))


@pytest.fixture(scope="module")
def loaded():
    return load_model(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def found(loaded):
    return layer_search(loaded, ITEMS, ASKED)


def test_strategies_name_the_layers_of_the_paper_scaled_to_the_model():
    assert layers_of("all", 30) == tuple(range(1, 30))
    assert layers_of("grid", 30) == tuple(range(8, 30, 2))
    assert layers_of("buckets", 30) == (8, 9, 10, 18, 19, 20, 27, 28, 29)
    assert [(part[0], part[-1]) for part in buckets(30)] == [(1, 10), (11, 20), (21, 29)]
    for n_layers in range(2, 100):
        whole = [layer for part in buckets(n_layers) for layer in part]
        assert whole == list(range(1, n_layers))
        for strategy in ("all", "grid", "buckets"):
            layers = layers_of(strategy, n_layers)
            assert layers
            assert list(layers) == sorted(set(layers))
            assert {*layers} <= {*whole}


def test_the_result_survives_its_file_and_tells_what_was_asked(found, loaded):
    again = SearchResult.model_validate_json(found.to_json())
    assert again == found
    assert found.layers == tuple(range(1, 30))
    assert found.model == loaded.info
    assert found.complete
    assert set(found.curves) == {"mc1", "mc2", "mc3", "accuracy", "margin", "chose", "said", "first"}
    for curve in found.curves.values():
        assert np.array(curve.settings).shape == (29, 2, 3)


def test_the_choice_is_the_best_of_the_curve_and_among_those_not_worse(found):
    means = np.array(found.curves["mc1"].settings)[:, :, 0]
    place = found.layers.index(found.chosen.layer), ASKED.alphas.index(found.chosen.alpha)
    assert means[place] == means.max() == found.chosen.value[0]
    assert found.chosen.difference[0] == pytest.approx(means.max() - found.curves["mc1"].baseline[0], abs=1e-4)
    assert found.chosen.alpha in found.chosen.not_worse[found.chosen.layer]
    assert sum(found.stability.layers.values()) == pytest.approx(1)
    assert [domain.name for domain in found.domains] == ["plain", "odd"]


def test_errors_are_those_that_one_has_right_and_the_other_wrong(found):
    right = {case.item: case.right for case in found.errors}
    chosen = found.chosen
    baseline, dola = found.curves["mc1"].baseline[0], chosen.value[0]
    more = sum(who == "dola" for who in right.values()) - sum(who == "baseline" for who in right.values())
    assert more / len(ITEMS) == pytest.approx(dola - baseline, abs=1e-4)
    for case in found.errors:
        item = ITEMS[case.item]
        assert (case.prompt, case.answers) == (item.prompt, item.answers)
        assert case.wrong in item.wrong
        assert len(case.q_N) == len(case.q_J) == 10
        assert case.q_N[0].p >= case.q_N[-1].p > 0


def test_the_other_strategies_find_what_all_layers_hold(loaded, found):
    whole = np.array(found.curves["mc2"].settings)
    for strategy in ("grid", "buckets"):
        part = layer_search(loaded, ITEMS, ASKED.model_copy(update={"strategy": strategy}))
        for place, layer in enumerate(part.layers):
            np.testing.assert_allclose(np.array(part.curves["mc2"].settings)[place], whole[layer - 1], atol=1e-4)
        if strategy == "buckets":
            best = next(bucket for bucket in buckets(30) if part.chosen.layer in bucket)
            assert {*best} <= {*part.layers}
            assert len(part.layers) == 9 + len(best) - 3


def test_generation_writes_what_each_setting_writes_alone(loaded):
    decoding = Decoding(max_new_tokens=6, repetition_penalty=1.2)
    asked = Asked(task="generate", strategy="grid", metric="contains", alphas=(0.05, 0.5), decoding=decoding)
    items = ITEMS[::7]
    result = layer_search(loaded, items, asked)
    assert set(result.curves) == {"exact", "contains", "first"}
    texts = {}
    for layer, alpha in ((None, 0.1), (8, 0.05), (28, 0.5)):
        texts[layer] = []
        for item in items:
            inputs = loaded.tokenizer(item.prompt, return_tensors="pt")
            ids = generate_with_dola_static(
                loaded.model, **inputs, layer=layer or 1, alpha=alpha, use_dola_lm_static=layer is not None,
                max_new_tokens=6, do_sample=False, repetition_penalty=1.2,
            )  # fmt: skip
            texts[layer].append(
                loaded.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            )

    def share(layer, judge):
        return np.mean([judge(text, item.answers) for text, item in zip(texts[layer], items, strict=True)])

    for metric, judge in (("contains", contains), ("exact", is_exact)):
        curve = result.curves[metric]
        assert curve.baseline[0] == pytest.approx(share(None, judge), abs=1e-4)
        assert curve.settings[0][0][0] == pytest.approx(share(8, judge), abs=1e-4)
        assert curve.settings[result.layers.index(28)][1][0] == pytest.approx(share(28, judge), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "exact", "inside"),
    [(" Tokyo.", True, True), ("tokyo", True, True), ("It is Tokyo, I think", False, True), ("Tokyoite", False, False)],
)
def test_texts_are_compared_but_for_case_and_stops(text, exact, inside):
    assert is_exact(text, ("Tokyo",)) == exact
    assert contains(text, ("Tokyo",)) == inside


class TestCommand:
    @pytest.fixture
    def data(self, tmp_path) -> Path:
        write_items(tmp_path / "items.jsonl", ITEMS)
        return tmp_path / "items.jsonl"

    def run(self, data, *more):
        quiet = ("--device", "cpu", "--dtype", "float32", "--strategy", "grid", "--alphas", "0.1,0.5")
        return command.main(["--data", str(data), "--out", str(data.parent / "out"), *quiet, *more])

    def test_it_writes_a_result_and_says_the_verdict(self, data, capsys):
        assert self.run(data) == 0
        result = SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())
        assert result.asked.metric == "accuracy"  # one right answer each
        assert result.data.sha256 == hashlib.sha256(data.read_bytes()).hexdigest()
        assert result.verdict in capsys.readouterr().out

    def test_what_was_asked_for_stands_in_the_result(self, data):
        more = ("--raw-early", "--post-softmax", "vocabulary", "--no-apc", "--limit", "4", "--normalise", "mean",
                "--metric", "mc2")  # fmt: skip
        assert self.run(data, *more) == 0
        result = json.loads((data.parent / "out" / "result.json").read_text())
        assert result["asked"]["rule"] == {"early_norm": False, "post_softmax": "vocabulary", "apc": False}
        assert (result["asked"]["normalisation"], result["asked"]["alphas"]) == ("mean", [0.0])
        assert result["data"]["items"] == 4

    def test_interrupted_it_leaves_a_valid_result_and_goes_on_from_there(self, data, monkeypatch, capsys):
        assert self.run(data) == 0
        whole = (data.parent / "out" / "result.json").read_text()

        def stop_after_five(bar, n):
            if n >= 5:  # the bar stands still, so this is how many are done
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("dola_core.layer_search.scoring.BATCH_TOKENS", 1)
            patch.setattr("dola_core.layer_search.__main__.tqdm.update", stop_after_five)
            assert self.run(data) == 130
        assert "--resume" in capsys.readouterr().err
        part = SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())
        assert (part.complete, part.data.items, part.data.of) == (False, 5, len(ITEMS))
        left = []
        monkeypatch.setattr("dola_core.layer_search.__main__.tqdm.update", lambda bar, n: left.append(n))
        assert self.run(data, "--resume") == 0
        assert 0 < len(left) <= len(ITEMS) - 5
        again = json.loads((data.parent / "out" / "result.json").read_text())
        assert again | {"seconds": 0} == json.loads(whole) | {"seconds": 0}

    @pytest.mark.parametrize("more", [("--normalise", "mean"), ("--raw-early",), ("--post-softmax", "off")])
    def test_another_searchs_measurements_are_not_gone_on_from(self, data, capsys, more):
        assert self.run(data) == 0
        with pytest.raises(SystemExit):
            self.run(data, "--resume", *more)
        assert "other settings; start without --resume" in capsys.readouterr().err

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
    def test_spoiled_measurements_are_told_in_a_sentence(self, data, capsys, content):
        (data.parent / "out").mkdir()
        (data.parent / "out" / "measured-1.npz").write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            self.run(data, "--resume")
        assert ended.value.code == 2
        assert "measured-1.npz is spoiled; start without --resume" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (("--alphas", "0.1,2"), "α must be numbers from 0 to 1"),
            (("--metric", "exact"), "exact is no metric of the task mc"),
            (("--task", "generate", "--metric", "mc1"), "mc1 is no metric of the task generate"),
            (("--format", "factor"), "line 1: the column"),
            (("--model", "/nowhere/at/all"), "/nowhere/at/all"),
            (("--limit", "0"), "There are no questions"),
        ],
    )
    def test_a_mistake_is_told_in_a_sentence(self, data, capsys, more, said):
        with pytest.raises(SystemExit) as ended:
            self.run(data, *more)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err

    def test_the_choice_is_stored_beside_the_weights(self, data, monkeypatch, loaded, tmp_path):
        monkeypatch.setattr(loaded.model, "name_or_path", str(tmp_path))
        monkeypatch.setattr(command, "load_model", lambda *_, **__: loaded)
        assert self.run(data, "--write", "--raw-early") == 0
        result = SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())
        stored = json.loads((tmp_path / "dola_static.json").read_text())
        assert (stored["layer"], stored["alpha"]) == (result.chosen.layer, result.chosen.alpha)
        assert stored["early_norm"] is False
        assert stored["finding"] == result.verdict


def test_a_rule_is_part_of_what_is_asked():
    assert Asked(rule=Rule(apc=False)) != Asked()


def test_questions_about_one_thing_choose_nothing(loaded):
    items = [item.model_copy(update={"entity": "one"}) for item in ITEMS[:6]]
    found = layer_search(loaded, items, ASKED.model_copy(update={"strategy": "grid"}))
    assert found.stability is None
    assert found.domains == ()
    assert "Too few questions" in found.verdict


def test_no_questions_are_no_search(loaded):
    with pytest.raises(ValueError, match="no questions"):
        layer_search(loaded, [], ASKED)


def test_items_without_wrong_answers_are_asked_openly(loaded):
    with pytest.raises(ValueError, match="Question 1 offers no wrong answer"):
        layer_search(loaded, [ITEMS[0].model_copy(update={"wrong": ()})], ASKED)
