"""A search on questions about images: its files, its report, and what it refuses before anything is measured."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dola_core.errors import LoadError, PromptError, QuestionPromptError, QuestionTooLongError
from dola_core.lanes import DecodingConfig
from dola_core.layer_search import __main__ as command
from dola_core.layer_search.answers.question_ids import QuestionIds
from dola_core.layer_search.error_analysis import error_cases
from dola_core.layer_search.questions.dataset import Item, read_items
from dola_core.layer_search.questions.image_files import image_facts, images_sha256
from dola_core.layer_search.ray_workers import TableSettings, Worker
from dola_core.layer_search.result import SearchResult
from dola_core.layer_search.search import Search, search_layers
from dola_core.layer_search.search_config import SearchConfig
from dola_core.models.identity import memory_identity
from dola_core.models.images.image_file import MAX_PIXELS, open_image
from tests.dola_core.layer_search.test_html_report import TagChecker
from tests.dola_core.models.images.cases import NaiveWithImages, folder, loaded
from tests.dola_core.models.images.families import picture

NAMES = ["a.png", "<b> & c.png", "d.jpg"]
TEXTS = ("Is there a cat in the image?", "Is it red?")


@pytest.fixture
def data(tmp_path) -> Path:
    """A file of questions as POPE's, whose images lie in another folder."""
    (tmp_path / "images").mkdir()
    for seed, name in enumerate(NAMES):
        picture(seed, (40, 28 + 4 * seed)).save(tmp_path / "images" / name)
    questions = [
        {"question_id": n, "image": name, "text": text, "label": "yes" if n % 2 else "no", "category": "adversarial"}
        for n, (name, text) in enumerate((name, text) for name in NAMES for text in TEXTS)
    ]
    (tmp_path / "pope.json").write_text("\n".join(map(json.dumps, questions)))
    return tmp_path / "pope.json"


def run(data: Path, *more: str, model: str = "llava") -> int:
    quick = ("--device", "cpu", "--dtype", "float32", "--layers", "3,22", "--alphas", "0.1")
    where = ("--model", str(folder(model)), "--images", str(data.parent / "images"))
    return command.main(["--data", str(data), "--out", str(data.parent / "out"), *where, *quick, *more])


def result_of(data: Path) -> SearchResult:
    return SearchResult.model_validate_json((data.parent / "out" / "result.json").read_text())


def items_of(data: Path) -> list[Item]:
    return read_items(data, images=data.parent / "images")


@pytest.mark.parametrize("more", [(), ("--chat",)], ids=["plain", "chat"])
def test_the_command_measures_questions_about_images_and_says_on_which(data, more):
    assert run(data, *more) == 0
    result, items = result_of(data), items_of(data)
    assert result.complete
    assert (result.data.items, result.asked.metric, result.asked.chat) == (6, "accuracy", bool(more))
    assert result.data.images_sha256 == images_sha256(items, image_facts(items))
    picture(7).save(data.parent / "images" / "a.png")
    assert run(data, *more) == 0
    assert result_of(data).data.images_sha256 != result.data.images_sha256
    assert result_of(data).data.sha256 == result.data.sha256


def test_a_search_is_gone_on_with_on_the_same_images_wherever_they_lie_and_on_no_others(data, capsys):
    assert run(data) == 0
    first = result_of(data)
    shutil.move(data.parent / "images", data.parent / "moved")
    assert run(data, "--resume", "--images", str(data.parent / "moved")) == 0
    assert result_of(data).curves == first.curves
    picture(7).save(data.parent / "moved" / "a.png")
    with pytest.raises(SystemExit):
        run(data, "--resume", "--images", str(data.parent / "moved"))
    assert "was measured with other questions, another model or other settings" in capsys.readouterr().err


def test_other_settings_of_what_prepares_images_make_another_search(data, monkeypatch):
    model, config = loaded("llava"), SearchConfig(metric="accuracy")
    before = Search(model, items_of(data), config)._fingerprint((1,))
    monkeypatch.setattr(model.processor.image_processor, "resample", 0)
    assert Search(model, items_of(data), config)._fingerprint((1,)) != before


def test_the_report_names_images_without_their_folder_and_as_text(data):
    assert run(data, "--no-texts") == 0
    bare = result_of(data)
    assert not any(case.image for case in bare.errors)
    assert "png" not in (data.parent / "out" / "result.json").read_text()
    case = {"item": 2, "domain": "adversarial", "right": "dola"}
    document = bare.model_dump(mode="json", by_alias=True) | {"errors": [case]}
    (data.parent / "bare.json").write_text(json.dumps(document))
    assert run(data, "--show", str(data.parent / "bare.json")) == 0
    page = (data.parent / "out" / "report.html").read_text()
    TagChecker().feed(page)
    assert "question 3: [&lt;b&gt; &amp; c.png] Is there a cat in the image? …" in page
    assert str(data.parent) not in page
    assert f"SHA-256 of their pixels {bare.data.images_sha256[:16]}" in page


def test_questions_about_one_image_are_one_cluster():
    one, other, none = (Item(prompt="a", answers=("b",), image=image) for image in ("x.png", "y.png", None))
    named = Item(prompt="a", answers=("b",), image="x.png", entity="cat")
    assert [item.cluster for item in (one, other, none, named)] == ["x.png", "y.png", "", "cat"]


def spoil(file: Path, how: str) -> None:
    file.unlink()
    if how == "damaged":
        picture(0, (400, 300)).save(file, "PNG")
        file.write_bytes(file.read_bytes()[:9000])
    elif how == "no image":
        file.write_text("<svg/>")
    elif how == "pipe":
        os.mkfifo(file)
    elif how == "folder":
        file.mkdir()
    elif how == "bomb":
        picture(0, (1, 1)).resize((4001, 4001)).save(file, "PNG")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("how", "kind", "reason"),
    [
        ("missing", "image_file", "No such file or directory"),
        ("damaged", "image_damaged", ""),
        ("no image", "image_format", ""),
        ("pipe", "image_file", "it is no file"),
        ("folder", "image_file", "it is no file"),
        ("bomb", "image_pixels", ""),
    ],
)
def test_an_image_that_cannot_be_read_is_told_before_the_model_is_loaded(data, monkeypatch, capsys, how, kind, reason):
    monkeypatch.setattr("dola_core.models.loading.load_model", lambda *_, **__: pytest.fail("the model was loaded"))
    file = data.parent / "images" / NAMES[2]
    spoil(file, how)
    with pytest.raises(SystemExit):
        run(data)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    said = PromptError(kind, 4001 * 4001, MAX_PIXELS, texts=str(file), reason=reason)
    assert last == f"python -m dola_core.layer_search: error: Question 5: {said}"


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"], ids=["long", "nothing"])
def test_a_name_that_no_file_can_have_is_told(tmp_path, name):
    with pytest.raises(QuestionPromptError, match=r"^Question 1: The image .* cannot be read: .*\.$"):
        image_facts([Item(prompt="a", answers=("b",), image=str(tmp_path / name))])


CONFIGS = {
    "mc": SearchConfig(metric="accuracy", layers=(3,), alphas=(0.1,)),
    "generate": SearchConfig(
        metric="contains", layers=(3,), alphas=(0.1,), task="generate", decoding=DecodingConfig(max_new_tokens=3)
    ),
}


@pytest.mark.parametrize("task", CONFIGS)
def test_what_the_model_cannot_read_is_told_before_anything_is_measured(data, task, atlas, monkeypatch):
    unread = pytest.fail
    monkeypatch.setattr("dola_core.layer_search.evaluate.score_items", lambda *_, **__: unread("it was scored"))
    monkeypatch.setattr("dola_core.layer_search.evaluate.generate_ids", lambda *_, **__: unread("it was generated"))
    items, config = items_of(data), CONFIGS[task]
    plain = Item(prompt="Is it?", answers=("Yes",), wrong=("No",))
    with pytest.raises(QuestionPromptError, match=r"^Question 2: This model reads no images; leave the image out"):
        search_layers(atlas, [plain, *items], config)
    marked = items[3].model_copy(update={"prompt": "Is <image> here?"})
    with pytest.raises(QuestionPromptError, match=r"^Question 4: The prompt holds “<image>”"):
        search_layers(loaded("llava"), [*items[:3], marked], config)
    model, long = loaded("smolvlm"), items[2]
    while len(model.encode(long.prompt)) < 240:
        long = long.model_copy(update={"prompt": f"{long.prompt} Is it?"})
    assert len(model.encode(long.prompt)) < 254, "it is the image that is too much"
    sentence = r"^Question 3 has 2\d\d tokens|^Question 3: The prompt has 2\d\d tokens; the model reads at most 256"
    with pytest.raises((QuestionTooLongError, QuestionPromptError), match=sentence):
        search_layers(model, [*items[:2], long], config)


def test_solved_examples_do_not_stand_without_their_images(data):
    with pytest.raises(ValueError, match="without their images; leave out few_shot"):
        search_layers(loaded("llava"), items_of(data), SearchConfig(metric="accuracy", few_shot=1))


def test_lanes_without_the_image_are_measured_in_generated_texts_alone(data):
    config = SearchConfig(metric="accuracy", layers=(3,), alphas=(0.1,), lanes=("static:22,image=no",))
    lane = config.lanes[0]
    with pytest.raises(ValueError, match="can only be measured in generated texts"):
        search_layers(loaded("llava"), items_of(data), config)
    generated = CONFIGS["generate"].model_copy(update={"lanes": (lane,)})
    assert search_layers(loaded("llava"), items_of(data)[:2], generated).complete


def greedy(model, item: Item, tokens: int) -> list[int]:
    """What the model says to a question with an image, by passes without a cache."""
    question = QuestionIds.of_item(model, item)
    decoder, ids = NaiveWithImages(model.model, dict(question.images.inputs.beside), len(question.prompt)), []
    while len(ids) < tokens and (not ids or ids[-1] not in model.eos_ids):
        ids.append(int(decoder.log_qs([*question.prompt, *ids])[0].argmax()))
    return ids


@pytest.mark.parametrize("name", ["llava", "qwen2.5-vl", "gemma3", "smolvlm"])
def test_texts_are_generated_from_the_image(data, name):
    model, (item, *_) = loaded(name), items_of(data)
    said = model.text(greedy(model, item, 3)).strip()
    asked = [item.model_copy(update={"answers": (said,)}), item.model_copy(update={"answers": (f"{said} x",)})]
    config = CONFIGS["generate"].model_copy(update={"metric": "exact"})
    search = Search(model, asked, config)
    list(search.run())
    values = search.rounds[0].values[:, search.metrics.index("exact"), 0]
    assert values.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("task", CONFIGS)
def test_an_error_is_analysed_with_the_image(data, task):
    model, layer = loaded("qwen2.5-vl"), 3
    item = items_of(data)[2].model_copy(update={"answers": ("a dark blue",), "wrong": ("a dark red",)})
    (case,) = error_cases(model, [item], np.array([[1.0, 0.0]]), CONFIGS[task], (layer, 0.1), most=1)
    assert (case.image, case.right) == ("<b> & c.png", "baseline")
    question = QuestionIds.of_item(model, item)
    right, wrong = question.answer("a dark blue"), question.answer("a dark red")
    common = next(n for n, (one, other) in enumerate(zip(right, wrong, strict=False)) if one != other)
    if task == "generate":
        common = 0
        assert case.common == "", "the two decoders part at once"
    else:
        assert common > 1
        assert (case.common, case.wrong) == ("a dark", "a dark red")
    decoder = NaiveWithImages(model.model, dict(question.images.inputs.beside), len(question.prompt))
    log_qs = decoder.log_qs([*question.prompt, *right[:common]], layer)
    for found, log_q in zip((case.q_N, case.q_J), log_qs, strict=True):
        best = np.sort(np.exp(log_q))[::-1][: len(found)]
        assert [candidate.p for candidate in found] == pytest.approx(best.tolist(), abs=1e-4)


def test_a_worker_refuses_images_that_are_others_than_here(data):
    model, items = loaded("llava"), items_of(data)
    worker = Worker(str(folder("llava")), "cpu", "float32", memory_identity(model.model))
    settings = TableSettings(("accuracy",), (3,), (0.1,), ())
    expected = images_sha256(items, image_facts(items))
    config = CONFIGS["mc"]
    assert len(worker.measure(items, config, settings, expected)) == len(items)
    picture(8).save(data.parent / "images" / "a.png")
    with pytest.raises(LoadError, match=r"other images under the same paths; give all machines the same folder\.$"):
        worker.measure(items, config, settings, expected)


def test_the_image_decides(data):
    """Else all of this would hold of questions without one as well."""
    model, items = loaded("llava"), items_of(data)
    with torch.no_grad():
        first, second = (
            search_layers(model, [item.model_copy(update={"image": image}) for item in items], CONFIGS["mc"])
            for image in (items[0].image, items[-1].image)
        )
    assert open_image(items[0].image).sha256 != open_image(items[-1].image).sha256
    assert first.curves["margin"] != second.curves["margin"]
