"""A file is written whole or not at all, and what cannot be written is known before."""

import os
from pathlib import Path

import pytest

from dola_core.files import unwritable_reason, write_atomically


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
