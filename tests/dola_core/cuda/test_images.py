"""On a GPU a prompt with an image is read as on the CPU: every lane writes the same."""

import pytest

from dola_core.comparison import ChatTurn, Comparison, Prompt
from dola_core.decoding.engine import Engine
from dola_core.lanes import Baseline, DolaStatic
from dola_core.models.images.image_file import prompt_image
from dola_core.models.loading import load_model
from tests.dola_core.cuda.gpu import DECODINGS, NEEDS_GPU, furthest
from tests.dola_core.models.images.cases import folder
from tests.dola_core.models.images.families import picture

pytestmark = NEEDS_GPU
LANES = (Baseline(), DolaStatic(layer=12), Baseline(image=False))


@pytest.mark.parametrize("name", ["janus", "llava", "llava-next", "qwen2.5-vl", "qwen3-vl", "gemma3", "smolvlm"])
@pytest.mark.parametrize("decoding", ["greedy", "sampled"])
def test_every_lane_is_recorded_as_on_the_cpu(name, decoding):
    steps = []
    for device in ("cpu", "cuda"):
        loaded = load_model(folder(name), device=device, dtype="float32")
        prompt = Prompt("What is this?", (prompt_image(picture(3)),), ChatTurn())
        ids, images = loaded.read_prompt(prompt)
        comparison = Comparison(prompt.text, tuple(ids), LANES, DECODINGS[decoding], prompt.chat, images=images)
        outputs = list(Engine(loaded).compare(comparison))
        steps.append(outputs[0].steps)
    for ours, theirs in zip(*steps, strict=True):
        assert furthest(ours, theirs) < 1e-3
