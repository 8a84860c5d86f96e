"""The layer, α and norm that are recorded with a model."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.dola_core.generating import dola
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
        with pytest.raises(ValueError, match=r"dola_static\.json must hold a layer from 1 to 29"):
            dola(self.load(folder), layer=None)
