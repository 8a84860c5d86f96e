"""The dtype of auto follows what a processor says of itself."""

import pytest
import torch

from dola_core.models.devices import fast_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["amx_bf16", "avx512_bf16", "bf16", "sve_bf16"])
def test_instructions_for_bfloat16_decide(name, monkeypatch):
    known = {name: False, "avx2": True, "avx512_f": True, "architecture": "x86_64"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert fast_dtype(CPU) is torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known | {name: True}, raising=False)
    assert fast_dtype(CPU) is torch.bfloat16


def test_a_processor_that_says_nothing_computes_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert fast_dtype(CPU) is torch.float32
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert fast_dtype(CPU) is torch.float32


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_takes_bfloat16_if_it_is_not_emulated(native, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert fast_dtype(torch.device("cuda")) is dtype


def test_another_device_takes_float32():
    assert fast_dtype(torch.device("mps")) is torch.float32


def test_it_is_the_same_every_time():
    assert len({fast_dtype(CPU) for _ in range(5)}) == 1
