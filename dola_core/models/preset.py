"""The settings of DoLa-static recorded for a model: `dola_static.json` beside its weights, with j*, α and norm."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import PreTrainedModel

from dola_core.contrast import check_layer, default_layer
from dola_core.errors import PresetError, first_mistake
from dola_core.models.identity import weights_identity
from dola_core.models.info import IDENTITY_PATTERN

PRESET_FILE = "dola_static.json"
MOST_LAYERS = 256
"""The layers of any model, where it is not known yet whether the settings are for this one."""
ALPHA = 0.1
"""The paper's plausibility threshold, used if none is recorded."""


class _Record(BaseModel):
    """A part of the file: it never changes, and knows no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RecordedTest(_Record):
    """A test of the recorded settings on questions that they were not chosen by."""

    data: str = Field(max_length=200)
    """The name of the file of questions."""
    questions: int = Field(ge=2, strict=True)
    metric: str = Field(max_length=40)
    """The metric by which an answer is right; see `dola_core.layer_search.metrics`."""
    mended: int = Field(ge=0, strict=True)
    """Questions that DoLa-static has right and plain decoding wrong."""
    broken: int = Field(ge=0, strict=True)
    """Questions that plain decoding has right and DoLa-static wrong."""
    gain: tuple[float, float, float]
    """DoLa-static minus plain decoding in points, and the ends of its 95 % interval."""

    @staticmethod
    def points(difference: Sequence[float]) -> tuple[float, float, float]:
        """A difference of shares with its interval, in points (hundredths of a share)."""
        mean, low, high = (round(100 * number, 3) for number in difference)
        return mean, low, high


class Preset(_Record):
    """Recorded settings; the page and the library start from them."""

    layer: int = Field(ge=1, strict=True)
    alpha: float = Field(ALPHA, ge=0.0, le=1.0, strict=True)
    early_norm: bool = Field(True, strict=True)
    """Whether layer j* is read through the final norm, as it was when the layer was chosen."""
    finding: str = ""
    """What became of these settings, in plain sentences for the page; it shows them where no test is recorded."""
    tested: RecordedTest | None = None
    """A test of these settings on other questions, which the page tells in its own words."""
    identity: str | None = Field(None, pattern=IDENTITY_PATTERN)
    """The identity of the model that the settings were chosen for, if it was recorded."""

    @classmethod
    def of(
        cls, model: PreTrainedModel, n_layers: int, *, identity: str | None = None, known: Path | None = None
    ) -> "Preset":
        """The settings in the model's folder, else those of the project, else `default_layer(n_layers)` and α = 0.1.

        `identity` is the model's, if it is known; without it, a preset that records one is compared with the weights
        alone. `known` is the folder of what the project knows about a model of the same name; it counts for the model
        that it was made with alone, and not for other weights that are called the same. Raises `PresetError` if a file
        is there but holds no usable settings, or if the one in the model's folder is of another model.
        """
        file = Path(model.name_or_path or "", PRESET_FILE)
        if not model.name_or_path or not file.exists():
            own = cls(layer=default_layer(n_layers))
            if known is None or not (known / PRESET_FILE).is_file():
                return own
            preset = cls._read(known / PRESET_FILE)
            return preset if identity is not None and preset.identity == identity else own
        preset = cls._read(file, n_layers)
        if preset.identity is not None:
            weights = (identity or weights_identity(model)).partition("-")[0]
            if weights != preset.identity.partition("-")[0]:
                raise _other_model(file, "its weights are not those that lie beside it now")
            if identity and identity != preset.identity:
                raise _other_model(file, "its tokenizer or chat template is not the one that lies beside it now")
        return preset

    @classmethod
    def _read(cls, file: Path, n_layers: int = MOST_LAYERS) -> "Preset":
        try:
            preset = cls.model_validate_json(file.read_text(encoding="utf-8"))
            check_layer(preset.layer, n_layers)
        except OSError as error:
            raise PresetError(f"{file} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise PresetError(f"{file} is not UTF-8 text.") from error
        except ValidationError as error:
            raise PresetError(
                f"{file} must hold a layer from 1 to {n_layers - 1} and may hold an alpha from 0 to 1 and "
                f"early_norm: {first_mistake(error).text}."
            ) from error
        except ValueError as error:
            raise PresetError(f"{file} must hold a layer from 1 to {n_layers - 1}: {error}") from error
        return preset


def _other_model(file: Path, what: str) -> PresetError:
    return PresetError(f"{file} was chosen for another model ({what}); remove it and choose again.")
