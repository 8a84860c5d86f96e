"""The settings of DoLa-static recorded for a model: `dola_static.json` beside its weights, with j*, α and norm."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import PreTrainedModel

from dola_core.contrast import check_layer, default_layer
from dola_core.errors import first_mistake

PRESET_FILE = "dola_static.json"
ALPHA = 0.1
"""The paper's plausibility threshold, used if none is recorded."""


class Preset(BaseModel):
    """Recorded settings; the page and the library start from them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layer: int = Field(ge=1, strict=True)
    alpha: float = Field(ALPHA, ge=0.0, le=1.0, strict=True)
    early_norm: bool = Field(True, strict=True)
    """Whether layer j* is read through the final norm, as it was when the layer was chosen."""
    finding: str = ""
    """What a test of these settings showed, in plain sentences for the page."""

    @classmethod
    def of(cls, model: PreTrainedModel, n_layers: int) -> "Preset":
        """The settings in the model's folder, else `default_layer(n_layers)` and α = 0.1.

        Raises `ValueError` if the file is there but holds no usable settings.
        """
        file = Path(model.name_or_path or "", PRESET_FILE)
        if not model.name_or_path or not file.is_file():
            return cls(layer=default_layer(n_layers))
        try:
            preset = cls.model_validate_json(file.read_text(encoding="utf-8"))
            check_layer(preset.layer, n_layers)
        except ValidationError as error:
            raise ValueError(
                f"{file} must hold a layer from 1 to {n_layers - 1} and may hold an alpha from 0 to 1 and "
                f"early_norm: {first_mistake(error).text}"
            ) from error
        except ValueError as error:
            raise ValueError(f"{file} must hold a layer from 1 to {n_layers - 1}: {error}") from error
        return preset
