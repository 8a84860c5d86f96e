"""What happens before anything large is imported, and that it happens to the program alone."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest
from gradio.tunneling import Tunnel

from app.server.lifetime.ending import STATUS, Ending
from app.server.lifetime.starting import prepare
from app.server.lifetime.tunnels import close_tunnels
from app.settings import Settings
from tests.server import ROOT, free_port, load_module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder for temporary files."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    return tmp_path


def test_temporary_files_lie_in_a_folder_that_goes_at_the_end(folder):
    ending = Ending()
    prepare(ending, Settings(port=free_port()))
    assert os.environ["GRADIO_TEMP_DIR"].startswith(str(folder))
    assert tempfile.mkdtemp().startswith(str(folder))
    ending.clear_up()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("host", "name"), [("192.0.2.1", "."), ("127.0.0.1", "missing")])
def test_what_will_not_do_ends_in_one_sentence(folder, monkeypatch, capsys, host, name):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder / name))
    with pytest.raises(SystemExit) as stop:
        prepare(Ending(), Settings(host=host, port=free_port()))
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n"), printed.err.startswith("app.py: ")) == ("", 1, True)
    assert list(folder.iterdir()) == []


def test_a_program_that_imports_the_page_keeps_its_signals_and_folders():
    def kept() -> tuple:
        return [signal.getsignal(number) for number in STATUS], os.environ.get("GRADIO_TEMP_DIR"), tempfile.gettempdir()

    before = kept()
    load_module(ROOT / "app.py", "imported_page")
    assert kept() == before


def test_public_links_end_with_the_page(monkeypatch):
    started, not_started = (Tunnel("", 0, "", 0, "", None) for _ in range(2))
    assert started.proc is None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as started.proc:
        monkeypatch.setattr("app.server.lifetime.tunnels.CURRENT_TUNNELS", [not_started, started])
        close_tunnels()
        assert started.proc.wait(timeout=5) == -signal.SIGTERM
