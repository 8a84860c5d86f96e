"""The installed package: what its wheel holds, what it requires, and that it works away from the checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import dola_core

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

pytestmark = pytest.mark.xdist_group("package")  # one process builds and installs it

COMPARE = """
import sys
from pathlib import Path

import dola_core
from dola_core import Baseline, DecodingConfig, DolaStatic, LoadError, SearchConfig, Trace
from dola_core import compare, load_model, read_items, search_layers

folder, questions = sys.argv[1:]
loaded = load_model(folder, device="cpu", dtype="float32")
lanes = [Baseline(name="baseline"), DolaStatic(name="dola", layer=2, alpha=0.1)]
trace = compare(loaded, "Paris is", lanes, DecodingConfig(max_new_tokens=4))
assert [len(trace.lane_ids(lane)) for lane in (0, 1)] == [4, 4]
assert Trace.model_validate_json(trace.to_json()).texts == trace.texts
assert load_model(Path(folder), device="cpu", dtype="float32").info == loaded.info
items = read_items(questions)
assert read_items(Path(questions)) == items
for out in ("found", Path("found too")):
    result = search_layers(loaded, items, SearchConfig(alphas=(0.1,), metric="accuracy"), out=out)
    assert Path(out, "result.json").is_file()
try:
    load_model()
except LoadError as error:
    print(error)
print(dola_core.__version__, dola_core.__file__)
"""


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """Requirements by their name with extras, such as `gradio[mcp]`; comments and `-r` lines are left out."""
    parsed = [Requirement(line) for line in lines if line.strip() and not line.startswith(("#", "-r "))]
    return {f"{one.name}[{','.join(sorted(one.extras))}]": one for one in parsed}


def required_by(name: str) -> dict[str, Requirement]:
    """The requirements of one of the files that a Space and `make` install."""
    return requirements((ROOT / name).read_text(encoding="utf-8").splitlines())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built from a copy, since setuptools writes beside the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("dola_core", "app"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "assets").mkdir()
    (source / "assets" / "words.toml").touch()
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source, cwd=out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a new environment that has the wheel, and all dependencies from this one by a `.pth` file."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=folder.parent)
    variables = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", variables))
    theirs = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in theirs), encoding="utf-8")
    return python.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random LLaMA of three layers and a tokenizer of single bytes; no token ends a text."""
    folder = tmp_path_factory.mktemp("model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(alphabet), hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, run where the checkout cannot be imported."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DOLA_"))}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_requirements_files_are_what_pyproject_names():
    extras = PROJECT["optional-dependencies"]
    assert required_by("requirements.txt") == requirements(PROJECT["dependencies"] + extras["page"])
    assert required_by("requirements-mcp.txt") == requirements(extras["mcp"])
    assert required_by("requirements-ray.txt") == requirements(extras["ray"])
    assert required_by("requirements-dev.txt") == requirements(extras["dev"])
    sources = requirements(
        extras["gguf"] + extras["adapters"] + extras["quantize"] + extras["notebook"] + extras["lm-eval"]
    )
    assert sources.items() <= (required_by("requirements.txt") | required_by("requirements-dev.txt")).items()
    assert set(extras) == {"page", "mcp", "dev", "gguf", "adapters", "quantize", "notebook", "lm-eval", "ray"}


def test_torch_keeps_to_releases_that_were_tested():
    [torch_requirement] = [one for one in map(Requirement, PROJECT["dependencies"]) if one.name == "torch"]
    assert {part.operator for part in torch_requirement.specifier} == {">=", "<"}


def test_the_wheel_holds_the_typed_decoder_and_nothing_of_the_page(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dola_core").rglob("*.py")}
    info = f"dola_duet-{dola_core.__version__}.dist-info"
    assert {name for name in names if not name.startswith(f"{info}/")} == sources | {"dola_core/py.typed"}
    required = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*; extra)", metadata, re.MULTILINE)
    assert not {"gradio", "plotly", "pydantic-settings"} & {*required}
    assert f"\nVersion: {dola_core.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata


def test_the_command_completes_a_prompt(bin_folder, model, tmp_path):
    options = ["--model", model, "--layer", "2", "--max-new-tokens", "4", "--trace", "out.json"]
    printed = run(bin_folder / "dola", "Paris is", *options, cwd=tmp_path)
    assert "Paris is" in printed
    assert "4 tokens: length limit" in printed
    trace = dola_core.Trace.model_validate_json((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [len(trace.lane_ids(lane)) for lane in (0, 1)] == [4, 4]


def test_python_compares_and_has_no_model_of_its_own(bin_folder, model, tmp_path):
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"prompt": "Paris is in", "answers": [" France"], "wrong": [" Spain"]}\n', encoding="utf-8")
    sentence, place = run(bin_folder / "python", "-I", "-c", COMPARE, model, questions, cwd=tmp_path).splitlines()
    assert sentence.startswith("No model comes with the installed package; name a folder or a model of the")
    assert place.startswith(f"{dola_core.__version__} {bin_folder.parent}")


def test_the_search_command_answers(bin_folder, tmp_path):
    assert "--data" in run(bin_folder / "dola-layer-search", "--help", cwd=tmp_path)
