"""A program ends at a signal with its status and what it must do last, whatever its threads are at."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.server import ROOT

SOON = 5
"""Seconds, on a slow machine; the steps of these programs that would last take longer."""
BEFORE = """
import hashlib, os, signal, sys, threading, time
from app.server.lifetime.ending import Ending

def inside_a_library():
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

ending = Ending()
ending.watch()
ending.do_last(lambda: print("cleared"))
"""
AT_WORK = {
    "waiting": "time.sleep(100)",
    "the main thread is inside a library": "inside_a_library()",
    "another thread is, and does not end by itself": "threading.Thread(target=inside_a_library).start()",
    "the end of the interpreter waits": "import atexit; atexit.register(time.sleep, 100)",
    "a step fails": "ending.do_last(lambda: 1 / 0); time.sleep(100)",
}
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 0, signal.SIGHUP: 129}


@contextmanager
def program(body: str, **how) -> Iterator[subprocess.Popen[str]]:
    """A program that has said that it is ready, and does what `body` says."""
    code = f'{BEFORE}\nprint("ready", flush=True)\n{body}\n'
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=pipe, stderr=pipe, text=True, **how)
    try:
        assert process.stdout.readline() == "ready\n", process.communicate()
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.mark.parametrize("signum", STATUS)
@pytest.mark.parametrize("work", AT_WORK)
def test_a_signal_ends_it_with_its_status_after_the_last_steps(work, signum):
    with program(AT_WORK[work]) as process:
        process.send_signal(signum)
        assert process.wait(timeout=SOON) == STATUS[signum]
        assert (process.stdout.read(), process.stderr.read()) == ("cleared\n", "")


@pytest.mark.parametrize("work", ["ending.do_last(lambda: time.sleep(100))", "ending.do_last(inside_a_library)"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_step_that_lasts_is_not_waited_for(work, times):
    with program(f"{work}; time.sleep(100)") as process:
        for _ in range(times):
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SOON) == 0


def test_an_output_that_nobody_reads_does_not_hold_it_up():
    with program("os.set_blocking(1, True)\nwhile True: print('x' * 4096)") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=SOON) == 130


@pytest.mark.parametrize(("body", "status"), [("pass", 0), ("sys.exit(3)", 3), ("1 / 0", 1)])
def test_the_last_steps_are_done_at_any_other_end_too(body, status):
    with program(body) as process:
        assert process.wait(timeout=SOON) == status
        assert process.stdout.read() == "cleared\n"


@pytest.mark.parametrize("from_thread", [False, True])
def test_a_fork_takes_signals_for_itself_and_clears_nothing_up(from_thread):
    fork = """
def fork():
    child = os.fork()
    if child == 0:
        os.close(1)
        os.close(2)
        time.sleep(100)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    start = "worker = threading.Thread(target=fork); worker.start(); worker.join()" if from_thread else "fork()"
    with program(fork + start) as process:
        assert process.wait(timeout=SOON) == 0
        assert process.stdout.read() == "-15\ncleared\n"


def test_other_signals_are_left_to_others():
    with program("signal.signal(signal.SIGUSR1, lambda *_: print('heard', flush=True)); print(1, flush=True)"
                 "\nwhile True: time.sleep(0.1)") as process:  # fmt: skip
        process.stdout.readline()
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == "heard\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SOON) == 0


def test_a_hang_up_that_is_ignored_from_outside_stays_so():
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for a job in the background of a script

    with program("sys.stdin.read(1); print('goes on', flush=True); time.sleep(100)", preexec_fn=ignore,
                 stdin=subprocess.PIPE) as process:  # fmt: skip
        process.send_signal(signal.SIGHUP)
        process.stdin.write("x")
        process.stdin.flush()
        assert process.stdout.readline() == "goes on\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=SOON) == 130
