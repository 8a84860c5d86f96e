"""Write a file whole or not at all, and find out beforehand whether it can be written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(file: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a binary file beside `file`, then put it in `file`'s place.

    If `write` fails or the process is killed, `file` keeps its old content. A symbolic link keeps its target, which is
    replaced. A pipe or a device cannot be replaced, so it is written to directly.

    Example:
        write_atomically("trace.json", lambda out: out.write(text.encode()))

    Raises `OSError` if the file cannot be written, and whatever `write` raises.
    """
    target = Path(os.path.realpath(file))
    if target.exists() and not target.is_file():
        with target.open("wb") as out:
            write(out)
        return
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as out:
            write(out)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def unwritable_reason(file: str | os.PathLike[str]) -> str | None:
    """Why `file` cannot be written, as far as that shows before writing, or None.

    For a check before long work. The disk may still be full afterwards, so `write_atomically` may fail all the same.
    """
    file = Path(file)
    try:
        if file.is_dir():
            return "it is a folder"
        if not file.parent.is_dir():
            return f"there is no folder {file.parent}"
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            return "permission denied"
    except OSError as error:
        return error.strerror
    return None
