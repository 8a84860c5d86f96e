"""A served page ends at a signal with runs under way, and leaves no file, whichever way it ended.

How often each is tried is set by DOLA_DUET_ENDINGS, and with which model by DOLA_DUET_ENDINGS_MODEL.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from time import monotonic

import httpx
import psutil
import pytest

from tests.hosting.test_fair import AT_LENGTH, Stranger
from tests.server import ROOT, Server, free_port, serve, start

TIMES = int(os.environ.get("DOLA_DUET_ENDINGS", "2"))
MODEL = os.environ.get("DOLA_DUET_ENDINGS_MODEL", "atlas-30l")
SOON = 5
"""Seconds, on a slow machine."""
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 0}
RUNS = 4
IN_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A command that makes the program behind it the first of all, as in a container."""
CAN_ISOLATE = (
    bool(shutil.which(IN_NAMESPACE[0]))
    and not subprocess.run([*IN_NAMESPACE, "true"], stderr=subprocess.DEVNULL).returncode
)
UPLOAD = {"files": ("questions.csv", b"question,answer\nWhat?,That\n", "text/csv")}


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def served_in(temporary: Path) -> dict[str, str]:
    """The environment of a page that keeps its temporary files there."""
    return {"TMPDIR": str(temporary), "GRADIO_TEMP_DIR": "", "DOLA_MODEL": MODEL}


@contextmanager
def busy(server: Server) -> Iterator[None]:
    """Runs are under way, others wait, and a file was uploaded."""
    under_way, listeners = threading.Event(), []

    def listen(address: str) -> None:
        with suppress(httpx.HTTPError), Stranger(server.url, address) as stranger:
            for event in stranger.events(stranger.ask(AT_LENGTH)):
                if event.get("type") == "step":
                    under_way.set()

    for number in range(RUNS):
        listeners.append(threading.Thread(target=listen, args=(f"127.0.0.{number + 2}",)))
        listeners[-1].start()
    try:
        assert httpx.post(f"{server.url}gradio_api/upload", files=UPLOAD, timeout=60).status_code == 200
        assert under_way.wait(60)
        yield
    finally:
        server.process.kill()  # if it has not ended
        for listener in listeners:
            listener.join()


def names(server: Server, temporary: Path) -> list[str]:
    """What there is in the folder for temporary files; the page's own folder holds the uploaded file."""
    assert len(list(temporary.rglob("questions.csv"))) == 1, server.log
    return [path.name for path in temporary.iterdir()]


@pytest.mark.parametrize(("signum", "_time"), [*product(STATUS, range(TIMES))])
def test_a_signal_ends_it_with_runs_under_way_and_no_file_is_left(temporary, record_property, signum, _time):
    with serve("--max-rows", "4", **served_in(temporary)) as server, busy(server):
        assert len(names(server, temporary)) == 1
        begun = monotonic()
        server.process.send_signal(signum)
        assert server.process.wait(timeout=SOON) == STATUS[signum], server.log
        record_property("seconds", monotonic() - begun)
        assert list(temporary.iterdir()) == []
    assert server.faults == []


@pytest.mark.skipif(not CAN_ISOLATE, reason="needs the right to make a namespace of processes")
@pytest.mark.parametrize("signum", STATUS)
def test_so_it_does_as_the_first_process_of_a_container(temporary, signum):
    command = [*IN_NAMESPACE, sys.executable, "app.py", "--device", "cpu", "--dtype", "float32"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"} | served_in(temporary)
    with start(command, ROOT, environment) as server, busy(server):
        (page,) = psutil.Process(server.process.pid).children()
        page.send_signal(signum)
        assert server.process.wait(timeout=SOON) == STATUS[signum], server.log
        assert list(temporary.iterdir()) == []


def test_what_a_killed_page_left_goes_with_the_next_start_and_a_living_one_keeps_its_own(temporary):
    environment = served_in(temporary)
    with serve(**environment) as server, busy(server):
        (left,) = names(server, temporary)
        server.process.kill()
        server.process.wait()
    assert (temporary / left).is_dir()
    with serve(**environment):
        (living,) = (path.name for path in temporary.iterdir())
        assert living != left
        with serve(**environment):
            assert len(list(temporary.iterdir())) == 2
        assert [path.name for path in temporary.iterdir()] == [living]
    assert list(temporary.iterdir()) == []


def said(*options: str, **environment: str) -> str:
    """The one sentence with which the page does not start, before PyTorch is imported."""
    code = """import runpy, sys
try: runpy.run_path("app.py", run_name="__main__")
finally: assert not {"torch", "gradio"} & set(sys.modules), "imported"
"""
    command = [sys.executable, "-c", code, *options]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
    return done.stderr


def test_an_address_or_a_folder_that_will_not_do_is_one_sentence_at_once(temporary):
    with serve("--port", str(port := free_port()), **served_in(temporary)):
        assert f"Port {port} is taken" in said("--port", str(port))
        assert f"Port {port} is taken" in said(GRADIO_SERVER_PORT=str(port), GRADIO_NUM_PORTS="1")
    assert "is no address of this machine" in said("--host", "192.0.2.1")
    assert "cannot be found" in said("--host", "nowhere.invalid")
    assert "GRADIO_SERVER_PORT is" in said(GRADIO_SERVER_PORT="99999")
    for bad in (temporary / "missing", ROOT / "app.py"):
        assert "No temporary file can be written" in said(GRADIO_TEMP_DIR=str(bad))
        assert "No temporary file can be written" in said(GRADIO_TEMP_DIR="", TMPDIR=str(bad))


def test_a_program_that_ends_by_an_error_leaves_no_file(temporary):
    environment: Mapping[str, str] = os.environ | served_in(temporary)
    command = [sys.executable, "app.py", "--model", "tests"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert list(temporary.iterdir()) == []
