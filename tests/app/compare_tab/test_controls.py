"""The controls begin with what the model brings, so that they say what a run does."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest

from app.compare_tab.controls import Controls, lay_out_controls
from app.jobs.engine_pool import EnginePool
from app.settings import Settings
from dola_core.decoding.engine import Engine
from dola_core.models.loaded_model import LoadedModel


def laid_out(loaded: LoadedModel) -> Controls:
    async def make() -> Controls:
        with gr.Blocks():
            return lay_out_controls(EnginePool.of(Engine(loaded)).first, Settings())

    # Outside of a running loop Gradio would make loops of its own and leave them open; in a thread there is none yet.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, make()).result()


@pytest.mark.parametrize(
    ("own", "bounds"), [(None, (1.0, 2.0)), (1.15, (1.0, 2.0)), (0.9, (0.9, 2.0)), (3.0, (1.0, 3.0))]
)
def test_the_repetition_penalty_begins_with_the_models_own(loaded, monkeypatch, own, bounds):
    monkeypatch.setattr(loaded.model.generation_config, "repetition_penalty", own)
    slider = laid_out(loaded).repetition_penalty
    assert slider.value == (own or 1.0)
    assert (slider.minimum, slider.maximum) == bounds
