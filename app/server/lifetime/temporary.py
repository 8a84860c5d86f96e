"""One folder for all temporary files of this process, which is removed at its end.

A process that was killed leaves its folder behind, and the next start removes it. A lock on a file in the folder, which
the system lifts whenever a process ends, tells which folders are still in use.
"""

import getpass
import os
import re
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.server.lifetime.errors import StartError

if sys.platform != "win32":
    import fcntl

VARIABLES = ("GRADIO_TEMP_DIR", "TMPDIR", "TEMP", "TMP")
"""Variables that name a folder for temporary files; the first that is set counts."""
LOCK = "lock"
"""The file in a folder that its process has locked."""
UPLOADS, OTHERS = "gradio", "others"
"""Folders in it."""
ATTEMPTS = 5
"""How often is tried what another process, or another thread, can thwart."""


def prefix() -> str:
    """How the names of our folders begin; it names the user, since many share the folder in which they lie."""
    return f"dola-duet-{os.getuid()}-" if hasattr(os, "getuid") else "dola-duet-"


@dataclass(frozen=True)
class TemporaryFolder:
    """A folder of this process. While the process lives, no other start removes it."""

    path: Path
    lock: int | None
    """The open file that is locked; None where there are no locks."""

    def use(self, *, keep_compiled: bool = False) -> None:
        """Let Gradio keep its files here, and Python all other temporary files, PyTorch's compiled code included.

        They lie apart, since Gradio hands out files of its own folder. With `keep_compiled` compiled code stays where
        PyTorch has it by default, so that the next start finds it. Call it before Gradio is imported.
        """
        if keep_compiled:
            _keep_compiled_code()
        os.environ["GRADIO_TEMP_DIR"] = str(self.path / UPLOADS)
        tempfile.tempdir = str(self.path / OTHERS)

    def remove(self) -> None:
        """Remove the folder, also while other threads write into it."""
        gone = self.path.with_name(f"{self.path.name}-gone")  # nobody finds it there to write into it
        for _ in range(ATTEMPTS):
            with suppress(OSError):
                self.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            shutil.rmtree(self.path, ignore_errors=True)  # where it cannot be renamed, as on Windows
            if not gone.exists() and not self.path.exists():
                break
        if self.lock is not None:
            with suppress(OSError):
                os.close(self.lock)


def claim_folder() -> TemporaryFolder:
    """A new folder of this process's own, beside which those of dead processes are removed.

    It lies where the first of `VARIABLES` that is set says, else where the system keeps such files. Raises `StartError`
    if nothing can be written there.
    """
    named = next((name for name in VARIABLES if os.environ.get(name)), None)
    try:
        parent = Path(os.environ[named] if named else tempfile.gettempdir()).resolve()
        remove_left(parent)
        for _ in range(ATTEMPTS):
            path = Path(tempfile.mkdtemp(prefix=prefix(), dir=parent))
            try:
                lock = _lock(path)
            except _TakenError:
                continue  # a start at the same moment saw it without a lock
            for name in (UPLOADS, OTHERS):
                (path / name).mkdir()
            return TemporaryFolder(path, lock)
        raise OSError("other programs remove what is made there")
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        why = getattr(error, "strerror", None) or str(error)
        where = f"in {os.environ[named]}, which {named} names" if named else "anywhere"
        raise StartError(
            f"No temporary file can be written {where} ({why}); set {named or VARIABLES[0]} to a folder in which you "
            "can write."
        ) from error


def remove_left(parent: Path) -> None:
    """Remove the folders in `parent` of processes of this user that have ended.

    Without locks nobody knows which those are, and all are left alone.
    """
    if sys.platform == "win32":
        return
    name = re.compile(re.escape(prefix()) + r"[a-z0-9_]+(?:-gone)?")
    found: list[Path] = []
    with suppress(OSError):  # a folder that cannot be listed
        found = [path for path in parent.iterdir() if name.fullmatch(path.name)]
    for path in found:
        with suppress(OSError, _TakenError):
            lock = _lock(path)
            if lock is not None:
                TemporaryFolder(path, lock).remove()


class _TakenError(Exception):
    """Another process has locked the folder, or removes it."""


def _lock(path: Path) -> int | None:
    """Lock a folder of this user until the returned file is closed; None where that cannot be done.

    Raises `_TakenError` if another process uses it, and `OSError` if it is no folder, or somebody else's.
    """
    if sys.platform == "win32":
        return None
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise _TakenError from None
    try:
        if os.fstat(folder).st_uid != os.getuid():
            raise PermissionError(f"{path} is another user's")
        lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    except FileNotFoundError:  # it was removed in the meantime
        raise _TakenError from None
    finally:
        os.close(folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = os.path.samestat(os.fstat(lock), os.stat(path / LOCK))
    except OSError as error:
        os.close(lock)
        if isinstance(error, (BlockingIOError, FileNotFoundError)):
            raise _TakenError from None
        return None  # a file system without locks
    if not is_there:
        os.close(lock)
        raise _TakenError
    return lock


def _keep_compiled_code() -> None:
    """Name the folder of PyTorch's cache, which it would otherwise derive from that of temporary files."""
    with suppress(KeyError, ModuleNotFoundError, OSError):  # a user without a name
        name = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
        folder = str(Path(tempfile.gettempdir()) / f"torchinductor_{name}")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", folder)
