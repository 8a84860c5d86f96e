"""Start the page as a user does, in a process of its own, wait for its address, and stop it in the end."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import psutil

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = r"Running on local URL:\s+(http://[\w.:]+)"
"""The line in which Gradio prints where the page is served."""


FAULT = re.compile(r"Traceback|\(\w+ at [\w.-]+:\d+\)")
"""What the log holds where something failed that nobody has seen to: a served page tells its kind and place alone."""


@dataclass
class Server:
    """A page that is served by another process."""

    process: subprocess.Popen[str]
    url: str = ""
    """Its address, with a slash at the end."""
    log: list[str] = field(default_factory=list)
    """The lines that it has printed so far."""

    @property
    def faults(self) -> list[str]:
        """The lines about what failed."""
        return faults(self.log)

    def read(self, until: str | None = None) -> None:
        """Copy what it prints to `log`, up to the line that matches `until`, or to its end."""
        for line in self.process.stdout:
            self.log.append(line)
            if until and (match := re.search(until, line)):
                self.url = f"{match[1].rstrip('/')}/"
                return


def faults(log: Iterable[str]) -> list[str]:
    """The lines of a log about what failed that nobody has seen to."""
    return [line for line in log if FAULT.search(line)]


@contextmanager
def start(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Run a command that serves the page, yield it once it has printed its address, and end it."""
    process = subprocess.Popen(
        [*map(str, command)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process)
    reader = threading.Thread(target=server.read)
    try:
        server.read(until=ADDRESS)
        assert server.url, "".join(server.log)
        reader.start()  # a pipe that nobody reads fills up, and then the server waits
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)
        if reader.is_alive():
            reader.join()
        process.stdout.close()


@contextmanager
def serve(
    *options: str, script: tuple[str, ...] = ("app.py",), python: str = sys.executable, **environment: str
) -> Iterator[Server]:
    """Serve the page of this checkout on the CPU in float32, with one thread of PyTorch, on Atlas-30L by default.

    `script` is the file that serves it, with arguments that come before `options`.
    """
    command = [python, *script, "--device", "cpu", "--dtype", "float32", *options]
    quiet = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
    quiet |= {"DOLA_MODEL": "atlas-30l"}
    with start(command, ROOT, os.environ | quiet | environment) as server:
        yield server


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def load_module(path: Path, name: str) -> ModuleType:
    """Run a Python file as the module `name`, apart from the module of that file that others may have imported."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle and dataclasses look classes up there
    spec.loader.exec_module(module)
    return module


def ray_processes(name: str) -> list[psutil.Process]:
    """The processes of Ray's actors whose title holds a name, of those that this process has begun.

    Other programs on this machine may have some of their own.
    """
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # one that is ending
            if any("ray::" in part and name in part for part in process.cmdline()):
                found.append(process)
    return found
