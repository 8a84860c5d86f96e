"""What the options of a command ask for: the model, the lanes, how they decode, and a comparison of a prompt.

What needs PyTorch is imported once the arguments are known to be right: `--help` must not wait for it.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dola_core.cli.output import is_terminal
from dola_core.cli.program import FAILED, CommandError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from dola_core.comparison import Comparison
    from dola_core.decoding.engine import Engine
    from dola_core.lanes import DecodingConfig, Lane
    from dola_core.models.images.image_file import PromptImage
    from dola_core.models.loaded_model import LoadedModel

MOST_LANES = 16


@contextmanager
def refusals_in_words() -> Iterator[None]:
    """Turn what the body refuses into a `CommandError` of one sentence."""
    from pydantic import ValidationError

    from dola_core.errors import LoadError

    try:
        yield
    except LoadError as error:
        raise CommandError(str(error), FAILED) from error
    except ValidationError as error:
        raise CommandError(_validation_message(error)) from error
    except ValueError as error:
        raise CommandError(str(error)) from error


def load_engine(options: argparse.Namespace) -> "Engine":
    """The model that the options name; raises `LoadError` and `UnsupportedModelError`."""
    from dola_core.decoding.engine import Engine
    from dola_core.models.loading import load_model

    _quieten_transformers(options.model)
    return Engine(load_model(options.model, device=options.device, dtype=options.dtype, quantize=options.quantize))


@dataclass(frozen=True)
class Asked:
    """What can be known of the options without the model."""

    options: argparse.Namespace
    lanes: "tuple[Lane, ...]"
    """Those that `--lane` names; empty for the baseline beside DoLa-static."""
    config: "DecodingConfig"
    images: "tuple[PromptImage, ...]" = ()
    """Those that `--image` names."""

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """Check the options; raises `ValueError`, `PromptError` among them, and `CommandError`."""
        from dola_core.contrast import check_alpha
        from dola_core.models.images.image_file import open_image

        if options.alpha is not None:
            check_alpha(options.alpha)
        images = tuple(open_image(file) for file in getattr(options, "image", ()))
        return cls(options, _named_lanes(options), _decoding_config(options), images)

    def comparison(self, loaded: "LoadedModel", prompt: str) -> "Comparison":
        """A comparison of the named lanes, or of the baseline and DoLa-static; what was left out is the model's own.

        Raises `ValueError`, `PromptError` among them, and `CommandError`.
        """
        from dola_core.comparison import ChatTurn, Comparison, Prompt
        from dola_core.models.loaded_model import well_formed

        lanes, config = self.fitted(loaded)
        prompt, _ = loaded.text_ids.without_control(well_formed(prompt))
        asked = Prompt(prompt, self.images, ChatTurn() if self.options.chat else None)
        ids, images = loaded.read_prompt(asked, blank=not all(lane.image for lane in lanes))
        kept = not getattr(self.options, "no_thumbnail", False)
        return Comparison(prompt, tuple(ids), lanes, config, asked.chat, images=images, thumbnails=kept)

    def fitted(self, loaded: "LoadedModel") -> "tuple[tuple[Lane, ...], DecodingConfig]":
        """The lanes for a model, and how they decode; raises `ValueError` and `CommandError`."""
        from dola_core.contrast import check_layer
        from dola_core.lanes import Baseline, DolaStatic

        options, preset = self.options, loaded.preset
        # Before the lane is made, for a message that names the model's layers.
        layer = check_layer(preset.layer if options.layer is None else options.layer, loaded.readout.n_layers)
        alpha = preset.alpha if options.alpha is None else options.alpha
        early_norm = preset.early_norm if options.raw_early is None else not options.raw_early
        lanes = self.lanes or (Baseline(), DolaStatic(layer=layer, alpha=alpha))
        if options.chat and not loaded.has_chat_template:
            raise CommandError(f"{loaded.info.name} has no chat template; leave out --chat.")
        own = {} if options.repetition_penalty is not None else {"repetition_penalty": loaded.repetition_penalty}
        config = self.config.model_copy(update={"early_norm": early_norm, **own})
        readout = loaded.readout
        return tuple(lane.fitted(readout.n_layers, tied=readout.is_tied) for lane in lanes), config


def _named_lanes(options: argparse.Namespace) -> "tuple[Lane, ...]":
    """The lanes that `--lane` names, if it does; `CommandError` if they cannot be."""
    from dola_core.lanes import parse_lane

    if not options.lane:
        return ()
    if options.layer is not None or options.alpha is not None:
        raise CommandError('--lane names a decoder whole, as "static:22,alpha=0.1"; leave out --layer and --alpha.')
    if len(options.lane) > MOST_LANES:
        raise CommandError(f"--lane can be given {MOST_LANES} times at most; got {len(options.lane)}.")
    return tuple(parse_lane(text) for text in options.lane)


def _decoding_config(options: argparse.Namespace) -> "DecodingConfig":
    from dola_core.lanes import DecodingConfig

    penalty = ("repetition_penalty", "penalty_position")
    names = ("max_new_tokens", "temperature", "top_k", "top_p", "min_p", "seed", *penalty)
    given = {name: getattr(options, name) for name in names}
    return DecodingConfig(
        stop=tuple(options.stop), **{name: value for name, value in given.items() if value is not None}
    )


def _validation_message(error: "ValidationError") -> str:
    from dola_core.errors import first_mistake

    mistake = first_mistake(error)
    option = mistake.field.partition(".")[0].replace("_", "-")
    return f"--{option}: {mistake.message} (got {error.errors()[0]['input']!r})."


def _quieten_transformers(model: str | None) -> None:
    """Turn off warnings, and progress bars unless a model may be downloaded and a person watches."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    if model is None or Path(model).is_dir() or not is_terminal(sys.stderr):
        logging.disable_progress_bar()
