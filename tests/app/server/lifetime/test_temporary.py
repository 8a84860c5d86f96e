"""Each process has a folder for temporary files; a start removes those of the dead and no others."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from app.server.lifetime import temporary
from app.server.lifetime.errors import StartError
from app.server.lifetime.temporary import claim_folder, prefix, remove_left
from tests.server import ROOT

HOLD = """
from app.server.lifetime.temporary import claim_folder
folder = claim_folder()
folder.use()
print(folder.path, flush=True)
input()
"""


@pytest.fixture
def parent(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files."""
    for name in temporary.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    return tmp_path


@pytest.fixture
def living(parent):
    """Another process, and its folder."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_folder_is_the_users_alone_and_is_removed_with_all_that_is_in_it(parent):
    folder = claim_folder()
    assert folder.path.parent == parent
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.use()
    (Path(os.environ["GRADIO_TEMP_DIR"]) / "upload").write_text("x")
    with tempfile.TemporaryDirectory() as inside:
        assert folder.path in Path(inside).parents
        assert Path(os.environ["GRADIO_TEMP_DIR"]) not in Path(inside).parents  # Gradio would hand it out
    folder.remove()
    folder.remove()
    assert list(parent.iterdir()) == []


def test_a_folder_goes_also_while_threads_write_into_it(parent, monkeypatch):
    """They do not find it any more, and a folder that Gradio makes anew meanwhile goes as well."""
    folder, rmtree, was_there = claim_folder(), shutil.rmtree, []

    def make_again(path: Path, **how: bool) -> None:
        was_there.append(folder.path.exists())
        rmtree(path, **how)
        if len(was_there) in (1, 2):
            (folder.path / temporary.UPLOADS / "made again").mkdir(parents=True)

    monkeypatch.setattr(shutil, "rmtree", make_again)
    folder.remove()
    assert not was_there[0]
    assert list(parent.iterdir()) == []


def test_a_folder_that_cannot_be_renamed_goes_too(parent, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("a file in it is open")

    folder = claim_folder()
    monkeypatch.setattr(Path, "rename", refuse)
    folder.remove()
    assert list(parent.iterdir()) == []


def test_a_start_leaves_the_living_alone_and_removes_the_dead(parent, living):
    process, theirs = living
    ours = claim_folder()
    remove_left(parent)
    assert theirs.is_dir()
    assert ours.path.is_dir()
    process.kill()
    process.wait()
    remove_left(parent)
    assert list(parent.iterdir()) == [ours.path]


def test_a_start_removes_what_an_ended_removal_or_an_ended_start_left(parent):
    for name in ("abc_1", "abc_2-gone"):
        (parent / f"{prefix()}{name}" / "deep" / "er").mkdir(parents=True)
    remove_left(parent)
    assert list(parent.iterdir()) == []


def test_a_start_touches_nothing_else(parent):
    secret = parent / "secret"
    secret.mkdir()
    (secret / "file").write_text("x")
    (parent / f"{prefix()}link").symlink_to(secret)
    (parent / f"{prefix()}file").write_text("x")
    for name in (
        "dola-duet-tests-x",
        "dola-duet-",
        f"{prefix()}",
        f"{prefix()}A-b",
        "gradio",
        f"dola-duet-{os.getuid()}9-a",
    ):
        (parent / name).mkdir()
    before = sorted(parent.rglob("*"))
    remove_left(parent)
    assert sorted(parent.rglob("*")) == before


def test_a_start_touches_nothing_of_another_user(parent, monkeypatch):
    of_another = parent / f"{prefix()}other"
    of_another.mkdir()
    user, name = os.getuid(), prefix()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    monkeypatch.setattr(temporary, "prefix", lambda: name)
    remove_left(parent)
    assert list(of_another.iterdir()) == []


def test_a_link_in_a_dead_folder_is_removed_and_not_followed(parent, tmp_path_factory):
    kept = tmp_path_factory.mktemp("kept") / "file"
    kept.write_text("x")
    dead = parent / f"{prefix()}dead"
    dead.mkdir()
    (dead / "link").symlink_to(kept.parent)
    remove_left(parent)
    assert kept.exists()
    assert not dead.exists()
    dead.mkdir()
    (dead / temporary.LOCK).symlink_to(kept)
    remove_left(parent)
    assert kept.exists()


def test_starts_at_one_moment_get_a_folder_each(parent):
    pipe, count = subprocess.PIPE, 6
    command = [sys.executable, "-c", HOLD]
    several = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
    folders = [Path(process.stdout.readline().strip()) for process in several]
    assert len(set(folders)) == count
    assert all((folder / temporary.UPLOADS).is_dir() for folder in folders)
    for process in several:
        process.communicate("\n")


def test_a_start_that_saw_a_folder_before_it_was_locked_makes_its_owner_take_another(parent, monkeypatch):
    lock, seen = temporary._lock, []

    def see(path: Path) -> int | None:
        if not seen:
            seen.append(path)
            remove_left(parent)
        return lock(path)

    monkeypatch.setattr(temporary, "_lock", see)
    folder = claim_folder()
    assert folder.path not in seen
    assert list(parent.iterdir()) == [folder.path]


def test_a_lock_on_a_file_that_is_there_no_more_is_none(parent, monkeypatch):
    flock, paths = fcntl.flock, []

    def replace_first(lock: int, how: int) -> None:
        if not paths:
            paths.extend(parent.iterdir())
            (paths[0] / temporary.LOCK).unlink()
            (paths[0] / temporary.LOCK).touch()
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    assert claim_folder().path not in paths


def test_without_locks_a_folder_is_made_and_none_is_removed(parent, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", fail)
    first, second = claim_folder(), claim_folder()
    assert first.path.is_dir()
    first.remove()
    assert list(parent.iterdir()) == [second.path]


@pytest.mark.parametrize("variable", temporary.VARIABLES)
@pytest.mark.parametrize("fault", ["missing", "file", "circle", "long", "proc"])
def test_a_bad_folder_ends_in_one_sentence_that_names_the_variable(parent, monkeypatch, variable, fault):
    (parent / "file").write_text("x")
    (parent / "circle").symlink_to(parent / "circle")
    named = {"long": "x" * 300, "proc": "/proc"}.get(fault, fault)
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    monkeypatch.setenv(variable, str(parent / named))
    with pytest.raises(StartError) as refused:
        claim_folder()
    said = str(refused.value)
    assert said.startswith("No temporary file can be written in ")
    assert said.endswith(f"; set {variable} to a folder in which you can write.")
    assert "\n" not in said


def test_a_system_without_such_a_folder_ends_in_one_sentence(parent, monkeypatch):
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(StartError, match="No temporary file can be written anywhere"):
        claim_folder()


def test_compiled_code_outlives_the_process_where_that_was_asked_for(parent, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # puts it back in the end
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    usual = default_cache_dir()
    folder = claim_folder()
    folder.use()
    assert folder.path in Path(default_cache_dir()).parents
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    monkeypatch.setattr(tempfile, "tempdir", str(Path(usual).parent))
    folder.use(keep_compiled=True)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == usual
    folder.remove()
