"""The page as it is, which tells what it holds: `python tests/hosting/watched.py [options]`.

At the signal SIGUSR1 it prints one line of JSON: hooks on the model, places in line, sessions, and what else Gradio
keeps; at SIGUSR2 it gives back what the allocator holds but nobody uses.
"""

import ctypes
import gc
import importlib.util
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.argv[0] = str(ROOT / "app.py")
from app.jobs.allocator import keep_for_good  # noqa: E402
from app.jobs.run_queue import Line  # noqa: E402
from app.server.guard import GuardedBlocks  # noqa: E402  (the package of that name before the script)
from app.settings import read_settings  # noqa: E402

MARK = "held "
"""What such a line begins with."""


WATCHED = GuardedBlocks, Line, torch.nn.Module
FOUND: list[Any] = []
"""Everything of `WATCHED` that there is once the page is built; later the collector knows it no more."""


def found_and_kept() -> None:
    """Instead of `keep_for_good`."""
    FOUND.extend(thing for thing in gc.get_objects() if issubclass(type(thing), WATCHED))
    keep_for_good()


def only(kind: type) -> Any:
    """The one object of a class that there is."""
    (thing,) = (thing for thing in FOUND if type(thing) is kind)
    return thing


def hooks() -> int:
    """How many hooks hang on modules, of models and all others."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules = [thing for thing in FOUND if isinstance(thing, torch.nn.Module)]
    return sum(len(vars(module).get(kind, ())) for module in modules for kind in kinds)


def held() -> dict[str, int]:
    """Counts of what is held now."""
    page, line = only(GuardedBlocks), only(Line)
    queue = page._queue
    sessions = page.app.state_holder.session_data
    return {
        "hooks": hooks(),
        "places": len(line._places),
        "sessions": len(sessions),
        "states": sum(value is not None for session in sessions.values() for value in session.state_data.values()),
        "events": len(queue.event_ids_to_events),
        "iterators": len(page.app.iterators),
        "unread": sum(messages.qsize() for messages in queue.pending_messages_per_session.values()),
        "threads": threading.active_count(),
    }


def main() -> None:
    """Serve until killed."""
    signal.signal(signal.SIGUSR1, lambda *_: print(MARK + json.dumps(held()), flush=True))
    signal.signal(signal.SIGUSR2, lambda *_: (gc.collect(), ctypes.CDLL(None).malloc_trim(0)))
    spec = importlib.util.spec_from_file_location("served", ROOT / "app.py")
    served = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(served)
    served.keep_for_good = found_and_kept
    served.launch(read_settings(sys.argv[1:]))


if __name__ == "__main__":
    main()
