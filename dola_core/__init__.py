"""DoLa-static beside plain decoding, for decoder-only models of `transformers`.

The names in `__all__` are the public API. Each is imported at its first use, so that `import dola_core` does not import
PyTorch and the commands answer `--help` at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Baseline",
    "ChatTurn",
    "Comparison",
    "DatasetError",
    "DecodingConfig",
    "DolaDynamic",
    "DolaStatic",
    "Engine",
    "FileWriteError",
    "FolderInUseError",
    "Item",
    "Lane",
    "LinearContrast",
    "LoadError",
    "LoadedModel",
    "PresetError",
    "Prompt",
    "PromptError",
    "PromptImage",
    "QuestionTooLongError",
    "Recorder",
    "ScoringConfig",
    "SearchConfig",
    "SearchResult",
    "StepOutput",
    "Trace",
    "UnsupportedModelError",
    "compare",
    "compute_probs_from_hidden",
    "contrast_with_apc",
    "generate_with_dola",
    "generate_with_dola_static",
    "lane_text",
    "load_model",
    "open_image",
    "parse_lane",
    "prompt_image",
    "read_image",
    "read_items",
    "search_layers",
]

if TYPE_CHECKING:
    from dola_core.comparison import ChatTurn, Comparison, Prompt
    from dola_core.contrast import compute_probs_from_hidden, contrast_with_apc
    from dola_core.decoding.engine import Engine, compare
    from dola_core.decoding.lockstep import StepOutput
    from dola_core.errors import (
        DatasetError,
        FileWriteError,
        FolderInUseError,
        LoadError,
        PresetError,
        PromptError,
        QuestionTooLongError,
        UnsupportedModelError,
    )
    from dola_core.generation import generate_with_dola, generate_with_dola_static
    from dola_core.lanes import (
        Baseline,
        DecodingConfig,
        DolaDynamic,
        DolaStatic,
        Lane,
        LinearContrast,
        lane_text,
        parse_lane,
    )
    from dola_core.layer_search.answers.scoring import ScoringConfig
    from dola_core.layer_search.questions.dataset import Item, read_items
    from dola_core.layer_search.result import SearchResult
    from dola_core.layer_search.search import search_layers
    from dola_core.layer_search.search_config import SearchConfig
    from dola_core.models.images.image_file import PromptImage, open_image, prompt_image, read_image
    from dola_core.models.loaded_model import LoadedModel
    from dola_core.models.loading import load_model
    from dola_core.trace.recorder import Recorder
    from dola_core.trace.schema import Trace
else:
    # Type checkers do not see this branch: with a module `__getattr__` they would accept any name.
    _MODULES = {
        "dola_core.comparison": ("ChatTurn", "Comparison", "Prompt"),
        "dola_core.contrast": ("compute_probs_from_hidden", "contrast_with_apc"),
        "dola_core.decoding.engine": ("Engine", "compare"),
        "dola_core.decoding.lockstep": ("StepOutput",),
        "dola_core.errors": (
            "DatasetError", "FileWriteError", "FolderInUseError", "LoadError", "PresetError", "PromptError",
            "QuestionTooLongError", "UnsupportedModelError",
        ),
        "dola_core.generation": ("generate_with_dola", "generate_with_dola_static"),
        "dola_core.lanes": (
            "Baseline",
            "DecodingConfig",
            "DolaDynamic",
            "DolaStatic",
            "Lane",
            "LinearContrast",
            "lane_text",
            "parse_lane",
        ),
        "dola_core.layer_search.questions.dataset": ("Item", "read_items"),
        "dola_core.layer_search.result": ("SearchResult",),
        "dola_core.layer_search.search_config": ("SearchConfig",),
        "dola_core.layer_search.answers.scoring": ("ScoringConfig",),
        "dola_core.layer_search.search": ("search_layers",),
        "dola_core.models.images.image_file": ("PromptImage", "open_image", "prompt_image", "read_image"),
        "dola_core.models.loaded_model": ("LoadedModel",),
        "dola_core.models.loading": ("load_model",),
        "dola_core.trace.recorder": ("Recorder",),
        "dola_core.trace.schema": ("Trace",),
    }  # fmt: skip
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name):
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value  # the next use finds it here
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
