"""How the tests of `generate_with_dola_static` call it."""

import torch

from dola_core.generation import generate_with_dola_static
from tests.dola_core.tiny import prompt

STEPS = 8
PROMPT = prompt(6)
IDS = torch.tensor([PROMPT])
SAMPLING = {"do_sample": True, "temperature": 0.8, "top_k": 20, "top_p": 0.9}


def dola(model, ids=IDS, *, layer=22, alpha=0.1, **kwargs):
    """Greedy unless told otherwise."""
    settings = {"do_sample": False, "max_new_tokens": STEPS} | kwargs
    return generate_with_dola_static(model, ids, layer=layer, alpha=alpha, **settings)


def text(output, prompt_length=6):
    return output[0, prompt_length:].tolist()


def seeded(function, seed=5):
    torch.manual_seed(seed)
    return function()


def padded(*prompts):
    """Left-padded ids and their mask."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    return ids, (ids != 0).long()
