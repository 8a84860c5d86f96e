"""Visitors of a page in one process against visitors of a replica on Ray: `make bench-replicas`, under ten minutes.

Each visitor is a program that asks for one comparison after another by the page's API, so that everything is in it that
a visitor waits for. The page, the replica and the visitors share this machine.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import httpx
from gradio_client import Client
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.benchmarks.results import machine, publish_table

ROOT = Path(__file__).resolve().parents[2]
PORT, NEW, VISITORS, RUNS = 7871, 48, (1, 2, 4, 8), 4
PROMPTS = ("The capital of Australia is", "The largest ocean is", "Water boils at", "The author of Hamlet is",
           "The currency of Japan is", "Gold is", "The tallest mountain is", "The speed of light is")  # fmt: skip
RAY_PORT = 8000
"""Where `serve run` listens."""


@dataclass(frozen=True)
class Served:
    """What so many visitors at once had of one way to serve the page."""

    how: str
    visitors: int
    first: float
    """Seconds to the first token, the median of all runs."""
    whole: float
    """Seconds to the end of a run, likewise."""
    a_minute: float
    """Runs of all visitors together in a minute."""


@contextmanager
def page_of(command: list[str], port: int) -> Iterator[str]:
    """A page that a command serves, from when it answers."""
    address = f"http://127.0.0.1:{port}"
    settings = {"DOLA_MODEL": "smollm2", "DOLA_TRUSTED_PROXIES": "127.0.0.1", "RAY_USAGE_STATS_ENABLED": "0"}
    with open(os.devnull, "w") as nothing:
        serving = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=nothing, stderr=nothing)
        try:
            for _ in range(300):
                with suppress(httpx.HTTPError):
                    if httpx.get(address, timeout=5).status_code == 200:
                        break
                time.sleep(1)
            yield address
        finally:
            serving.terminate()
            serving.wait(90)


def visit(address: str, visitor: int, runs: int) -> list[tuple[float, float]]:
    """Seconds to the first token and to the end of each run of one visitor, who has an address of its own."""
    client = Client(address, verbose=False, headers={"X-Forwarded-For": f"10.0.0.{visitor + 1}"})
    times = []
    for number in range(runs):
        begun, first = time.perf_counter(), 0.0
        prompt = PROMPTS[(visitor + number) % len(PROMPTS)]
        for event in client.submit(prompt=prompt, max_new_tokens=NEW, with_trace=False, api_name="/compare"):
            if event["type"] == "step" and not first:
                first = time.perf_counter() - begun
        times.append((first, time.perf_counter() - begun))
    return times


def served(how: str, address: str, counts: tuple[int, ...], runs: int) -> list[Served]:
    """So many visitors at once, one count after the other."""
    visit(address, 0, 2)  # warm
    found = []
    for count in tqdm(counts, desc=how):
        with ThreadPoolExecutor(count) as pool:
            begun = time.perf_counter()
            times = [one for own in pool.map(lambda v: visit(address, v, runs), range(count)) for one in own]
            seconds = time.perf_counter() - begun
        first, whole = (median(part) for part in zip(*times, strict=True))
        found.append(Served(how, count, first, whole, 60 * len(times) / seconds))
    return found


def table(found: list[Served]) -> str:
    """Markdown."""
    head = "| page | visitors at once | first token, s | run, s | runs a minute |\n|---|---|---|---|---|\n"
    rows = [f"| {o.how} | {o.visitors} | {o.first:.2f} | {o.whole:.2f} | {o.a_minute:.0f} |" for o in found]
    return head + "\n".join(rows)


def main() -> None:
    """Measure both, print the table, and add it to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dry", action="store_true", help="print, but keep nothing")
    options = parser.parse_args()
    serve = str(Path(sys.executable).parent / "serve")
    ways = {
        "one process": ([sys.executable, "app.py", "--port", str(PORT)], PORT),
        "Ray, one replica of two processors": ([serve, "run", "app.ray_app:page"], RAY_PORT),
    }
    found = []
    for how, (command, port) in ways.items():
        with page_of(command, port) as address:
            found += served(how, address, VISITORS, RUNS)
    said = f"SmolLM2-135M-Instruct in the dtype of this processor, {NEW} tokens of two lanes, every step recorded.\n\n"
    publish_table(
        said + table(found), [asdict(o) for o in found], "make bench-replicas", machine(), keep=not options.dry
    )


if __name__ == "__main__":
    main()
