"""Prompts with images: the ids and inputs of a model's own processor, and one sentence where there are none."""

import json
import shutil

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from dola_core.comparison import ChatTurn, Prompt
from dola_core.errors import PromptError
from dola_core.models.images import image_prompts
from dola_core.models.images.image_file import prompt_image
from dola_core.models.images.image_processor import find_processor
from dola_core.models.loading import load_model
from dola_core.models.reading.cached_texts import CachedTexts, read_logits
from dola_core.models.reading.image_inputs import ImageInputs
from dola_core.models.reading.image_proof import uncached_logits
from dola_core.models.reading.proof import reading_rules
from tests.dola_core.models.images.cases import case, folder, loaded
from tests.dola_core.models.images.families import FAMILIES, picture, save

READ = [name for name in FAMILIES if name != "mistral3"]
"""The families whose processors need no torchvision."""
IMAGE = prompt_image(picture(1))


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("chat", [False, True], ids=["complete", "chat"])
def test_the_ids_are_those_of_the_models_own_processor(name, chat):
    model = loaded(name)
    ids, images = model.read_prompt(Prompt("What is this?", (IMAGE,), ChatTurn() if chat else None))
    mark = FAMILIES[name].mark
    text = f"user: {mark}What is this?assistant: " if chat else f"{mark}What is this?"
    own = model.processor(text=[text], images=[IMAGE.pixels], add_special_tokens=False, return_tensors="pt")
    expected = own["input_ids"][0].tolist()
    assert ids == (expected if chat else [model.tokenizer.bos_token_id, *expected])
    first, end = images.span
    assert model.tokenizer.decode(ids[end:]).strip().startswith(("What is this?", "<|vision_end|>What"))
    assert model.readout.model.config.image_token_id in ids[first:end]
    assert model.readout.model.config.image_token_id not in [*ids[:first], *ids[end:]]
    assert torch.equal(images.inputs.beside["pixel_values"], own["pixel_values"])
    for aligned in images.inputs.aligned:
        assert images.inputs.beside[aligned].shape == (1, len(ids))


@pytest.mark.parametrize("name", READ)
def test_a_processor_put_together_without_videos_is_the_same(name):
    found, why = find_processor(str(folder(name)), loaded(name).model, loaded(name).tokenizer)
    assert not why
    assert type(found).__name__ == FAMILIES[name].processor[0]


@pytest.mark.parametrize("name", READ)
def test_several_images_stand_one_after_the_other(name):
    images = tuple(prompt_image(picture(seed)) for seed in (1, 2))
    ids, read = loaded(name).read_prompt(Prompt("What are these?", images, ChatTurn()))
    one, _ = loaded(name).read_prompt(Prompt("What are these?", images[:1], ChatTurn()))
    assert len(ids) > len(one)
    token = loaded(name).readout.model.config.image_token_id
    assert ids.count(token) == 2 * one.count(token)
    assert {place for place, each in enumerate(ids) if each == token} <= set(range(*read.span))
    inputs = read.inputs
    texts = CachedTexts(loaded(name).readout, torch.tensor([ids]), reading_rules(loaded(name).readout), [inputs])
    read_logits_of = read_logits(texts, [], early_norm=True)[0]
    assert torch.allclose(read_logits_of, uncached_logits(loaded(name).readout, ids, inputs)[-1], atol=1e-3)


def test_a_system_prompt_and_the_mark_of_an_image_in_a_text():
    model = loaded("llava")
    ids, _ = model.read_prompt(Prompt("What is this?", (IMAGE,), ChatTurn(system="Be brief.")))
    assert "system: Be brief." in model.tokenizer.decode(ids)
    for prompt in (
        Prompt("Is <image> this?", (IMAGE,)),
        Prompt("Is <image> this?", (IMAGE,), ChatTurn()),
        Prompt("What?", (IMAGE,), ChatTurn(system="<image>")),
    ):
        with pytest.raises(PromptError, match="holds “<image>”, by which this model marks an image"):
            model.read_prompt(prompt)


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("gemma3", "<image_soft_token>"), ("gemma3", "<start_of_image>"), ("qwen2.5-vl", "<|video_pad|>"),
        ("qwen2.5-vl", "<|image_pad|>"), ("internvl", "<video>"), ("internvl", "<IMG_CONTEXT>"), ("smolvlm", "<video>"),
    ],
)  # fmt: skip
def test_every_mark_that_a_model_takes_for_something_seen_is_named(name, mark):
    with pytest.raises(PromptError) as refused:
        loaded(name).read_prompt(Prompt(f"What is {mark} this?", (IMAGE,)))
    assert (refused.value.kind, refused.value.values["texts"]) == ("image_mark", f"“{mark}”")


def test_more_images_than_a_trace_holds_are_refused():
    images = (IMAGE,) * 17
    with pytest.raises(PromptError, match="The prompt has 17 images; at most 16 are read"):
        loaded("llava").read_prompt(Prompt("What are these?", images))


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_image_alone_is_no_prompt(text):
    with pytest.raises(PromptError, match="prompt is empty"):
        loaded("llava").read_prompt(Prompt(text, (IMAGE,)))


def test_a_template_that_leaves_images_out_is_told(tmp_path):
    where = save("llava", tmp_path)
    file = where / "chat_template.jinja"
    file.write_text(file.read_text().replace(repr(FAMILIES["llava"].mark), "''"))
    model = load_model(where, device="cpu", dtype="float32")
    with pytest.raises(PromptError, match="chat template leaves the image out; leave out chat"):
        model.read_prompt(Prompt("What is this?", (IMAGE,), ChatTurn()))
    assert model.read_prompt(Prompt("What is this?", (IMAGE,)))[1] is not None


def test_a_template_that_only_the_processor_keeps_is_used(tmp_path):
    where = save("llava", tmp_path)
    template = (where / "chat_template.jinja").read_text()
    (where / "chat_template.jinja").unlink()
    (where / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    model = load_model(where, device="cpu", dtype="float32")
    assert model.has_chat_template
    assert model.encode("Hello", chat=True) == loaded("llava").encode("Hello", chat=True)


def test_models_that_read_no_images_say_so(tmp_path):
    with pytest.raises(PromptError, match="This model reads no images"):
        load_model(device="cpu", dtype="float32").read_prompt(Prompt("What?", (IMAGE,)))
    with pytest.raises(PromptError, match=r"cannot be loaded \(.*Torchvision.*\); leave the image out\."):
        loaded("mistral3").read_prompt(Prompt("What?", (IMAGE,)))
    shutil.copytree(folder("llava"), tmp_path / "bare")
    for file in ("preprocessor_config.json", "processor_config.json"):
        (tmp_path / "bare" / file).unlink()
    bare = load_model(tmp_path / "bare", device="cpu", dtype="float32")
    assert not bare.reads_images
    assert bare.encode("The capital") == loaded("llava").encode("The capital")
    with pytest.raises(PromptError, match="cannot be loaded"):
        bare.read_prompt(Prompt("What?", (IMAGE,)))


def test_an_image_that_the_processor_refuses_ends_in_a_sentence():
    thin = prompt_image(Image.new("RGB", (3000, 2)))  # only in Python, which bounds nothing
    with pytest.raises(PromptError, match="refuses this one") as refused:
        loaded("qwen2-vl").read_prompt(Prompt("What is this?", (thin,)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["llava", "qwen2.5-vl", "gemma3", "smolvlm"])
def test_a_model_that_goes_on_by_other_logits_is_found_out(name, monkeypatch):
    """What the trial is for: positions, or an image, that get lost behind the cache."""
    model = loaded(name)
    prompts = image_prompts.ImagePrompts(model.readout, model.tokenizer, model.processor, model.text_ids)
    monkeypatch.setattr(image_prompts, "_FOUND", {})
    monkeypatch.setattr(ImageInputs, "arguments", _with_other_pixels(ImageInputs.arguments))
    with pytest.raises(PromptError, match="does not go on from an image as it reads one"):
        prompts.prompt("What is this?", (IMAGE,))
    with pytest.raises(PromptError, match="does not go on"):  # it is not tried again
        prompts.chat("What is this?", (IMAGE,))
    assert len(image_prompts._FOUND) == 1


def _with_other_pixels(arguments):
    """Give cached passes another image; the uncached one, which is one, gets the right one."""
    calls = []

    def spoilt(self, length):
        calls.append(length)
        right = arguments(self, length)
        if length < max(calls):
            right["pixel_values"] = right["pixel_values"] * 0.5 + 0.7
        return right

    return spoilt


def test_a_model_that_cannot_read_an_image_says_so(monkeypatch):
    model = loaded("llava")
    prompts = image_prompts.ImagePrompts(model.readout, model.tokenizer, model.processor, model.text_ids)
    own = ImageInputs.arguments
    monkeypatch.setattr(image_prompts, "_FOUND", {})

    def without_pixels(self, length):
        return {name: each[..., :3] for name, each in own(self, length).items()}

    monkeypatch.setattr(ImageInputs, "arguments", without_pixels)
    with pytest.raises(PromptError, match="does not go on") as refused:
        prompts.prompt("What is this?", (IMAGE,))
    assert "\n" not in str(refused.value)


def test_a_blank_image_is_grey_and_takes_the_same_tokens():
    for name in READ:
        _, images = loaded(name).read_prompt(Prompt("What is this?", (IMAGE,)))
        assert images.blank.key != images.inputs.key
        assert images.blank.beside["pixel_values"].shape == images.inputs.beside["pixel_values"].shape
        if images.inputs.positions is not None:
            assert torch.equal(images.blank.positions, images.inputs.positions)


def test_an_image_whose_grey_one_would_take_other_tokens_is_read_by_lanes_that_see_it_alone():
    model = loaded("llava")
    prompts = image_prompts.ImagePrompts(model.readout, model.tokenizer, model.processor, model.text_ids)

    def by_content(text, images, **how):
        is_grey = len(images[0].getcolors(images[0].width * images[0].height)) == 1
        return model.processor(text=[each + "!" * is_grey for each in text], images=images, **how)

    prompts.processor = by_content
    with pytest.raises(PromptError, match="a grey image of its size takes other tokens"):
        prompts.prompt("What is this?", (IMAGE,))
    ids, images = prompts.prompt("What is this?", (IMAGE,), blank=False)
    assert images.blank is None
    assert ids == model.read_prompt(Prompt("What is this?", (IMAGE,)))[0]


def test_mrope_positions_are_those_that_generate_takes():
    one = case("qwen2.5-vl")
    model, ids = one.model, torch.tensor([one.ids])
    taken = []
    hook = model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: taken.append(kwargs["position_ids"].clone()), with_kwargs=True
    )
    try:
        how = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}
        model.generate(ids, attention_mask=torch.ones_like(ids), **how, **one.images.inputs.beside)
        first, *later = taken
        taken.clear()
        written = model.generate(ids, attention_mask=torch.ones_like(ids), **how, **one.images.inputs.beside)
        taken.clear()
        texts = CachedTexts(one.engine.loaded.readout, ids, reading_rules(one.engine.loaded.readout),
                            [one.images.inputs])  # fmt: skip
        texts.read()
        for token in written[0, ids.shape[1] : -1]:
            texts.append(token[None, None])
            texts.read()
    finally:
        hook.remove()
    assert torch.equal(taken[0], first)
    for ours, theirs in zip(taken[1:], later, strict=True):
        # The first of several axes counts ids, for masks; ours are text's, which the model takes for all axes.
        assert torch.equal(ours.reshape(-1), theirs[-1].reshape(-1))
    assert one.images.inputs.shift < 0


def test_the_processor_is_found_as_transformers_finds_it_where_it_can():
    found, _ = find_processor(str(folder("llava")), loaded("llava").model, loaded("llava").tokenizer)
    assert type(found) is type(AutoProcessor.from_pretrained(folder("llava")))
