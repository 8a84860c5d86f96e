"""Converted models in the user's cache: whole folders and nothing else, whatever happens while they are made."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from dola_core.errors import FileWriteError
from dola_core.models.sources import converted, smollm2
from dola_core.models.sources.converted import LIST, convert_once, converted_from

SHA = "5a" * 32
CONTENT = {"weights": b"w" * 5000, "words.json": b"{}"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and no memory of files that were read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(converted, "cache_folder", lambda: tmp_path / "cache" / "dola-duet" / "models")
    converted._sha256_in.cache_clear()
    return converted.cache_folder()


def write(folder: Path) -> None:
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)


def never(_folder: Path) -> None:
    raise AssertionError("It was there already.")


def only_whole_folders(cache: Path) -> bool:
    """Whether the cache holds folders alone, each as it was converted."""
    return all(entry.is_dir() and converted_from(entry) is not None for entry in cache.iterdir())


def test_a_file_is_converted_once(cache):
    folder = convert_once("tiny", SHA, write)
    assert folder == cache / "tiny"
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    assert sorted(file.name for file in folder.iterdir()) == sorted([LIST, *CONTENT])
    assert convert_once("tiny", SHA, never) == folder
    assert converted_from(folder) == SHA
    assert only_whole_folders(cache)


def flip(folder: Path) -> None:
    content = bytearray((folder / "weights").read_bytes())
    content[7] ^= 1
    (folder / "weights").write_bytes(content)


def other_version(folder: Path) -> None:
    listed = json.loads((folder / LIST).read_text())
    (folder / LIST).write_text(json.dumps(listed | {"version": converted.VERSION + 1}))


DAMAGES = {
    "a flipped byte": flip,
    "a missing file": lambda folder: (folder / "weights").unlink(),
    "a shorter file": lambda folder: (folder / "weights").write_bytes(b"w"),
    "another version": other_version,
    "no list": lambda folder: (folder / LIST).unlink(),
    "a list that is no list": lambda folder: (folder / LIST).write_text("[1]"),
    "a file that is a folder": lambda folder: ((folder / "weights").unlink(), (folder / "weights").mkdir()),
    "a file in the folder's place": lambda folder: (
        [file.unlink() for file in folder.iterdir()], folder.rmdir(), folder.write_bytes(b"")
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_has_changed_is_converted_again(damage, cache):
    folder = convert_once("tiny", SHA, write)
    damage(folder)
    assert converted_from(folder) is None
    assert convert_once("tiny", SHA, write) == folder
    assert converted_from(folder) == SHA
    assert only_whole_folders(cache)


def test_what_was_made_of_another_file_is_converted_again(cache):
    convert_once("tiny", "00" * 32, write)
    folder = convert_once("tiny", SHA, write)
    assert converted_from(folder) == SHA
    assert [entry.name for entry in cache.iterdir()] == ["tiny"]


WRITER = """
import sys
from pathlib import Path
from dola_core.models.sources import converted

converted.cache_folder = lambda: Path(sys.argv[1])

def write(folder):
    (folder / "weights").write_bytes(b"w" * 5000)
    print("writing", flush=True)
    sys.stdin.readline()
    (folder / "words.json").write_bytes(b"{}")

print(converted.convert_once("tiny", sys.argv[2], write))
"""


def writer(cache: Path) -> subprocess.Popen[str]:
    """A process that converts, and waits for a line in the middle of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(cache), SHA],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_two_processes_convert_at_once(cache):
    processes, kept = [writer(cache), writer(cache)], set()
    for process in processes:
        rest, _ = process.communicate("go on\n")
        assert (process.returncode, rest) == (0, f"{cache / 'tiny'}\n")
        kept.add((cache / "tiny" / "weights").stat().st_ino)
    assert len(kept) == 1  # somebody may be reading what the first has put there
    assert convert_once("tiny", SHA, never) == cache / "tiny"
    assert only_whole_folders(cache)


def test_one_process_leaves_what_another_is_writing(cache):
    process = writer(cache)
    convert_once("other", SHA, write)
    rest, _ = process.communicate("go on\n")
    assert (process.returncode, rest) == (0, f"{cache / 'tiny'}\n")
    assert sorted(entry.name for entry in cache.iterdir()) == ["other", "tiny"]
    assert only_whole_folders(cache)


def test_a_killed_process_leaves_nothing_that_looks_whole(cache):
    process = writer(cache)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (cache / "tiny").exists()
    assert list(cache.iterdir())
    convert_once("tiny", SHA, write)
    assert [entry.name for entry in cache.iterdir()] == ["tiny"]
    assert only_whole_folders(cache)


def test_a_full_disk_is_said_and_nothing_is_left(cache):
    def fill(folder: Path) -> None:
        write(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(FileWriteError, match="tiny cannot be written: No space left on device") as refused:
        convert_once("tiny", SHA, fill)
    assert refused.value.errno == errno.ENOSPC
    assert list(cache.iterdir()) == []


def test_whatever_else_goes_wrong_passes_and_nothing_is_left(cache):
    def fail(folder: Path) -> None:
        write(folder)
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        convert_once("tiny", SHA, fail)
    assert list(cache.iterdir()) == []


def test_a_cache_that_is_a_file_is_said(cache):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"")
    with pytest.raises(FileWriteError, match="tiny cannot be written: "):
        convert_once("tiny", SHA, write)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
def test_safetensors_says_in_its_own_way_that_the_disk_is_full(error, cache, monkeypatch, gguf_file):
    def full(*_args, **_named):
        raise error

    monkeypatch.setattr(smollm2, "plain_copy", lambda model: type("Model", (), {"save_pretrained": full})())
    with pytest.raises(FileWriteError, match=r"cannot be written: .*No space left on device"):
        smollm2.converted_folder(gguf_file)
    assert list(cache.iterdir()) == []
