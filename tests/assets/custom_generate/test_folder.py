"""The folder that `make custom-generate` writes: what it holds, when it is refused, and that its texts are true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from transformers import AutoModelForCausalLM, AutoTokenizer

from dola_core import generate_with_dola_static
from dola_core.files.paths import SHIPPED_MODEL
from tests.server import ROOT

SCRIPT = ROOT / "assets" / "custom_generate" / "build.py"
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "custom-generate.md").read_text(encoding="utf-8")
CARD = (ROOT / "assets" / "custom_generate" / "README.md").read_text(encoding="utf-8")


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def ran(*options: str | Path) -> tuple[int, str]:
    """The exit status of the script, and what it prints."""
    done = subprocess.run([sys.executable, "-I", SCRIPT, *options], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestFolder:
    def test_it_holds_what_the_hub_asks_for(self, folder):
        assert {*files(folder)} == {"README.md", "LICENSE", "custom_generate/generate.py"} | {
            "custom_generate/requirements.txt"
        }
        matter = yaml.safe_load(CARD.split("---\n")[1])
        assert matter["tags"] == ["custom_generate"]
        assert (folder / "README.md").read_text(encoding="utf-8") == CARD

    def test_its_requirements_are_the_projects_and_each_of_a_form_that_transformers_reads(self, folder):
        """It reads one bound a line and overlooks further ones."""
        lines = (folder / "custom_generate" / "requirements.txt").read_text(encoding="utf-8").splitlines()
        ours = {one.name: one for one in map(Requirement, _requirements())}
        for line in lines:
            name, _, least = line.partition(">=")
            assert re.fullmatch(r"[\d.]+", least)
            assert f">={least}" in str(ours[name].specifier)
        assert [line.partition(">=")[0] for line in lines] == ["torch", "transformers"]

    def test_an_earlier_version_is_replaced_and_what_lies_beside_it_is_left(self, building, folder, tmp_path):
        building.assemble(tmp_path)
        code, weights = tmp_path / building.CODE, tmp_path / "model.safetensors"
        code.write_bytes(code.read_bytes()[:400])
        weights.write_bytes(b"weights")
        building.assemble(tmp_path)
        assert files(tmp_path) == files(folder) | {"model.safetensors": b"weights"}

    def test_a_new_clone_of_a_repository_is_taken(self, building, folder, tmp_path):
        (tmp_path / ".git").mkdir()
        (tmp_path / ".gitattributes").touch()
        building.assemble(tmp_path)
        assert files(tmp_path) == files(folder) | {".gitattributes": b""}

    @pytest.mark.parametrize("other", ["README.md", "custom_generate/generate.py", "notes/a"])
    def test_a_folder_that_holds_something_else_is_left_alone(self, tmp_path, other):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_text("mine")
        status, said = ran(tmp_path)
        assert status == 1
        assert re.fullmatch(rf"custom-generate: .+ holds something else \({other.partition('/')[0]}\); name .+\n", said)
        assert files(tmp_path) == {other: b"mine"}

    def test_no_name_and_a_file_are_refused_in_one_sentence(self, tmp_path):
        (tmp_path / "file").touch()
        assert ran("") == (1, "custom-generate: say where: make custom-generate OUT=folder.\n")
        status, said = ran(tmp_path / "file")
        assert (status, said.count("\n")) == (1, 1)
        assert said.endswith("is a file; name a folder.\n")


class TestTexts:
    """Every block of the texts is run, with the models that are here."""

    @pytest.fixture
    def shop(self, building, tmp_path, monkeypatch) -> Path:
        """A place where the shipped model and the folder lie as the texts say."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "assets" / "models").mkdir(parents=True)
        (tmp_path / "assets" / "models" / "atlas-30l").symlink_to(SHIPPED_MODEL)
        building.assemble(Path("dola"))
        return tmp_path

    def test_the_command_is_a_target_of_make(self):
        assert blocks(GUIDE, "sh") == ["make custom-generate OUT=dola\n"]
        assert "`make custom-generate OUT=dola`" in README

    @pytest.mark.parametrize("code", blocks(GUIDE, "python"), ids=["folder", "weights"])
    def test_the_examples_of_the_documentation_run(self, shop, capsys, code):
        exec(compile(code, "custom-generate.md", "exec"), {})
        assert "Tokyo" in capsys.readouterr().out

    def test_the_example_of_the_card_runs(self, shop, capsys):
        [code] = blocks(CARD, "python")
        for theirs, here in (("HuggingFaceTB/SmolLM2-135M-Instruct", "assets/models/atlas-30l"), ("owner/", "./")):
            assert code.count(theirs) == 1
            code = code.replace(theirs, here)
        exec(compile(code, "README.md", "exec"), {})
        assert "Canberra" in capsys.readouterr().out

    def test_the_readmes_call_writes_what_it_says(self, shop):
        [call] = re.findall(r"`(model\.generate\(\*\*inputs, custom_generate=.+\))`", README)
        model = AutoModelForCausalLM.from_pretrained(SHIPPED_MODEL)
        inputs = AutoTokenizer.from_pretrained(SHIPPED_MODEL)("The capital of Japan is", return_tensors="pt")
        output = eval(call.replace("dola_layer", "max_new_tokens=12, do_sample=False, dola_layer"))
        ours = generate_with_dola_static(model, **inputs, layer=22, alpha=0.1, max_new_tokens=12, do_sample=False)
        assert torch.equal(output, ours)

    def test_where_the_code_stands_in_for_generate_positions_work_and_other_code_is_refused(self, shop):
        exec(compile(blocks(GUIDE, "python")[1], "custom-generate.md", "exec"), scope := {})
        model, ids = scope["model"], scope["inputs"]["input_ids"]
        assert torch.equal(model.generate(ids, max_new_tokens=12, do_sample=False, dola_layer=22), scope["output"])
        with pytest.raises(ValueError, match="This model generates with DoLa; drop custom_generate"):
            model.generate(ids, custom_generate="owner/other", trust_remote_code=True)

    def test_no_code_is_run_unless_it_is_trusted(self, shop):
        model = AutoModelForCausalLM.from_pretrained(SHIPPED_MODEL)
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            model.generate(torch.tensor([[5]]), custom_generate="./dola", trust_remote_code=False, dola_layer=22)


def test_the_project_itself_trusts_no_code():
    """But for what these tests generate with, and texts that tell how to."""
    sources = [path for part in ("app", "dola_core", "assets") for path in (ROOT / part).rglob("*.py")]
    naming = {path.name for path in sources if re.search(r"trust_remote_code\s*=\s*True", path.read_text("utf-8"))}
    assert naming <= {"build.py"}


def _requirements() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]
