"""A file is written whole or not at all, and what cannot be written is known before."""

import errno
import os
import pickle
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from dola_core.errors import FileWriteError, FolderInUseError
from dola_core.files.writing import folder_in_use, unwritable_reason, write_atomically, write_together


@contextmanager
def largest_file(size: int):
    """The system lets no file grow beyond `size` bytes, and says so as it does when the disk is full."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("kind", [str, Path])
def test_a_new_file_and_an_old_one_get_what_is_written(tmp_path, kind):
    file = tmp_path / "out"
    for content in (b"first", b"second\n\xff"):
        write_atomically(kind(file), lambda out, content=content: out.write(content))
        assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_what_fails_half_way_leaves_the_old_content_and_nothing_beside_it(tmp_path, error):
    def fail(out):
        out.write(b"half")
        raise error

    file = tmp_path / "out"
    file.write_bytes(b"old")
    with pytest.raises(error):
        write_atomically(file, fail)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("size", [1, 100, 5_000, 100_000])
def test_what_the_disk_does_not_hold_leaves_the_old_content_and_is_said_with_file_and_reason(tmp_path, size):
    """Whether the system refuses at a write or only when the buffer is emptied."""
    file = tmp_path / "out"
    file.write_bytes(b"old")
    with largest_file(size // 2), pytest.raises(FileWriteError) as refused:
        write_atomically(file, lambda out: out.write(b"n" * size))
    assert str(refused.value) == f"{file} cannot be written: File too large."
    assert refused.value.errno == errno.EFBIG
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("step", ["write", "os.fsync", "Path.replace", "Path.open"])
def test_a_disk_that_is_full_at_any_step_is_said_with_file_and_reason(tmp_path, monkeypatch, step):
    file = tmp_path / "out"
    file.write_bytes(b"old")
    owner = {"os.fsync": os, "Path.replace": Path, "Path.open": Path}.get(step)
    write = full if step == "write" else lambda out: out.write(b"new")
    with monkeypatch.context() as patch:
        if owner:
            patch.setattr(owner, step.partition(".")[2], full)
        with pytest.raises(FileWriteError) as refused:
            write_atomically(file, write)
    assert str(refused.value) == f"{file} cannot be written: No space left on device."
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_files_that_are_written_together_are_all_new_or_all_old(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    write_together({one: lambda out: out.write(b"1"), other: lambda out: out.write(b"1")})
    with pytest.raises(FileWriteError, match="other cannot be written"):
        write_together({one: lambda out: out.write(b"2"), other: full})
    assert (one.read_bytes(), other.read_bytes()) == (b"1", b"1")
    write_together({one: lambda out: out.write(b"3"), other: lambda out: out.write(b"3")})
    assert (one.read_bytes(), other.read_bytes()) == (b"3", b"3")
    assert {*tmp_path.iterdir()} == {one, other}


def test_a_name_as_long_as_the_system_takes_can_be_written(tmp_path):
    file = tmp_path / ("ä" * 127)
    write_atomically(file, lambda out: out.write(b"content"))
    assert file.read_bytes() == b"content"


HOLD = """
import sys
from dola_core.files.writing import folder_in_use
with folder_in_use(sys.argv[1]):
    print(flush=True)
    input()
"""


@contextmanager
def other_process(folder: Path):
    """A process that has the folder."""
    holder = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_a_folder_in_use_is_refused_to_others_and_free_again_afterwards(tmp_path):
    folder = tmp_path / "new" / "folder"
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with folder_in_use(folder):
        for name in (folder, str(folder), tmp_path / "link" / "folder"):
            with pytest.raises(FolderInUseError, match=f"is running in the folder {name};"), folder_in_use(name):
                pass
        with folder_in_use(tmp_path / "another"):
            pass
    assert list(folder.iterdir()) == []
    with folder_in_use(folder):
        pass


def test_a_folder_in_use_by_another_process_is_refused_until_that_is_killed(tmp_path):
    with other_process(tmp_path) as process:
        with pytest.raises(FolderInUseError), folder_in_use(tmp_path):
            pass
        process.kill()
        process.wait()
        with folder_in_use(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_on_a_file_that_its_last_owner_removed_is_not_taken_for_one(tmp_path, monkeypatch):
    """The file is opened, then its owner removes it, then somebody else makes a new one and locks that."""
    opened, other = os.open, folder_in_use(tmp_path)

    def open_then_lose(*arguments):
        descriptor = opened(*arguments)
        monkeypatch.setattr(os, "open", opened)
        os.unlink(arguments[0])
        other.__enter__()
        return descriptor

    monkeypatch.setattr(os, "open", open_then_lose)
    with pytest.raises(FolderInUseError), folder_in_use(tmp_path):
        pass
    other.__exit__(None, None, None)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(FileWriteError, match=f"^{folder} cannot be written: "), folder_in_use(folder):
            pass


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("dola_core.files.writing.fcntl.flock", none)
    with folder_in_use(tmp_path), folder_in_use(tmp_path):
        pass


def test_a_link_goes_on_pointing_to_its_target(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", lambda out: out.write(b"new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        write_atomically(tmp_path / "pipe", lambda out: out.write(b"content"))
        assert os.read(reader, 100) == b"content"
        assert (tmp_path / "pipe").is_fifo()
    finally:
        os.close(reader)


def test_the_reason_why_a_file_cannot_be_written(tmp_path, monkeypatch):
    assert unwritable_reason(tmp_path / "new") is None
    (tmp_path / "old").touch()
    assert unwritable_reason(str(tmp_path / "old")) is None
    assert unwritable_reason(tmp_path) == "it is a folder"
    assert unwritable_reason(tmp_path / "no" / "such") == f"there is no folder {tmp_path / 'no'}"
    assert unwritable_reason(tmp_path / ("x" * 300)) == "File name too long"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert unwritable_reason(tmp_path / "old") == "permission denied"
