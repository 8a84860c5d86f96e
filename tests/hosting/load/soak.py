"""Many visitors at once, for a while: `make soak`, with options behind `ARGS`.

Serves the page on this machine and lets clients use it at random: compare by page and by API, run on from a step, stop,
cancel, lose the connection, close the tab, ask what-ifs and layer curves, send what is refused, and find the queue
full. Whatever was not to be expected is printed at the end and makes the command fail, and so does memory that grows.
"""

import argparse
import json
import sys
import threading
import time
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.hosting.clients.soak_client import SoakClient
from tests.hosting.clients.visitor import api_client
from tests.hosting.load.soak_report import FinalState, SoakEnd, SoakReport, mistakes, table
from tests.hosting.pages.watched_page import (
    counts,
    first_token_seconds,
    memory,
    settled_counts,
    trim,
    watched_page,
)
from tests.server import Server

ROWS = "8"
"""Rows of the page: one address, as all clients have, may take half of them, which is two comparisons at a time."""


def soak(server: Server, *, clients: int, end: SoakEnd, seed: int = 0) -> SoakReport:
    """Let so many clients use the page at random until `end`."""
    report = SoakReport()
    with tqdm(total=end.runs, desc=f"{clients} clients", unit="run", disable=None) as bar:

        def count(kind: str) -> None:
            runs = report.count(kind)
            if runs is not None:
                size = memory(server)
                with report.lock:
                    report.memory.append((runs, size))
                    bar.update()
                    bar.set_postfix(report.counts, refresh=False)

        people = [SoakClient(server.url, report, f"{seed} {number}") for number in range(clients)]
        threads = [threading.Thread(target=one.live, args=(lambda: end.reached(report), count)) for one in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return report


def command_line() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--runs", type=int, default=200, help="runs in all, ended and given up ones included")
    parser.add_argument("--minutes", type=float, default=10, help="after which it ends in any case")
    parser.add_argument("--queue-size", type=int, help="runs that may wait; by default too few for all clients")
    parser.add_argument("--seed", type=int, default=0, help="of what the clients do")
    parser.add_argument("--json", type=Path, help="file to write everything measured to")
    return parser


def main() -> None:
    """Serve the page, let the clients loose on it, and print what came of it."""
    options = command_line().parse_args()
    queue_size = max(1, options.clients - 2) if options.queue_size is None else options.queue_size
    began = time.monotonic()
    with watched_page(queue_size, "--max-rows", ROWS) as server:
        before = counts(server)
        end = SoakEnd(options.runs, time.monotonic() + 60 * options.minutes)
        report = soak(server, clients=options.clients, end=end, seed=options.seed)
        after, size = settled_counts(server), memory(server)
        report.memory.append((report.runs, size))
        first_token = first_token_seconds(api_client(server.url))
        trim(server)
        trimmed = memory(server)
    state = FinalState(before, after, size, trimmed, first_token, len(server.faults))
    seconds = time.monotonic() - began
    runs = f"{report.runs} by {options.clients} clients in {seconds:.0f} s, {queue_size} places in the queue"
    rows, wrong = table(report, state, runs), mistakes(report, state)
    width = max(map(len, rows))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()))
    if options.json:
        measured = {
            "table": rows, "memory": report.memory, "before": before, "after": after, "mistakes": wrong,
            "first_from_request": report.first_from_request, "first_from_start": report.first_from_start,
            "per_token": report.per_token, "options": vars(options) | {"json": str(options.json)},
        }  # fmt: skip
        options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    if wrong:
        print("\n".join(["", *wrong]), file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
