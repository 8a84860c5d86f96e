"""What the command is asked for in its tests, and the same comparison without the command."""

import re
from pathlib import Path

from dola_core.cli.texts import LaneTexts
from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine
from dola_core.decoding.lockstep import StepOutput
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.models.loaded_model import LoadedModel
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace

ROOT = Path(__file__).resolve().parents[3]
PROMPT = "The capital of Australia is"
CONTRAST = ("--layer", "22", "--alpha", "0.1")
SAME = "Question: What is the capital of Kenya? Answer:"
"""A prompt that both lanes complete alike."""
NAMES = ("Baseline", "DoLa-static")


def comparison(loaded: LoadedModel, prompt: str, layer: int = 22, alpha: float = 0.1, **config) -> Comparison:
    lanes = (Baseline(name=NAMES[0]), DolaStatic(name=NAMES[1], layer=layer, alpha=alpha))
    return Comparison(prompt, tuple(loaded.encode(prompt)), lanes, DecodingConfig(**config))


def outputs(loaded: LoadedModel, prompt: str) -> list[StepOutput]:
    return list(Engine(loaded).compare(comparison(loaded, prompt)))


def record(loaded: LoadedModel, prompt: str, **settings) -> Trace:
    asked = comparison(loaded, prompt, **settings)
    recorder = Recorder(asked, loaded.info)
    for output in Engine(loaded).compare(asked):
        recorder.add(output.tokens, output.ends, output.steps)
    return recorder.trace(loaded.piece, loaded.text)


def without_marks(text: str) -> str:
    """Plain output without the brackets around differing tokens."""
    return re.sub("[⟦⟧]", "", text)


def texts_of_pieces(pieces: dict[int, str], prompt: str = "p") -> LaneTexts:
    """Empty texts of a model whose tokens are `pieces`; `</s>` is special and adds no text."""
    return LaneTexts(prompt, lambda ids: "".join(pieces[i] for i in ids if pieces[i] != "</s>"), pieces.__getitem__)
