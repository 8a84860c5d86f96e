"""Prove that a prompt with images, read into a cache and gone on from, gives the model's own uncached logits."""

from typing import Any, cast

import torch
from torch import Tensor

from dola_core.errors import UnsupportedModelError
from dola_core.models.devices import out_of_memory
from dola_core.models.quantising import plain_products
from dola_core.models.reading.cached_texts import CachedTexts, read_logits
from dola_core.models.reading.image_inputs import ImageInputs
from dola_core.models.reading.parts import first_line, model_name, probe_ids
from dola_core.models.reading.proof import Trial, differences, reading_rules
from dola_core.models.reading.readout import Readout

STEPS = 3
"""Tokens that a trial goes on for."""
TEXT = 8
"""Tokens of the text by which is measured what rounding does to the logits."""


@torch.no_grad()
def prove_images(readout: Readout, ids: list[int], inputs: ImageInputs) -> None:
    """Try it with one prompt, alone and in two rows, of its own last layer and of that read through `LN_out`.

    Raises `UnsupportedModelError` with one sentence if the logits differ.
    """
    try:
        with plain_products(readout.model):
            _prove(readout, ids, inputs)
    except UnsupportedModelError:
        raise
    except Exception as error:  # a model's own code: anything can come out of it
        if out_of_memory(error):
            raise
        raise UnsupportedModelError(f"{model_name(readout.model)} fails: {first_line(error)}") from error


def _prove(readout: Readout, ids: list[int], inputs: ImageInputs) -> None:
    model, rules = readout.model, reading_rules(readout)
    tolerance = Trial(readout, TEXT).tolerance
    more = probe_ids(model, rows=1, length=STEPS)[0].tolist()
    expected = uncached_logits(readout, [*ids, *more], inputs)[-STEPS - 1 :]
    for rows in (1, 2):
        prompt = torch.tensor([ids] * rows, device=readout.device)
        texts = CachedTexts(readout, prompt, rules, [inputs] * rows)
        for step, own in enumerate(expected):
            pairs = [(readout.n_layers, row) for row in range(rows)]
            read = read_logits(texts, pairs, early_norm=True)
            if not bool((differences(read.to(own.device), own) <= tolerance).all()):
                raise UnsupportedModelError(
                    f"{model_name(model)} goes on from an image by other logits than those of its uncached passes."
                )
            texts.append(torch.tensor([more[step : step + 1] or more[:1]] * rows))


def uncached_logits(readout: Readout, ids: list[int], inputs: ImageInputs) -> Tensor:
    """The model's own logits after each of `ids`, which begin with a prompt with images: `[T, V]`, float32.

    The model is given what its processor made, and finds positions itself.
    """
    whole = torch.tensor([ids], device=readout.device)
    beside = {
        name: each.to(whole.device) if isinstance(each, Tensor) else each
        for name, each in inputs.arguments(len(ids)).items()
    }
    output = cast(Any, readout.model)(
        input_ids=whole, attention_mask=torch.ones_like(whole), use_cache=False, return_dict=True, **beside
    )
    return output.logits[0, -len(ids) :].float()
