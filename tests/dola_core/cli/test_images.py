"""`--image` puts images before the prompt, and says at once what is wrong with one."""

import json

import pytest

from dola_core.cli import compare as command
from dola_core.models import loading
from dola_core.models.images.image_file import prompt_image
from tests.dola_core.models.images.cases import loaded as loaded_family
from tests.dola_core.models.images.families import picture


@pytest.fixture
def seeing(monkeypatch) -> None:
    """The command finds a model that reads images loaded."""
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: loaded_family("llava"))


@pytest.fixture
def image(tmp_path) -> str:
    picture(1).save(tmp_path / "cat.png")
    return str(tmp_path / "cat.png")


def trace_of(tmp_path, *options: str) -> dict:
    assert command.main(["What is this?", *options, "--max-new-tokens", "4", "--trace", str(tmp_path / "t.json")]) == 0
    return json.loads((tmp_path / "t.json").read_text())


def test_the_trace_holds_the_images_hash_and_a_small_picture(seeing, image, tmp_path, capsys):
    (kept,) = trace_of(tmp_path, "--image", image)["images"]
    assert kept["sha256"] == prompt_image(picture(1)).sha256
    assert kept["thumbnail"].startswith("/9j/")
    (kept,) = trace_of(tmp_path, "--image", image, "--no-thumbnail", "--chat")["images"]
    assert "thumbnail" not in kept
    assert "What is this?" in capsys.readouterr().out


def test_several_images_and_a_lane_without_them(seeing, image, tmp_path, capsys):
    lanes = ["--lane", "plain", "--lane", "plain,image=off"]
    document = trace_of(tmp_path, "--image", image, "--image", image, *lanes)
    assert len(document["images"]) == 2
    assert [lane.get("image", True) for lane in document["lanes"]] == [True, False]
    assert "without the image" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"GIF89a", "The image cannot be read; give a whole PNG, JPEG, WebP, GIF or BMP file."),
        (b"\0" * 8_000_001, "The image has 8,000,001 bytes; at most 8,000,000 are read."),
    ],
)
def test_what_is_no_image_is_said_before_a_model_is_loaded(monkeypatch, tmp_path, capsys, content, said):
    monkeypatch.setattr(loading, "load_model", None)
    if content is not None:
        (tmp_path / "cat.png").write_bytes(content)
    assert command.main(["What is this?", "--image", str(tmp_path / "cat.png")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_model_without_eyes_says_so(quick, image, capsys):
    assert command.main(["What is this?", "--image", image]) == 2
    assert "This model reads no images; leave the image out" in capsys.readouterr().err
