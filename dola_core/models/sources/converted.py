"""Keep what was made of a GGUF file, so that the next start takes a second and not half a minute.

A model's folder in the user's cache is written beside its place and renamed, with a list of its files and their hashes.
So two processes may convert at once, and one that is killed leaves nothing that looks whole.
"""

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path

import platformdirs

from dola_core.errors import FileWriteError, FolderInUseError
from dola_core.files.writing import folder_in_use

LIST = "converted.json"
"""The file in a converted folder that names its origin and its files."""
VERSION = 1
"""Counts changes of how files are converted; a folder of another version is made again."""
BLOCK = 1 << 24
"""Bytes of a file that are read at a time."""
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.ENOTDIR)
"""What systems say when a folder cannot be renamed because something is there already."""


def cache_folder() -> Path:
    """The folder for converted models in the user's cache."""
    return Path(platformdirs.user_cache_path("dola-duet", appauthor=False)) / "models"


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def converted_from(folder: Path) -> str | None:
    """The SHA-256 of the file that a folder was converted from; None for a folder that was not, or has changed since.

    Reads all files in the folder, some 2 GB a second, unless this process has read them as they are.
    """
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
        if listed["version"] != VERSION:
            return None
        for name, about in listed["files"].items():
            found = (folder / name).stat()
            state = found.st_size, found.st_mtime_ns, found.st_ctime_ns
            if found.st_size != about["size"] or _sha256_in(folder / name, state) != about["sha256"]:
                return None
        return str(listed["source_sha256"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@lru_cache(maxsize=64)
def _sha256_in(file: Path, _state: tuple[int, int, int]) -> str:
    """The SHA-256 of a file in the state it has now."""
    return sha256_of(file)


def convert_once(name: str, source_sha256: str, write: Callable[[Path], None]) -> Path:
    """The folder `name` in the cache, whole; `write` fills it if it is not there or is damaged.

    Raises `FileWriteError` if nothing can be kept there, and whatever else `write` raises.
    """
    folder = cache_folder() / name
    if converted_from(folder) == source_sha256:
        return folder
    part = folder.with_name(f"{name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        with ExitStack() as stack:
            stack.callback(_remove, part)
            with folder_in_use(part):
                # Not the part itself: its lock is an open file, which would move along, and cannot on Windows.
                made = part / name
                made.mkdir()
                write(made)
                _list_files(made, source_sha256)
                _put_in_place(made, folder, source_sha256)
    except OSError as error:
        if isinstance(error, FileWriteError):
            raise
        raise FileWriteError(error.errno, error.strerror or str(error), str(folder)) from error
    return folder


def _list_files(folder: Path, source_sha256: str) -> None:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    listed = {file.name: {"size": file.stat().st_size, "sha256": sha256_of(file)} for file in files}
    document = {"version": VERSION, "source_sha256": source_sha256, "files": listed}
    (folder / LIST).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _put_in_place(made: Path, folder: Path, source_sha256: str) -> None:
    """Rename `made` to `folder`, unless another process has put a whole one there meanwhile."""
    for _ in range(3):
        try:
            made.rename(folder)
            return
        except OSError as error:
            if error.errno not in TAKEN or not folder.exists():
                raise
        if converted_from(folder) == source_sha256:
            return
        # What is there is damaged. It is renamed first, so that nobody finds it half removed.
        damaged = made.with_name(f"{made.name}.damaged")
        with suppress(OSError):  # another process may have been faster
            folder.rename(damaged)
        _remove(damaged)
    raise FileWriteError(errno.EBUSY, os.strerror(errno.EBUSY), str(folder))


def _remove_abandoned(cache: Path) -> None:
    """Remove what killed processes have left."""
    for part in cache.glob("*.part"):
        with suppress(FolderInUseError, OSError), folder_in_use(part):
            _remove(part)


def _remove(path: Path) -> None:
    """Remove a folder or a file as far as it can be removed."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()
