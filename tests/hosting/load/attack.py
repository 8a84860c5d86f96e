"""Hostile requests of every kind from several addresses at once: `make attack`, with options behind `ARGS`.

Serves the page on this machine, and lets attackers at 127.0.0.2, 127.0.0.3, … fill its memory, take its time and keep
it waiting, while an honest visitor at 127.0.0.1 goes on using it. It ends by itself, and prints what was measured
beside what must hold; whatever does not hold makes the command fail. Nothing beyond this machine is asked for anything.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from app.server.bounds import answers, sessions
from app.server.bounds.bounds import Bounds
from tests.app.loops import run_apart
from tests.hosting.clients.attack import MARK, Target
from tests.hosting.clients.hostile_kinds import KINDS, Attacker
from tests.server import ROOT, Server, faults, serve

TRACE = ROOT / "assets" / "models" / "atlas-30l" / "traces" / "sampled.json"
HONEST = {"prompt": "The capital of Peru is", "max_new_tokens": 24, "alpha": 0.01, "temperature": 1.5}
"""A run of some seconds' fraction, as a visitor of the page asks for."""
IDLE_RUNS = 7
AT_ONCE = 12
"""Requests of one address at a time."""
FEW = 12
"""Sockets that the server may have open when nobody uses it: the one it listens at, and its own event loops'."""
MEGABYTE = 2**20


class HonestRun(NamedTuple):
    """An honest visitor's run, in seconds."""

    wait: float
    """Until its first token."""
    writing: float
    """From there to its last one."""


@dataclass
class Measured:
    """What an attack measured."""

    idle_memory: int = 0
    """Bytes in memory before."""
    peak_memory: int = 0
    settled_memory: int = 0
    """The same some seconds after the last request."""
    idle_runs: list[HonestRun] = field(default_factory=list)
    """An honest visitor's runs before."""
    runs: list[HonestRun] = field(default_factory=list)
    """The same during the attack."""
    failed: list[str] = field(default_factory=list)
    """What an honest visitor was refused."""
    outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """{kind of request: {what became of it: how often}}"""
    connections: int = 0
    """Connections that the server still has some seconds after the attackers have gone."""
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        """How many hostile requests were sent."""
        return sum(sum(counts.values()) for counts in self.outcomes.values())

    @property
    def slowdown(self) -> float:
        """How much longer an honest visitor's run takes, by the medians."""
        during, before = (statistics.median(run.writing for run in runs) for runs in (self.runs, self.idle_runs))
        return during / before


def stated_budget() -> int:
    """Bytes that strangers can make the server hold, by its own bounds."""
    bounds = Bounds()
    return sum(budget.total for budget in (bounds.bodies, bounds.small, bounds.large)) + answers.TOTAL + sessions.TOTAL


def memory(server: Server) -> int:
    """Bytes of the server that are in memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def connections(server: Server) -> int:
    """Sockets that the server has open."""
    files = Path(f"/proc/{server.process.pid}/fd")
    return sum(_target(file).startswith("socket:") for file in files.iterdir())


def _target(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:  # closed meanwhile
        return ""


def run(target: Target) -> HonestRun:
    """Let an honest visitor run a comparison; raises `RuntimeError` if it is refused."""
    begun = time.monotonic()
    asked = target.post("/gradio_api/call/v2/compare", HONEST)
    if asked.refusal is not None:
        raise RuntimeError(f"{asked.status} {asked.refusal}")
    times, last = [], ""
    with target.http.stream("GET", f"/gradio_api/call/compare/{json.loads(asked.text)['event_id']}") as stream:
        for line in stream.iter_lines():
            last = line or last
            if '"type": "step"' in line:
                times.append(time.monotonic())
    if len(times) < 2:
        raise RuntimeError(last[:200])
    return HonestRun(times[0] - begun, times[-1] - times[0])


@contextmanager
def watching(server: Server, target: Target, found: Measured) -> Iterator[None]:
    """Look at the server's memory, and use it as an honest visitor does, while the body goes on."""
    ends = threading.Event()

    def look() -> None:
        while not ends.wait(0.1):
            found.peak_memory = max(found.peak_memory, memory(server))

    def use() -> None:
        while not ends.is_set():
            try:
                found.runs.append(run(target))
            except (RuntimeError, httpx.HTTPError) as error:
                found.failed.append(f"{type(error).__name__}: {error}")
                time.sleep(0.5)

    threads = [threading.Thread(target=look), threading.Thread(target=use)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ends.set()
        for thread in threads:
            thread.join()


async def send_all(attackers: list[Attacker], requests: int, seconds: float, found: Measured) -> None:
    """Let the attackers send so many requests, of every kind in turn, for so many seconds at most."""
    ends = time.monotonic() + seconds
    names = itertools.islice(itertools.cycle(KINDS), requests)
    bar = tqdm(total=requests, desc=f"{len(attackers)} addresses", unit="request", disable=None)

    async def attack(one: Attacker) -> None:
        for name in names:
            if time.monotonic() > ends:
                return
            try:
                outcome = await KINDS[name](one)
            except (httpx.HTTPError, OSError) as error:
                outcome = type(error).__name__
            found.outcomes[name][outcome] += 1
            bar.update()

    with bar:
        await asyncio.gather(*(attack(one) for one in attackers for _ in range(AT_ONCE)))
        await asyncio.gather(*(one.http.aclose() for one in attackers))


def attack(
    server: Server, *, requests: int, addresses: int, seconds: float, hold: float = 40, seed: int = 0
) -> Measured:
    """Attack a served page and measure what it does; connections that are only kept are kept for `hold` seconds."""
    found, begun = Measured(), time.monotonic()
    with httpx.Client(base_url=server.url, timeout=120, trust_env=False) as http:
        target = Target(server, http)
        run(target)
        found.idle_runs = [run(target) for _ in range(IDLE_RUNS)]
        found.idle_memory = memory(server)
        opening, looking = target.event_on("inbox", "upload"), target.event_on("map", "select")
        trace = TRACE.read_text(encoding="utf-8")
        event = {"lane": 1, "step": 3, "x": 3, "y": 3, "custom": [1, 3]}
        attackers = [
            Attacker(
                url=server.url,
                address=f"127.0.0.{number + 2}",
                trace=trace,
                arrival=target.arrival,
                opening=_body(target, opening, {"text": trace}),
                look=_body(target, looking, event),
                chance=random.Random(f"{seed} {number}"),
                hold=hold,
            )
            for number in range(addresses)
        ]
        with watching(server, target, found):
            run_apart(send_all(attackers, requests, seconds, found))
        time.sleep(10)
        run(target)
        time.sleep(5)
        found.settled_memory, found.connections = memory(server), connections(server)
    found.log, found.seconds = server.log, time.monotonic() - begun
    return found


def _body(target: Target, name: str, event_data: dict[str, object]) -> dict[str, object]:
    return {"data": target.start(name), "fn_index": target.events[name]["id"], "event_data": event_data}


def judged(found: Measured) -> list[tuple[str, str, str, bool]]:
    """What was measured: (what, the figure, what must hold, whether it does)."""
    most = 2 * found.idle_memory + stated_budget()
    waits = [run.wait for run in found.runs] or [0.0]
    writing, before = ([run.writing for run in runs] or [0.0] for runs in (found.runs, found.idle_runs))
    rows = [
        ("memory before", _megabytes(found.idle_memory), "", True),
        ("memory, most", _megabytes(found.peak_memory), f"≤ {_megabytes(most)}", found.peak_memory <= most),
        ("memory afterwards", _megabytes(found.settled_memory), "", True),
        ("an honest run before", _seconds(before), "", True),
        ("an honest run", _seconds(writing), "≤ 2 times", len(found.runs) > 0 and found.slowdown <= 2),
        ("its wait for its turn", _seconds(waits), "", True),
        ("honest runs refused", f"{len(found.failed)} of {len(found.failed) + len(found.runs)}", "0", not found.failed),
        ("connections left", f"{found.connections}", f"≤ {FEW}", found.connections <= FEW),
        ("failures in the log", f"{len(faults(found.log))}", "0", not faults(found.log)),
        ("prompts in the log", f"{''.join(found.log).count(MARK)}", "0", MARK not in "".join(found.log)),
    ]
    for kind in ("pages elsewhere", "other names"):
        answered = sum(found.outcomes[kind].values()) - found.outcomes[kind]["403"]
        rows.append((f"answered to {kind}", f"{answered}", "0", not answered))
    return rows


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:,.0f} MB"


def _seconds(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} s, {max(times):.2f} s at most"


def table(found: Measured) -> str:
    """What was sent and what was measured, as text."""
    lines = [f"{found.requests:,} requests in {found.seconds:.0f} s"]
    for kind, counts in found.outcomes.items():
        lines.append(f"  {kind:<26}" + ", ".join(f"{outcome} × {count}" for outcome, count in sorted(counts.items())))
    for what, figure, bound, holds in judged(found):
        lines.append(f"{what:<28}{figure:<34}{bound:<16}{'' if holds else 'NOT SO'}".rstrip())
    return "\n".join(lines)


def command_line() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--addresses", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=8, help="after which it ends in any case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write everything measured to")
    return parser


def main() -> None:
    """Serve the page, attack it, and print what came of it."""
    options = command_line().parse_args()
    with serve() as server:
        found = attack(
            server,
            requests=options.requests,
            addresses=options.addresses,
            seconds=60 * options.minutes,
            seed=options.seed,
        )
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(vars(found), indent=1) + "\n", encoding="utf-8")
    if not all(holds for *_, holds in judged(found)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
