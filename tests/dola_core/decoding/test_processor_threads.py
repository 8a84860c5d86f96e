"""Only the thread that decodes holds helper threads of PyTorch, or all products would be slow."""

import subprocess
import sys

import pytest

COUNT = """
import os, sys, threading, time
import torch
from dola_core.decoding.processor_threads import give_up_processor_threads
from tests.dola_core.tiny import asked, engine_of, prompt, tiny
from dola_core.lanes import Baseline, DecodingConfig
from dola_core.models.reading.readout import Readout

torch.set_num_threads(2)

def helpers():
    # A thread that has ended goes a little later than Python knows.
    return min(len(os.listdir("/proc/self/task")) - threading.active_count() for _ in range(50) if not time.sleep(0.01))

def multiply():
    one = torch.randn(700, 700)
    one @ one

multiply()  # whatever else this makes stays
before = helpers()
"""


def counts(script: str) -> list[int]:
    """The numbers that a script prints which begins with `COUNT`."""
    done = subprocess.run([sys.executable, "-c", COUNT + script], capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")


def test_they_can_be_given_up_and_come_again():
    [before, without, again] = counts(
        "give_up_processor_threads(); without = helpers(); multiply(); print(before, without, helpers())"
    )
    assert without == before - 1
    assert again == before


def test_to_give_up_what_one_has_not_does_nothing():
    [before, after] = counts(
        "thread = threading.Thread(target=give_up_processor_threads); thread.start(); thread.join();"
        "print(before, helpers())"
    )
    assert after == before


def test_where_a_model_is_loaded_nothing_is_held(tmp_path):
    """The page loads its first model in the thread that goes on to serve."""
    [before, after] = counts("multiply(); engine_of(Readout.of(tiny('llama'))); print(before, helpers())")
    assert after == before - 1


def test_who_waits_for_a_comparison_holds_nothing_meanwhile():
    script = """
engine = engine_of(Readout.of(tiny("llama")))
multiply()
steps = engine.compare(asked(prompt(5), [Baseline()], DecodingConfig(max_new_tokens=4)), together=True)
next(steps)
list(steps)
assert engine.scheduler.wait(10)
print(before, helpers())
"""
    [before, after] = counts(script)
    assert after == before - 1
