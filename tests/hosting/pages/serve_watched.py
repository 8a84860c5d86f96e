"""Serve the page and report what its process holds: `python tests/hosting/pages/serve_watched.py [options of app.py]`.

At the signal SIGUSR1 it prints one line of JSON with counts of the hooks on the model, the runs in the queue, the
sessions, and what else Gradio keeps. At SIGUSR2 it returns to the system what the allocator holds and nobody uses.
"""

import ctypes
import gc
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.server import ROOT, load_module

sys.argv[0] = str(ROOT / "app.py")
from app.jobs.allocator import freeze_startup_objects  # noqa: E402
from app.jobs.queue.run_queue import RunQueue  # noqa: E402
from app.server.gradio_internals import GuardedBlocks  # noqa: E402
from app.settings import read_settings  # noqa: E402

WATCHED = GuardedBlocks, RunQueue, torch.nn.Module
OBJECTS: list[Any] = []
"""The objects of `WATCHED` classes once the page is built. Later the collector does not list frozen ones."""


def remember_and_freeze() -> None:
    """Replaces `freeze_startup_objects`, which freezes everything that there is once the page is built."""
    OBJECTS.extend(thing for thing in gc.get_objects() if issubclass(type(thing), WATCHED))
    freeze_startup_objects()


def only(kind: type) -> Any:
    """The one object of a class."""
    (thing,) = (thing for thing in OBJECTS if type(thing) is kind)
    return thing


def hooks() -> int:
    """How many hooks hang on modules, those of the model and all others."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules = [thing for thing in OBJECTS if isinstance(thing, torch.nn.Module)]
    return sum(len(vars(module).get(kind, ())) for module in modules for kind in kinds)


def counts() -> dict[str, int]:
    """How much the process holds now."""
    page, runs = only(GuardedBlocks), only(RunQueue)
    queue = page._queue
    sessions = page.app.state_holder.session_data
    return {
        "hooks": hooks(),
        "runs": len(runs._entries),
        "sessions": len(sessions),
        "states": sum(value is not None for session in sessions.values() for value in session.state_data.values()),
        "events": len(queue.event_ids_to_events),
        "iterators": len(page.app.iterators),
        "unread": sum(messages.qsize() for messages in queue.pending_messages_per_session.values()),
        "threads": threading.active_count(),
    }


def main() -> None:
    """Serve until terminated."""
    signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps(counts()), flush=True))
    signal.signal(signal.SIGUSR2, lambda *_: (gc.collect(), ctypes.CDLL(None).malloc_trim(0)))
    served = load_module(ROOT / "app.py", "served")
    served.freeze_startup_objects = remember_and_freeze
    served.launch(read_settings(sys.argv[1:]))


if __name__ == "__main__":
    main()
