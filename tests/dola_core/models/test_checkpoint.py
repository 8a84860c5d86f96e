"""A checkpoint is loaded whole or refused in a sentence that names what is wrong with it."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, PreTrainedModel, T5Config

from dola_core.errors import LoadError
from dola_core.models.checkpoint import checkpoint_folder, damage, load_whole, weight_files
from tests.dola_core.models.test_loading import folder, sentence
from tests.dola_core.tiny import N, tiny

SHARDS = "120KB"
SAFE, BIN = "model.safetensors", "pytorch_model.bin"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return folder(tiny("llama"), tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    return folder(tiny("llama"), tmp_path_factory.mktemp("sharded"), max_shard_size=SHARDS)


@pytest.fixture(scope="module")
def pickled(tmp_path_factory) -> Path:
    where = folder(tiny("llama"), tmp_path_factory.mktemp("pickled"))
    torch.save(load_file(where / SAFE), where / BIN)
    (where / SAFE).unlink()
    return where


def copy(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "copy")


def changed(original: Path, tmp_path: Path, change) -> Path:
    """A copy whose file of weights holds what `change` makes of {name: tensor}."""
    where = copy(original, tmp_path)
    save_file(change(load_file(where / SAFE)), where / SAFE, metadata={"format": "pt"})
    return where


def loaded(where: Path) -> PreTrainedModel:
    return load_whole(str(where), AutoConfig.from_pretrained(where), dtype=torch.float32)


@pytest.mark.parametrize("kind", ["whole", "sharded", "pickled"])
def test_a_whole_checkpoint_loads_as_it_was_saved(kind, request):
    ours = loaded(request.getfixturevalue(kind)).state_dict()
    assert all(torch.equal(ours[name], weight) for name, weight in tiny("llama").state_dict().items())


def test_weights_of_two_layers_that_are_missing_are_counted_and_the_first_named(whole, tmp_path):
    lost = re.compile(r"\.layers\.(11|12)\.")
    where = changed(whole, tmp_path, lambda weights: {k: w for k, w in weights.items() if not lost.search(k)})
    said = sentence(where)
    first = ["input_layernorm", "mlp.down_proj", "mlp.gate_proj"]
    names = ", ".join(f"model.layers.11.{name}.weight" for name in first)
    assert f"{where} lacks 18 weights ({names}, …) of LlamaForCausalLM" in said


@pytest.mark.parametrize("architecture", ["llama", "llama-tied", "gpt2", "qwen2", "olmo2"])
def test_any_kind_of_weight_that_is_missing_is_named(architecture, tmp_path):
    original = folder(tiny(architecture), tmp_path / "original")
    kinds = {re.sub(r"\d+", "#", name): name for name in load_file(original / SAFE)}
    for number, name in enumerate(kinds.values()):
        where = changed(
            original, tmp_path / str(number), lambda weights, name=name: weights.pop(name) is None or weights
        )
        with pytest.raises(LoadError, match=re.escape(name.removeprefix("transformer."))):
            loaded(where)


@pytest.mark.parametrize(
    ("surplus", "said"),
    [
        ({"v_head.summary.weight": (1, 32)}, "holds the weight v_head.summary.weight that"),
        ({f"model.layers.{N}.mlp.up_proj.weight": (48, 32)}, f"holds the weight model.layers.{N}.mlp.up_proj.weight"),
        (
            {f"model.layers.{n}.self_attn.q_norm.weight": (8,) for n in range(N)},
            "holds 30 weights (model.layers.0.",
        ),
        (
            {"model.layers.3.self_attn.q_proj.weight_scale": (1,)},
            "weight_scale that LlamaForCausalLM here",
        ),
    ],
)
def test_surplus_weights_are_named(whole, tmp_path, surplus, said):
    more = {name: torch.ones(shape) for name, shape in surplus.items()}
    assert said in sentence(changed(whole, tmp_path, lambda weights: weights | more))


def test_a_config_of_fewer_layers_than_the_checkpoint_is_refused(whole, tmp_path):
    where = copy(whole, tmp_path)
    config = json.loads((where / "config.json").read_text()) | {"num_hidden_layers": N - 2}
    (where / "config.json").write_text(json.dumps(config))
    assert f"holds 18 weights (model.layers.{N - 2}.input_layernorm.weight, " in sentence(where)


def test_layers_that_predict_several_tokens_are_not_surplus(whole, tmp_path):
    """DeepSeek's and others lie behind the last layer; the config says how many there are."""
    more = {f"model.layers.{N}.shared_head.norm.weight": torch.ones(32)}
    where = changed(whole, tmp_path, lambda weights: weights | more)
    config = json.loads((where / "config.json").read_text()) | {"num_nextn_predict_layers": 1}
    (where / "config.json").write_text(json.dumps(config))
    assert loaded(where).config.num_hidden_layers == N


@pytest.mark.parametrize("key", ["rotary_emb.inv_freq", "model.layers.3.self_attn.rotary_emb.inv_freq"])
def test_buffers_of_older_versions_are_not_surplus(whole, tmp_path, key):
    assert loaded(changed(whole, tmp_path, lambda weights: weights | {key: torch.ones(4)}))


def test_weights_under_other_names_are_both_missing_and_surplus(whole, tmp_path):
    where = changed(whole, tmp_path, lambda weights: {f"module.{name}": weight for name, weight in weights.items()})
    said = sentence(where)
    assert "lacks 273 weights (lm_head.weight, model.embed_tokens.weight, " in said
    assert "and holds 273 weights (module.lm_head.weight, " in said


def test_a_weight_of_another_shape_is_named_with_both(whole, tmp_path):
    where = changed(whole, tmp_path, lambda weights: weights | {"lm_head.weight": torch.ones(5, 32)})
    assert "holds the weight lm_head.weight as 5 × 32, where LlamaForCausalLM here has 97 × 32" in sentence(where)


def test_a_part_that_is_not_there_is_named(sharded, tmp_path):
    where = copy(sharded, tmp_path)
    parts = weight_files(where)
    assert len(parts) > 5
    parts[2].unlink()
    parts[3].unlink()
    said = f"The folder {where} lacks 2 of the {len(parts)} files that model.safetensors.index.json names, first "
    assert said + parts[2].name in sentence(where)


def test_a_weight_that_only_the_index_has_is_missing(sharded, tmp_path):
    where = copy(sharded, tmp_path)
    part = weight_files(where)[2]
    weights = load_file(part)
    name = sorted(weights)[0]
    save_file({k: w for k, w in weights.items() if k != name}, part, metadata={"format": "pt"})
    assert f"lacks the weight {name} of" in sentence(where)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}'])
def test_an_index_that_is_no_index_is_named(sharded, tmp_path, content):
    where = copy(sharded, tmp_path)
    (where / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json is damaged" in sentence(where)


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["whole", "sharded", "pickled"])
def test_a_file_that_is_cut_off_is_named(kind, kept, tmp_path, request):
    where = copy(request.getfixturevalue(kind), tmp_path)
    file = weight_files(where)[-1]
    content = file.read_bytes()
    file.write_bytes(content[: round(len(content) * kept) if isinstance(kept, float) else kept])
    assert f"{file} is damaged or cut off ({file.stat().st_size:,} bytes); download it again." == sentence(where)


@pytest.mark.parametrize("kind", ["whole", "pickled"])
def test_what_git_leaves_without_git_lfs_is_said(kind, tmp_path, request):
    where = copy(request.getfixturevalue(kind), tmp_path)
    (file,) = weight_files(where)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert sentence(where) == f"{file} is only a pointer to the weights; fetch them: git lfs pull."


def test_a_folder_without_weights_is_said_to_have_none(whole, tmp_path):
    where = copy(whole, tmp_path)
    (where / SAFE).unlink()
    assert f"The folder {where} holds no weights: neither model.safetensors nor pytorch_model.bin" in sentence(where)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (T5Config(d_model=16, num_layers=2, num_heads=2), "is an encoder–decoder model"),
        (BertConfig(is_encoder_decoder=True), "is an encoder–decoder model"),
        ("clip_vision_model", "is a model of the kind clip_vision_model, which does not complete text"),
        ("vit", "is a model of the kind vit, which does not complete text"),
        ("whisper", "is an encoder–decoder model"),
    ],
)
def test_what_completes_no_text_is_said_before_its_weights_are_read(whole, tmp_path, config, said):
    where = copy(whole, tmp_path)
    config = AutoConfig.for_model(config) if isinstance(config, str) else config
    config.save_pretrained(where)
    assert said in sentence(where)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model_type": "from-the-future"}, "has an architecture that transformers does not ship"),
        ({"hidden_size": 8}, "does not say which architecture it is of (model_type)"),
        ({}, "does not say which architecture it is of (model_type)"),
    ],
)
def test_a_config_that_nobody_knows_is_said(whole, tmp_path, content, said):
    where = copy(whole, tmp_path)
    (where / "config.json").write_text(json.dumps(content))
    assert said in sentence(where)


def test_an_unforeseen_error_of_whole_files_is_not_blamed_on_them(whole, monkeypatch):
    def fail(*_args, **_named):
        raise KeyError("something in transformers")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    assert damage(whole) is None
    assert "something in transformers" in sentence(whole)


def test_the_folder_of_a_hub_model_is_its_snapshot(monkeypatch, tmp_path):
    found = {"some/model": str(tmp_path / "config.json")}
    monkeypatch.setattr("dola_core.models.checkpoint.try_to_load_from_cache", lambda name, *_, **__: found.get(name))
    assert checkpoint_folder("some/model", None) == tmp_path
    assert checkpoint_folder("another/model", None) is None
    assert checkpoint_folder(str(tmp_path), None) == tmp_path


def test_the_file_that_a_config_names_goes_first(tmp_path):
    for name in (SAFE, BIN, "other.safetensors"):
        (tmp_path / name).touch()
    assert weight_files(tmp_path) == [tmp_path / SAFE]
    assert weight_files(tmp_path, "other.safetensors") == [tmp_path / "other.safetensors"]
    (tmp_path / SAFE).unlink()
    assert weight_files(tmp_path) == [tmp_path / BIN]
