"""Write files whole or not at all, find out beforehand whether they can be written, and keep a folder for oneself."""

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dola_core.errors import FileWriteError, FolderInUseError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_FILE = ".in-use"
"""The file in a folder that whoever writes there locks. The lock is the system's, so it ends with the process."""
Writer = Callable[[BinaryIO], object]


def write_atomically(file: str | os.PathLike[str], write: Writer) -> None:
    """Let `write` fill a binary file beside `file`, then put it in `file`'s place.

    If `write` fails or the process is killed, `file` keeps its old content. A symbolic link keeps its target, which is
    replaced. A pipe or a device cannot be replaced, so it is written to directly.

    Example:
        write_atomically("trace.json", lambda out: out.write(text.encode()))

    Raises `FileWriteError` if the file cannot be written, and whatever else `write` raises.
    """
    write_together({file: write})


def write_together(writers: Mapping[str | os.PathLike[str], Writer]) -> None:
    """Write several files as `write_atomically` does, and replace none before all are written."""
    with ExitStack() as stack:
        parts = []
        for file, write in writers.items():
            with _naming(file):
                target = Path(os.path.realpath(file))
                if target.exists() and not target.is_file():
                    with target.open("wb") as out:
                        write(out)
                    continue
                part = _part_beside(target)
                stack.callback(part.unlink, missing_ok=True)
                with part.open("wb") as out:
                    write(out)
                    out.flush()
                    os.fsync(out.fileno())  # some disks say only now that they are full
            parts.append((file, part, target))
        for file, part, target in parts:
            with _naming(file):
                part.replace(target)


def _part_beside(target: Path) -> Path:
    """The file that becomes `target`: one of its own for each process and thread that writes the same target."""
    return target.with_name(f"{target.name[:50]}.{os.getpid()}-{threading.get_ident()}.part")


@contextmanager
def _naming(file: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an `OSError` of the body into a `FileWriteError` that names `file`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise FileWriteError(error.errno, reason, os.fspath(file)) from error


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


@contextmanager
def folder_in_use(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Make `folder` if it is not there, and keep it for the body alone.

    Raises `FolderInUseError` if somebody else has it, in this process or another, and `FileWriteError` if nothing can
    be written there. A process that is killed gives its folders back.
    """
    with _naming(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        lock = _locked(Path(folder, LOCK_FILE))
    if lock is None:
        raise FolderInUseError(
            f"Another search is running in the folder {os.fspath(folder)}; wait for its end or choose another folder."
        )
    try:
        yield
    finally:
        # Not on Windows, where an open file cannot be removed. The file does no harm: the lock counts.
        with suppress(OSError):
            os.unlink(Path(folder, LOCK_FILE))
        os.close(lock)


def _locked(file: Path) -> int | None:
    """Descriptor of `file`, made and locked until it is closed, or None if somebody else has it locked."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor):
                os.close(descriptor)
                return None
            # Its last owner may have removed the file since it was opened: then this lock keeps nobody out.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file without waiting; whether that was possible. True where the file system has no locks."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
    return True
