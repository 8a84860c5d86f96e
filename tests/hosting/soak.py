"""Many visitors at once, for a while: `make soak`, with options behind `ARGS`.

Starts the page on this machine and lets clients, each with a random choice of its own, compare by page and by API, go
on from a step, stop, cancel, lose their connection, close their tab, ask what-ifs and layer curves, send what does not
fit, and find the line full. Everything that was not to be expected is told at the end and makes the command fail, and
so does memory that grows.
"""

import argparse
import json
import random
import re
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psutil
from gradio_client import Client
from gradio_client.exceptions import AppError
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.browser.conftest import Server, serve  # noqa: E402
from tests.hosting.visiting import Connection, RefusedError, Run, Visitor, ask, heard, program, told  # noqa: E402
from tests.hosting.watched import MARK  # noqa: E402

WARM, GROWTH = 20, 0.05
"""Runs after which memory is looked at first, and by how much it may grow from then on."""
SETTLED = 5
"""Seconds within which everything is given back after the last run."""
FULL = re.compile(r"The line is full, with \d+ waiting; try again in a minute\.")
PROMPTS = tuple(f"The capital of {country} is" for country in ("Japan", "Chile", "France", "Kenya", "Peru", "Norway"))
LONG = {"alpha": 0.01, "temperature": 2}
"""Settings with which a text hardly ever ends by itself."""
QUESTIONS = [
    {"prompt": "The capital of Japan is", "answers": ["Tokyo"], "wrong": ["Osaka", "Kyoto"]},
    {"prompt": "Gold is", "answers": ["a metal"], "wrong": ["a gas"]},
]
BAD_QUESTIONS = (
    ({"prompt": ""}, "The prompt is empty"),
    ({"prompt": "a long story " * 5000}, "Shorten it"),
    ({"prompt": "Gold is", "layer": 30}, "choose j* from 1 to 29"),
    ({"prompt": "Gold is", "alpha": 7}, "alpha: Input should be"),
    ({"prompt": "Gold is", "max_new_tokens": -1}, "max_new_tokens must be a number"),
    ({"prompt": "Gold is", "num_beams": 2, "temperature": 1.0}, "Beam search does not sample"),
    ({"prompt": 5}, "prompt: Input should be a valid string."),
    ({"prompt": "\ud800"}, ""),
)
"""What the API is asked, and what the sentence that it answers holds."""
BAD_REQUESTS = (
    ("gradio_api/queue/join", "{"),
    ("gradio_api/queue/join", {"data": [], "fn_index": 0}),
    ("gradio_api/run/predict", {"data": [1, 2, 3], "fn_index": 11, "session_hash": "nobody"}),
    ("gradio_api/call/compare", {"data": "no list"}),
    ("gradio_api/call/no_such_question", {"data": []}),
    ("gradio_api/file=/etc/passwd", None),
    ("gradio_api/upload", {}),
)
"""Routes and what they are sent; every one is refused."""


class UnexpectedError(Exception):
    """Something was not as it must be."""


@dataclass
class Report:
    """What came of it all; clients write into it at the same time."""

    wanted: int
    until: float
    memory_of: Callable[[], int]
    bar: tqdm
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    first_from_request: list[float] = field(default_factory=list)
    first_from_start: list[float] = field(default_factory=list)
    per_token: list[float] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)
    """(runs, bytes) from the first run on."""
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def runs(self) -> int:
        """How many runs had the model, or a place in line until they were given up."""
        return sum(self.counts[kind] for kind in ("completed", "stopped", "disconnected"))

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do."""
        return self.runs >= self.wanted or time.monotonic() > self.until

    def count(self, kind: str) -> None:
        """One more that ended so."""
        with self.lock:
            before = self.runs
            self.counts[kind] += 1
            if self.runs > before:
                self.bar.update()
                self.bar.set_postfix(self.counts, refresh=False)
                self.memory.append((self.runs, self.memory_of()))

    def failed(self, what: str, error: Exception) -> None:
        """Something nobody expected."""
        with self.lock:
            self.counts["failed"] += 1
            self.failures.append(f"{what}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def timed(self, asked: float, started: float | None, first: float, last: float, tokens: int) -> None:
        """The times of one run: when it was asked for, when it left the line, its first and its last token."""
        with self.lock:
            self.first_from_request.append(first - asked)
            if started is not None:
                self.first_from_start.append(first - started)
            if tokens > 1:
                self.per_token.append((last - first) / (tokens - 1))

    def same(self, prompt: str, texts: Sequence[str]) -> None:
        """Greedy texts are the same whoever asks for them, and whoever asked before; raises `UnexpectedError`."""
        with self.lock:
            known = self.texts.setdefault(prompt, tuple(texts))
        if known != tuple(texts):
            raise UnexpectedError(f"{prompt!r} became {texts}, for another visitor {known}")


class Person:
    """One client: a page that is open, a program, and what they do."""

    def __init__(self, url: str, report: Report, seed: str) -> None:
        self.url, self.report, self.random = url, report, random.Random(seed)
        self.page, self.program = Visitor(url), program(url)
        self.trace: dict | None = None

    def live(self) -> None:
        """Do one thing after the other until all is over."""
        deeds, weights = zip(*self.deeds.items(), strict=True)
        while not self.report.over:
            deed = self.random.choices(deeds, weights)[0]
            try:
                self.report.count(deed(self))
            except (AppError, RefusedError) as error:
                if not FULL.search(str(error)):
                    self.report.failed(deed.__name__, error)
                    continue
                self.report.count("refused")
                time.sleep(self.random.uniform(0.2, 1.0))
            except Exception as error:
                self.report.failed(deed.__name__, error)
                self.reopen()
        self.page.close()
        self.program.close()

    def reopen(self) -> None:
        """Open the page anew."""
        self.page.close()
        self.page = Visitor(self.url)

    def long(self) -> dict[str, object]:
        """A run that goes on until it is ended."""
        return LONG | {"seed": self.random.randrange(1000)}

    def followed(self, run: Run, asked: float, prompt: str | None = None) -> str:
        """Follow a run on the page to its end and note its times; it must be the run of this visitor."""
        started = first = last = 0.0
        for shown in run:
            now = time.perf_counter()
            if shown.running and not started:
                started = now
            if shown.tokens and started:
                first, last = first or now, now
        if run.shown.tone == "error":
            raise RefusedError(run.shown.notice)
        if None in run.shown.ends or not first:
            raise UnexpectedError(f"a run ended with {run.shown}")
        if prompt and prompt.replace(" ", "␣") not in run.shown.prompt:
            raise UnexpectedError(f"{prompt!r} was asked for, and {run.shown.prompt!r} is shown")
        self.report.timed(asked, started, first, last, run.shown.tokens)
        return "stopped" if "stopped by you" in run.shown.ends else "completed"

    def compare(self) -> str:
        """On the page, to the end."""
        prompt, asked = self.random.choice(PROMPTS), time.perf_counter()
        run = self.page.compare(prompt, temperature=0, new_tokens=24, alpha=0.2)
        ended = self.followed(run, asked, prompt)
        self.report.same(prompt, run.shown.texts)
        return ended

    def compare_at_length(self) -> str:
        """On the page, a long sampled text."""
        asked = time.perf_counter()
        return self.followed(self.page.compare("The world", new_tokens=96, **self.long()), asked, "The world")

    def go_on(self) -> str:
        """Compare, and run both on from the step shown, where the visitor's trace is read in the session."""
        self.compare()
        asked = time.perf_counter()
        run = self.page.press("run-on")
        return self.followed(run, asked)

    def stop(self) -> str:
        """Press Stop in the line or after a few tokens."""
        run = self.page.compare("The world", new_tokens=256, **self.long())
        wanted = self.random.randrange(12)
        for shown in run:
            if shown.tone == "error":
                run.finish()
                raise RefusedError(shown.notice)
            if wanted == 0 or shown.tokens >= wanted:
                break
        self.page.stop()
        run.finish()
        if run.shown.tone == "busy" or (run.shown.tokens and None in run.shown.ends):
            raise UnexpectedError(f"a stopped run ended with {run.shown}")
        return "stopped"

    def leave(self) -> str:
        """Close the tab, or lose the network, in the line or after a few tokens."""
        run = self.page.compare("The world", new_tokens=256, **self.long())
        wanted = self.random.randrange(12)
        for shown in run:
            if shown.tone == "error":
                run.finish()
                raise RefusedError(shown.notice)
            if wanted == 0 or shown.tokens >= wanted:
                break
        run.lose()
        self.page = Visitor(self.url)
        return "disconnected"

    def ask(self) -> str:
        """By API, to the end."""
        prompt, asked = self.random.choice(PROMPTS), time.perf_counter()
        first = last = 0.0
        for event in told(self.program.submit(prompt, max_new_tokens=24, alpha=0.2, api_name="/compare")):
            now = time.perf_counter()
            if event["type"] == "step":
                first, last, steps = first or now, now, event["step"]
        if event["type"] != "trace" or event["trace"]["prompt"] != prompt:
            raise UnexpectedError(f"{prompt!r} ended with {str(event)[:200]}")
        self.trace = event["trace"]
        self.report.timed(asked, None, first, last, steps)
        self.report.same(prompt, tuple(event["texts"].values()))
        return "completed"

    def cancel(self) -> str:
        """By API, cancelled in the line or after some steps."""
        job = self.program.submit("The world", max_new_tokens=256, api_name="/compare", **self.long())
        wanted = self.random.randrange(12)
        for event in told(job):
            if wanted == 0 or event.get("step", 0) >= wanted:
                break
        job.cancel()
        return "stopped"

    def hang_up(self) -> str:
        """By plain HTTP, with the connection lost after a few words or before the first."""
        event = heard(self.url, "compare", prompt="The world", max_new_tokens=256, **self.long())
        answer = Connection(self.url, f"gradio_api/call/compare/{event}")
        wanted = self.random.randrange(8)
        for number, data in enumerate(answer.events() if wanted else ()):
            if "error" in (data or ()):
                answer.leave()
                raise RefusedError(data["error"])
            if number >= wanted:
                break
        answer.lose()
        return "disconnected"

    def what_if(self) -> str:
        """A question about the last trace."""
        if self.trace is None:
            return self.ask()
        lane = self.trace["lanes"][1]
        token = self.program.predict(self.trace, 1, lane["layer"], lane["alpha"], api_name="/what_if")
        if not token["same"]:
            raise UnexpectedError(f"with its own settings a step reads {token}")
        return "answered"

    def layer_curve(self) -> str:
        """A small search."""
        *_, event = told(self.program.submit(QUESTIONS, [0.1], api_name="/layer_curve"))
        if event["type"] != "curve":
            raise UnexpectedError(f"a search ended with {str(event)[:200]}")
        return "completed"

    def ask_what_does_not_fit(self) -> str:
        """A question that is answered with a sentence."""
        asked, said = self.random.choice(BAD_QUESTIONS)
        try:
            self.program.predict(**asked, api_name="/compare")
        except AppError as error:
            if FULL.search(str(error)):
                raise
            if said not in str(error) or "\n" in str(error):
                raise UnexpectedError(f"{str(asked)[:100]} was answered with {error}") from error
            return "answered"
        except UnicodeError:
            return "answered"  # half a character does not even leave the program
        raise UnexpectedError(f"{asked} was answered")

    def press_what_does_not_fit(self) -> str:
        """A prompt that the page says something about, and keeps what it has."""
        run = self.page.compare(self.random.choice(("", "   ", "a long story " * 5000)), temperature=0)
        shown = run.finish()
        if FULL.search(shown.notice):
            raise RefusedError(shown.notice)
        if shown.tone != "error":
            raise UnexpectedError(f"a prompt that cannot be was answered with {shown}")
        return "answered"

    def send_what_does_not_fit(self) -> str:
        """A request that is none."""
        path, body = self.random.choice(BAD_REQUESTS)
        try:
            answer = ask(self.url, path, body)
        except RefusedError:
            return "answered"
        raise UnexpectedError(f"{path} with {body} was answered with {answer}")

    deeds: ClassVar[dict[Callable[..., str], int]] = {
        compare: 5, compare_at_length: 2, go_on: 2, stop: 3, leave: 3, ask: 5, cancel: 3, hang_up: 2, what_if: 3,
        layer_curve: 1, ask_what_does_not_fit: 2, press_what_does_not_fit: 2, send_what_does_not_fit: 2,
    }  # fmt: skip
    """How often each is done."""


def held(server: Server) -> dict[str, int]:
    """What a page that was started by `watched.py` holds now."""
    seen = len(server.log)
    server.process.send_signal(signal.SIGUSR1)
    for _ in range(200):
        for line in server.log[seen:]:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        time.sleep(0.05)
    raise TimeoutError("The page does not say what it holds.")


def settled(server: Server) -> dict[str, int]:
    """What it holds once nobody runs anything, or after `SETTLED` seconds."""
    until = time.monotonic() + SETTLED
    while (found := held(server))["places"] and time.monotonic() < until:
        pass
    return found


def first_token(client: Client) -> float:
    """Seconds to the first token of a short comparison."""
    asked = time.perf_counter()
    job = client.submit("Gold is", max_new_tokens=2, api_name="/compare")
    next(event for event in told(job) if event["type"] == "step")
    return time.perf_counter() - asked


def soak(server: Server, clients: int, runs: int, seconds: float, seed: int = 0) -> Report:
    """Let so many clients do what they do, until there were so many runs or time is over."""
    process = psutil.Process(server.process.pid)
    with tqdm(total=runs, desc=f"{clients} clients", unit="run", disable=None) as bar:
        report = Report(runs, time.monotonic() + seconds, lambda: process.memory_info().rss, bar)
        people = [Person(server.url, report, f"{seed} {number}") for number in range(clients)]
        threads = [threading.Thread(target=person.live) for person in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return report


@contextmanager
def page(queue_size: int, *options: str) -> Iterator[Server]:
    """The page, watched."""
    with serve("--queue-size", str(queue_size), *options, script=("tests/hosting/watched.py",)) as started:
        yield started


def quantiles(times: Sequence[float]) -> str:
    """The middle and the slow end of some times."""
    if len(times) < 2:
        return "–"
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return f"p50 {1000 * cuts[9]:,.0f} ms, p95 {1000 * cuts[18]:,.0f} ms ({len(times)} runs)"


def growth(report: Report) -> tuple[int, int, float] | None:
    """Memory after the first `WARM` runs and at the end, in bytes, and by how much it grew; None of fewer runs.

    Each is a median over as many runs, around the first place and up to the last: what a single run has in hand is up
    to a twentieth of it.
    """
    levels = [rss for _, rss in report.memory]
    if len(levels) <= 2 * WARM:
        return None
    around = levels[WARM // 2 : WARM // 2 + WARM]
    before, after = (int(statistics.median(some)) for some in (around, levels[-WARM:]))
    return before, after, after / before - 1


def main() -> None:
    """Start the page, let everybody loose on it, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--runs", type=int, default=200, help="runs in all, ended and given up ones included")
    parser.add_argument("--minutes", type=float, default=10, help="after which it ends in any case")
    parser.add_argument("--queue-size", type=int, help="places in line; by default too few for all clients")
    parser.add_argument("--seed", type=int, default=0, help="of what the clients do")
    parser.add_argument("--json", type=Path, help="file to write everything measured to")
    asked = parser.parse_args()
    line = max(1, asked.clients - 2) if asked.queue_size is None else asked.queue_size
    began = time.monotonic()
    with page(line) as server:
        before = held(server)
        report = soak(server, asked.clients, asked.runs, 60 * asked.minutes, asked.seed)
        after, rss = settled(server), report.memory_of()
        report.memory.append((report.runs, rss))
        probe = first_token(program(server.url))
        server.process.send_signal(signal.SIGUSR2)
        time.sleep(1)
        trimmed = report.memory_of()
    mistakes = list(report.failures)
    tracebacks = sum("Traceback" in entry for entry in server.log)
    grown = growth(report)
    if tracebacks:
        mistakes.append(f"{tracebacks} tracebacks in the log of the page")
    if after["hooks"] != before["hooks"] or after["places"]:
        mistakes.append(f"not everything was given back: {after}, in the beginning {before}")
    if grown and grown[2] > GROWTH:
        mistakes.append(f"memory grew by {grown[2]:.1%}, at most {GROWTH:.0%} is right")
    table = {
        "runs": f"{report.runs} by {asked.clients} clients in {time.monotonic() - began:.0f} s, {line} places in line",
        **{kind: str(report.counts[kind]) for kind in ("completed", "stopped", "disconnected", "refused", "answered")},
        "failed": str(report.counts["failed"]),
        "first token, from the request": quantiles(report.first_from_request),
        "first token, from the start": quantiles(report.first_from_start),
        "per token": quantiles(report.per_token),
        f"memory after {WARM} runs": f"{grown[0] / 2**20:.0f} MB" if grown else "–",
        "memory at the end": f"{rss / 2**20:.0f} MB, {trimmed / 2**20:.0f} MB of it in use",
        "memory grew by": f"{grown[2]:.1%}, budget {GROWTH:.0%}" if grown else "–",
        "held at the end": ", ".join(f"{count} {name}" for name, count in after.items()),
        "first token of one more run": f"{1000 * probe:.0f} ms",
        "tracebacks": str(tracebacks),
    }
    width = max(map(len, table))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in table.items()))
    if asked.json:
        measured = {
            "table": table, "memory": report.memory, "before": before, "after": after, "mistakes": mistakes,
            "first_from_request": report.first_from_request, "first_from_start": report.first_from_start,
            "per_token": report.per_token, "options": vars(asked) | {"json": str(asked.json)},
        }  # fmt: skip
        asked.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    if mistakes:
        print("\n".join(["", *mistakes]), file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
