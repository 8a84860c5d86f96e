"""Put together a folder to push to the Hugging Face Hub for `custom_generate`: `make custom-generate OUT=folder`.

With it, `model.generate(..., custom_generate="owner/name", trust_remote_code=True)` decodes with DoLa where this
project is not installed. Needs the standard library alone.
"""

import argparse
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
LICENSE = SOURCE.parents[1] / "LICENSE"
CODE = "custom_generate/generate.py"
FILES = {
    CODE: SOURCE / "generate.py",
    "custom_generate/requirements.txt": SOURCE / "requirements.txt",
    "README.md": SOURCE / "README.md",
    "LICENSE": LICENSE,
}
"""{path in the folder: the file that is copied there}"""
OF_GIT = {".git", ".gitattributes"}
"""What a clone of an empty repository of the Hub holds."""


class FolderError(Exception):
    """The folder cannot be put together; the message is the reason."""


def assemble(out: Path) -> None:
    """Write the files into the folder `out`, which is empty, does not exist yet, or holds an earlier version of them.

    Other files beside an earlier version are left alone. Raises `FolderError`.
    """
    if out.exists() and not out.is_dir():
        raise FolderError(f"{out} is a file; name a folder.")
    others = sorted(path.name for path in out.iterdir() if path.name not in OF_GIT) if out.exists() else []
    if others and not _is_ours(out / CODE):
        raise FolderError(f"{out} holds something else ({others[0]}); name a folder that is empty or not there yet.")
    for name, source in FILES.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(source.read_bytes())


def _is_ours(code: Path) -> bool:
    """Whether a file begins as `generate.py` does."""
    first, *_ = FILES[CODE].read_bytes().splitlines()
    return code.is_file() and code.read_bytes().startswith(first)


def main() -> None:
    """Put the folder together, or exit with one sentence."""
    parser = argparse.ArgumentParser(prog="custom-generate", description="Put together a folder for custom_generate.")
    parser.add_argument("out", help="the folder: new, empty, or an earlier version")
    options = parser.parse_args()
    try:
        if not options.out:
            raise FolderError("say where: make custom-generate OUT=folder.")
        assemble(Path(options.out))
    except (FolderError, OSError) as error:
        sys.exit(f"custom-generate: {error}")
    print(f"{options.out} can be pushed: hf upload owner/name {options.out}")


if __name__ == "__main__":
    main()
