"""Understand a model's name: what `--model` and `load_model` take, and which files stand behind it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from dola_core.errors import FileWriteError, LoadError
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.models.checkpoint import load_whole, weight_files
from dola_core.models.sources import smollm2
from dola_core.models.sources.adapters import (
    adapter_files,
    adapter_on_hub,
    base_model,
    check_kind,
    is_adapter,
    put_on,
)
from dola_core.models.sources.gguf import check_packages, gguf_file, is_gguf, quantisation, read_fields, read_gguf

ATLAS, ATLAS_TITLE = "atlas-30l", "Atlas-30L"
SHORT_NAMES = (ATLAS, smollm2.NAME)
"""Names of models that the project knows. A folder of such a name is given as ./name."""

PLAIN = ("F32", "F16", "BF16")
"""Weights of GGUF files that are not quantised."""


@dataclass(frozen=True)
class ModelSource:
    """Where the files of a model are, once its name was understood."""

    place: str
    """A folder or a name on the Hub, as `transformers` takes it."""
    name: str
    """What files and links call the model."""
    title: str
    """What people call it."""
    note: str = ""
    """How its weights are kept, such as "Q4_1, dequantised"; empty if there is nothing to say."""
    gguf: Path | None = None
    """A GGUF file that is read anew each time."""
    adapter: Path | None = None
    """The folder of an adapter that is put on top."""
    otherwise: str = ""
    """What else to do if it cannot be loaded, as the end of a sentence."""

    @property
    def is_folder(self) -> bool:
        """Whether the files are in a folder here."""
        return Path(self.place).is_dir()

    @property
    def files(self) -> list[Path]:
        """The files that make the model what it is, beside those in `place`."""
        return [*([self.gguf] if self.gguf else []), *(adapter_files(self.adapter) if self.adapter else [])]


def title(name: str) -> str:
    """What people call the model of a name, as far as it shows before it is loaded."""
    return {ATLAS: ATLAS_TITLE, smollm2.NAME: smollm2.TITLE}.get(name, name)


def listed(names: Sequence[str]) -> dict[str, str]:
    """{what a list of models calls each: its name, as it was given}; of a path, the last part alone.

    Raises `LoadError` if two would be called the same.
    """
    places: dict[str, str] = {}
    for name in names:
        path = Path(name).expanduser()
        is_path = name not in SHORT_NAMES and (path.exists() or path.is_absolute())
        short = (path.resolve().stem if is_gguf(name) else path.resolve().name) if is_path else name
        if short in places:
            raise LoadError(f"Two models are called {short}; rename a folder or leave one out.")
        places[short] = name
    return places


def find_source(name: str) -> ModelSource:
    """The model called `name`: a short name, a GGUF file, a folder with a model or an adapter, or a name on the Hub.

    `smollm2` is converted into the user's cache if it is not there. Raises `LoadError`; errors of the Hub pass through.
    """
    if name == ATLAS:
        return ModelSource(str(SHIPPED_MODEL), ATLAS, ATLAS_TITLE)
    if name == smollm2.NAME:
        return _smollm2()
    folder = Path(name).expanduser()
    if is_gguf(name) and not folder.is_dir():
        check_packages()
        file = gguf_file(name)
        kept = quantisation(read_fields(file))
        return ModelSource(str(file.parent), file.stem, file.stem, _dequantised(kept), gguf=file)
    if folder.is_dir():
        if folder.resolve() == SHIPPED_MODEL:
            return find_source(ATLAS)
        if is_adapter(folder):
            return _with_adapter(folder, folder.resolve().name)
        if not (folder / "config.json").is_file():
            raise LoadError(f"The folder {folder} holds no model: it has no config.json.")
        own = folder.resolve().name
        return ModelSource(str(folder), own, own)
    return ModelSource(name, name, name)


def read_config(source: ModelSource) -> PreTrainedConfig:
    """The model's config. Raises whatever `transformers` raises."""
    # An explicit False: left open, transformers asks on the terminal whether to run a repository's code.
    where = {"gguf_file": source.gguf.name} if source.gguf else {}
    return AutoConfig.from_pretrained(source.place, trust_remote_code=False, **where)


def read_source(source: ModelSource, **how: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model, loaded as `how` says, and its tokenizer.

    Raises `LoadError` if a part is missing or does not fit; whatever else `transformers` raises passes through.
    """
    if source.gguf:
        if "quantization_config" in how:
            raise LoadError(f"{source.gguf} is quantised in its own way; leave out quantize, or give a folder.")
        model, tokenizer = read_gguf(source.gguf, **how)
    else:
        config = read_config(source)
        tokenizer = _tokenizer(source)
        if source.is_folder:
            weight_files(Path(source.place), getattr(config, "transformers_weights", None))  # refuses missing parts
        model = load_whole(source.place, config, **how)
    if source.adapter:
        put_on(model, source.adapter)
    return model, tokenizer


def as_adapter(source: ModelSource) -> ModelSource | None:
    """The same name on the Hub understood as that of an adapter; None if it is none."""
    if source.is_folder or source.gguf or source.adapter:
        return None
    folder = adapter_on_hub(source.place)
    return _with_adapter(folder, source.name) if folder else None


def _with_adapter(folder: Path, name: str) -> ModelSource:
    base = base_model(folder)
    check_kind(folder)
    if is_adapter(Path(base).expanduser()):
        raise LoadError(f"The adapter in {folder} is for {base}, which is an adapter itself; merge that one first.")
    source = find_source(base)
    note = f"adapter on {source.title}" + (f", {source.note}" if source.note else "")
    return replace(source, name=name, title=name, note=note, adapter=folder)


def _smollm2() -> ModelSource:
    """SmolLM2 from the installed package, else from the Hub."""
    file = smollm2.packaged_file()
    if file is None:
        return ModelSource(
            smollm2.ON_HUB,
            smollm2.NAME,
            smollm2.TITLE,
            "of the Hugging Face Hub",
            otherwise=f", or install the model: {smollm2.INSTALL}",
        )
    source = ModelSource(str(file.parent), smollm2.NAME, smollm2.TITLE, _dequantised(smollm2.QUANTISATION))
    try:
        return replace(source, place=str(smollm2.converted_folder(file)))
    except FileWriteError:  # its path is left out, since visitors of the page read this
        return replace(source, gguf=file, note=f"{source.note} in memory, as the cache cannot be written")


def _dequantised(kept: str) -> str:
    """What to say about weights that are kept in a GGUF file as `kept` says."""
    if kept in PLAIN:
        return kept
    return f"{kept}, dequantised" if kept else "dequantised"


def _tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    own = source.adapter is not None and (source.adapter / "tokenizer_config.json").is_file()
    place = str(source.adapter) if own else source.place
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as error:
        if Path(place).is_dir() and not isinstance(error, ImportError):
            raise LoadError(f"The folder {place} holds no tokenizer that transformers can load.") from error
        raise
