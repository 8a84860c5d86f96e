"""The layer, α and norm that are recorded with a model."""

import json

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from dola_core.errors import LoadError, PresetError
from dola_core.models.loading import load_model
from dola_core.models.preset import Preset, RecordedTest
from tests.dola_core.generation.generating import dola
from tests.dola_core.models.test_loading import folder as saved
from tests.dola_core.tiny import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny("llama").save_pretrained(folder)
    return folder


class TestRecordedLayer:
    @staticmethod
    def load(folder):
        return AutoModelForCausalLM.from_pretrained(folder)

    def test_nobody_chose_so_it_is_22_of_30(self, llama):
        output = dola(llama, layer=None)
        assert torch.equal(output, dola(llama, layer=22))
        assert not torch.equal(output, dola(llama, layer=10))

    def test_a_folder_without_a_choice_is_22_of_30(self, folder):
        (folder / "dola_static.json").unlink(missing_ok=True)
        assert torch.equal(dola(self.load(folder), layer=None), dola(tiny("llama"), layer=22))

    def test_the_choice_in_a_models_folder_is_honoured(self, folder):
        (folder / "dola_static.json").write_text(json.dumps({"layer": 10, "alpha": 0.1}))
        model = self.load(folder)
        assert torch.equal(dola(model, layer=None), dola(tiny("llama"), layer=10))
        assert torch.equal(dola(model, layer=22), dola(tiny("llama"), layer=22))

    def test_the_choice_holds_for_the_norm_that_it_was_made_with(self, folder):
        (folder / "dola_static.json").write_text(json.dumps({"layer": 10, "early_norm": False}))
        model = self.load(folder)
        raw = dola(tiny("llama"), layer=10, early_norm=False)
        assert torch.equal(dola(model, layer=None), raw)
        assert not torch.equal(dola(model, layer=None, early_norm=True), raw)

    @pytest.mark.parametrize(
        "content",
        ["{", "[]", "{}", "3", '{"layer": 30}', '{"layer": "ten"}', '{"layer": null}', '{"layer": true}'],
    )
    def test_a_broken_choice_is_an_error_that_names_the_file(self, folder, content):
        (folder / "dola_static.json").write_text(content)
        with pytest.raises(PresetError, match=r"dola_static\.json must hold a layer from 1 to 29") as refused:
            dola(self.load(folder), layer=None)
        assert str(refused.value).endswith(".")
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda file: file.write_bytes(b"\xff\xfe{"), "is not UTF-8 text"),
            (lambda file: file.mkdir(), "cannot be read: Is a directory"),
            (lambda file: file.write_text('{"layer": 3, "identity": "mine"}'), "identity: must match"),
            (lambda file: file.write_text('{"layer": 3, "beta": 1}'), "beta: is not known here"),
        ],
    )
    def test_a_file_that_is_no_preset_is_called_what_it_is_when_a_model_is_loaded(self, tmp_path, spoil, said):
        where = saved(tiny("llama"), tmp_path / "model")
        spoil(where / "dola_static.json")
        with pytest.raises(LoadError, match=said) as refused:
            load_model(where, device="cpu", dtype="float32")
        assert str(refused.value).startswith(str(where / "dola_static.json"))
        assert "causal language model" not in str(refused.value)


class TestIdentityOfThePresetsModel:
    @pytest.fixture
    def where(self, tmp_path):
        return saved(tiny("llama"), tmp_path / "model")

    @staticmethod
    def record(where, **preset):
        identity = load_model(where, device="cpu", dtype="float32").info.identity
        (where / "dola_static.json").write_text(json.dumps({"layer": 10, "identity": identity} | preset))
        return identity

    def test_its_own_preset_is_honoured_in_any_dtype_by_loading_and_by_generate(self, where):
        self.record(where)
        for dtype in ("float32", "bfloat16"):
            assert load_model(where, device="cpu", dtype=dtype).preset.layer == 10
        model = AutoModelForCausalLM.from_pretrained(where)
        assert torch.equal(dola(model, layer=None), dola(tiny("llama"), layer=10))

    def test_a_preset_of_other_weights_is_refused(self, where):
        self.record(where)
        weights = load_file(where / "model.safetensors")
        weights["model.layers.14.mlp.up_proj.weight"][0, 0] += 1e-3
        save_file(weights, where / "model.safetensors", metadata={"format": "pt"})
        said = r"dola_static\.json was chosen for another model \(its weights are not those that lie beside it now\);"
        with pytest.raises(LoadError, match=said):
            load_model(where, device="cpu", dtype="float32")
        with pytest.raises(PresetError, match=said):
            dola(AutoModelForCausalLM.from_pretrained(where), layer=None)

    def test_a_preset_of_another_tokenizer_is_refused(self, where):
        weights, text = self.record(where).split("-")
        self.record(where, identity=f"{weights}-{'0' * len(text)}")
        with pytest.raises(LoadError, match="its tokenizer or chat template is not the one that lies beside it now"):
            load_model(where, device="cpu", dtype="float32")


TEST = {"data": "test.jsonl", "questions": 40, "metric": "said", "mended": 5, "broken": 3, "gain": [5.0, -1.25, 11.0]}


class TestARecordedTest:
    """What a preset may say about how its settings were tested."""

    def test_it_is_read_as_it_was_written(self):
        preset = Preset.model_validate({"layer": 21, "tested": TEST})
        assert Preset.model_validate_json(preset.model_dump_json()) == preset
        assert (preset.tested.mended, preset.tested.broken, preset.tested.gain) == (5, 3, (5.0, -1.25, 11.0))

    def test_a_file_without_one_says_none(self):
        assert Preset.model_validate({"layer": 21, "finding": "It helps."}).tested is None

    @pytest.mark.parametrize(
        "wrong",
        [
            {"mended": -1},
            {"broken": 2.5},
            {"questions": 1},
            {"gain": [1.0, 2.0]},
            {"gain": [float("nan")] * 3},
            {"x": 1},
        ],
    )  # fmt: skip
    def test_numbers_that_no_test_can_have_are_refused(self, wrong):
        with pytest.raises(ValidationError):
            Preset.model_validate({"layer": 21, "tested": TEST | wrong})

    def test_differences_of_shares_are_told_in_points(self):
        assert RecordedTest.points((0.00478, -0.00588, 0.01462)) == (0.478, -0.588, 1.462)


class TestWhatTheProjectKnows:
    """Settings that lie in the project, for a model whose own folder holds none."""

    @staticmethod
    def preset(tmp_path, n_layers, identity):
        (tmp_path / "known").mkdir(exist_ok=True)
        document = {"layer": 21, "alpha": 0.2, "finding": "It helps.", "identity": "a" * 24 + "-" + "b" * 16}
        (tmp_path / "known" / "dola_static.json").write_text(json.dumps(document))
        model = tiny("llama")
        return Preset.of(model, n_layers, identity=identity, known=tmp_path / "known")

    def test_it_counts_for_the_model_that_it_was_made_with(self, tmp_path):
        found = self.preset(tmp_path, 30, "a" * 24 + "-" + "b" * 16)
        assert (found.layer, found.alpha, found.finding) == (21, 0.2, "It helps.")

    @pytest.mark.parametrize("identity", ["a" * 24 + "-" + "c" * 16, "c" * 24 + "-" + "b" * 16, None])
    @pytest.mark.parametrize(("n_layers", "layer"), [(30, 22), (12, 9), (6, 4)])
    def test_it_says_nothing_of_other_weights_of_the_same_name(self, tmp_path, identity, n_layers, layer):
        assert self.preset(tmp_path, n_layers, identity) == Preset(layer=layer)
