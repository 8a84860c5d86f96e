"""What a model's proof found is kept for the same model in the same surroundings, and for no other."""

import json
from collections import Counter

import pytest
import torch

from dola_core.errors import LoadError
from dola_core.models.loading import load_model
from dola_core.models.reading import proof, remembered
from dola_core.models.reading.cached_texts import ReadingRules
from tests.dola_core.models.test_loading import folder
from tests.dola_core.tiny import CONFIGS, prepared, tiny


@pytest.fixture
def proofs(monkeypatch, tmp_path) -> Counter[str]:
    """How often a model is proved, with a cache of the test's own."""
    count: Counter[str] = Counter()
    find = proof.find_rules

    def counting(readout):
        count["proofs"] += 1
        return find(readout)

    monkeypatch.setattr(proof, "find_rules", counting)
    monkeypatch.setattr(remembered, "rules_folder", lambda: tmp_path / "rules")
    return count


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    return folder(tiny("llama"), tmp_path_factory.mktemp("llama"))


def rules_of(where, **how):
    loaded = load_model(where, device="cpu", **{"dtype": "float32"} | how)
    return proof.reading_rules(loaded.readout)


def test_a_model_is_proved_once_and_read_by_the_same_rules_again(where, proofs, tmp_path):
    first, again = rules_of(where), rules_of(where)
    assert first == again == ReadingRules(padded=True)
    assert proofs["proofs"] == 1
    [file] = (tmp_path / "rules").glob("*.json")
    assert json.loads(file.read_text())["longest"] is None


def test_another_dtype_other_weights_and_other_libraries_are_proved_anew(where, proofs, tmp_path, monkeypatch):
    rules_of(where)
    rules_of(where, dtype="bfloat16")
    assert proofs["proofs"] == 2
    torch.manual_seed(1)
    other = prepared(type(tiny("llama"))(CONFIGS["llama"]()))
    rules_of(folder(other, tmp_path / "other"))
    assert proofs["proofs"] == 3
    monkeypatch.setattr(remembered.transformers, "__version__", "99")
    rules_of(where)
    assert proofs["proofs"] == 4


def test_other_rules_are_kept_as_they_are(tmp_path, proofs):
    """A window that the model reads beyond only in one piece, and the like, come back whole."""
    where = folder(tiny("mistral"), tmp_path / "mistral")
    first, again = rules_of(where), rules_of(where)
    assert first == again
    assert proofs["proofs"] == 1


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"own_cache": true}', "x" * 5000, "[" * 900,
     json.dumps({"own_cache": 1, "in_chunks": True, "rows_together": True, "shortened": True, "longest": None,
                 "padded": True}),
     json.dumps({"own_cache": False, "in_chunks": True, "rows_together": True, "shortened": True, "longest": "9",
                 "padded": True}),
     json.dumps({"own_cache": False, "in_chunks": True, "rows_together": True, "shortened": True, "longest": None})],
)  # fmt: skip
def test_a_spoiled_file_is_as_good_as_none(where, proofs, tmp_path, content):
    rules_of(where)
    [file] = (tmp_path / "rules").glob("*.json")
    whole = file.read_text()
    file.write_text(content)
    assert rules_of(where) == ReadingRules(padded=True)
    assert proofs["proofs"] == 2
    assert file.read_text() == whole


def test_without_a_cache_the_proof_is_made(where, proofs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(remembered, "rules_folder", lambda: tmp_path / "file" / "rules")
    for times in (1, 2):
        assert rules_of(where) == ReadingRules(padded=True)
        assert proofs["proofs"] == times


def test_of_a_model_that_is_refused_nothing_is_kept(where, proofs, tmp_path, monkeypatch):
    def refuse(_readout):
        raise proof.UnsupportedModelError("It cannot decode in lock step.")

    monkeypatch.setattr(proof, "find_rules", refuse)
    for _ in range(2):
        with pytest.raises(LoadError, match="cannot decode in lock step"):
            rules_of(where)
    assert not (tmp_path / "rules").exists()
