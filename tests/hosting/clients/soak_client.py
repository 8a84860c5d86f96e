"""One client of a soak: an open page and a client of the API, and everything that it does with them at random."""

import random
import re
import time
from collections.abc import Callable
from typing import ClassVar

from gradio_client.exceptions import AppError

from tests.hosting.clients.visitor import (
    Connection,
    RefusedError,
    SoakVisitor,
    VisitorRun,
    api_client,
    begin_call,
    job_events,
    request_json,
)
from tests.hosting.load.soak_report import SoakReport, UnexpectedError

FULL = re.compile(
    r"The queue is full, with \d+ waiting; try again in a minute\."
    r"|Your address has \d+ runs here already; wait until one of them has ended\."
)
"""The answers to a run for which the queue has no room, in all or for one address: all clients have the same."""
PROMPTS = tuple(f"The capital of {country} is" for country in ("Japan", "Chile", "France", "Kenya", "Peru", "Norway"))
LONG = {"alpha": 0.01, "temperature": 2}
"""Settings with which a text hardly ever ends by itself."""
QUESTIONS = [
    {"prompt": "The capital of Japan is", "answers": ["Tokyo"], "wrong": ["Osaka", "Kyoto"]},
    {"prompt": "Gold is", "answers": ["a metal"], "wrong": ["a gas"]},
]
BAD_CALLS = (
    ({"prompt": ""}, "The prompt is empty"),
    ({"prompt": "a long story " * 5000}, "Shorten it"),
    ({"prompt": "Gold is", "layer": 30}, "choose j* from 1 to 29"),
    ({"prompt": "Gold is", "alpha": 7}, "alpha: must be"),
    ({"prompt": "Gold is", "max_new_tokens": -1}, "max_new_tokens must be a number"),
    ({"prompt": "Gold is", "num_beams": 2, "temperature": 1.0}, "Beam search does not sample"),
    ({"prompt": 5}, "prompt: must be a text."),
    ({"prompt": "\ud800"}, ""),
)
"""Arguments of /compare, and a part of the sentence that refuses them."""
BAD_REQUESTS = (
    ("gradio_api/queue/join", "{"),
    ("gradio_api/queue/join", {"data": [], "fn_index": 0}),
    ("gradio_api/run/predict", {"data": [1, 2, 3], "fn_index": 1, "session_hash": "nobody"}),  # of six values
    ("gradio_api/call/compare", {"data": "no list"}),
    ("gradio_api/call/no_such_question", {"data": []}),
    ("gradio_api/file=/etc/passwd", None),
    ("gradio_api/upload", {}),
)
"""Paths and bodies; every one is refused."""


class SoakClient:
    """One client, with random choices of its own."""

    def __init__(self, url: str, report: SoakReport, seed: str) -> None:
        self.url, self.report, self.random = url, report, random.Random(seed)
        self.page, self.api = SoakVisitor(url), api_client(url)
        self.trace: dict | None = None
        """The last trace that the API returned."""

    def live(self, is_over: Callable[[], bool], count: Callable[[str], None]) -> None:
        """Do one thing after the other until `is_over`; `count` is called with how each ended."""
        actions, weights = zip(*self.actions.items(), strict=True)
        while not is_over():
            action = self.random.choices(actions, weights)[0]
            try:
                count(action(self))
            except (AppError, RefusedError) as error:
                if not FULL.search(str(error)):
                    self.report.fail(action.__name__, error)
                    continue
                count("refused")
                time.sleep(self.random.uniform(0.2, 1.0))
            except Exception as error:
                self.report.fail(action.__name__, error)
                self.reopen()
        self.page.close()
        self.api.close()

    def reopen(self) -> None:
        """Close the page and open it anew."""
        self.page.close()
        self.page = SoakVisitor(self.url)

    def compare(self) -> str:
        """Compare on the page, to the end."""
        prompt, requested = self.random.choice(PROMPTS), time.perf_counter()
        run = self.page.compare(prompt, temperature=0, new_tokens=24, alpha=0.2)
        ended = self._follow(run, requested, prompt)
        self.report.check_texts(prompt, run.shown.texts)
        return ended

    def compare_at_length(self) -> str:
        """Compare on the page, with a long sampled text."""
        requested = time.perf_counter()
        run = self.page.compare("The world", new_tokens=96, **self._long_settings())
        return self._follow(run, requested, "The world")

    def run_on(self) -> str:
        """Compare, and run on from the step shown, which reads the trace that the session keeps."""
        self.compare()
        requested = time.perf_counter()
        return self._follow(self.page.press("run-on"), requested)

    def stop(self) -> str:
        """Press Stop while the run waits or after a few tokens."""
        run = self._begin_long_run()
        self.page.stop()
        run.finish()
        if run.shown.tone == "busy" or (run.shown.tokens and None in run.shown.ends):
            raise UnexpectedError(f"a stopped run ended with {run.shown}")
        return "stopped"

    def leave(self) -> str:
        """Close the tab, or lose the network, while the run waits or after a few tokens."""
        self._begin_long_run().lose()
        self.page = SoakVisitor(self.url)
        return "disconnected"

    def compare_by_api(self) -> str:
        """Compare by API, to the end."""
        prompt, requested = self.random.choice(PROMPTS), time.perf_counter()
        first = last = 0.0
        for event in job_events(self.api.submit(prompt, max_new_tokens=24, alpha=0.2, api_name="/compare")):
            now = time.perf_counter()
            if event["type"] == "step":
                first, last, steps = first or now, now, event["step"]
        if event["type"] != "trace" or event["trace"]["prompt"] != prompt:
            raise UnexpectedError(f"{prompt!r} ended with {str(event)[:200]}")
        self.trace = event["trace"]
        self.report.time_run(requested=requested, started=None, first=first, last=last, tokens=steps)
        self.report.check_texts(prompt, tuple(event["texts"].values()))
        return "completed"

    def cancel(self) -> str:
        """Compare by API, and cancel while the run waits or after some steps."""
        job = self.api.submit("The world", max_new_tokens=256, api_name="/compare", **self._long_settings())
        wanted = self.random.randrange(12)
        for event in job_events(job):
            if wanted == 0 or event.get("step", 0) >= wanted:
                break
        job.cancel()
        return "stopped"

    def hang_up(self) -> str:
        """Compare by plain HTTP, and lose the connection before the first event or after a few."""
        event = begin_call(self.url, "compare", prompt="The world", max_new_tokens=256, **self._long_settings())
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
        """Ask a what-if of the last trace."""
        if self.trace is None:
            return self.compare_by_api()
        lane = self.trace["lanes"][1]
        token = self.api.predict(self.trace, 1, lane["layer"], lane["alpha"], api_name="/what_if")
        if not token["same"]:
            raise UnexpectedError(f"with its own settings a step reads {token}")
        return "answered"

    def layer_curve(self) -> str:
        """Run a small layer search."""
        *_, event = job_events(self.api.submit(QUESTIONS, [0.1], api_name="/layer_curve"))
        if event["type"] != "curve":
            raise UnexpectedError(f"a search ended with {str(event)[:200]}")
        return "completed"

    def call_with_bad_arguments(self) -> str:
        """Call the API with arguments that it refuses in a sentence."""
        arguments, sentence = self.random.choice(BAD_CALLS)
        try:
            self.api.predict(**arguments, api_name="/compare")
        except AppError as error:
            if FULL.search(str(error)):
                raise
            if sentence not in str(error) or "\n" in str(error):
                raise UnexpectedError(f"{str(arguments)[:100]} was answered with {error}") from error
            return "answered"
        except UnicodeError:
            return "answered"  # half a character does not even leave the client
        raise UnexpectedError(f"{arguments} was answered")

    def compare_bad_prompt(self) -> str:
        """Compare a prompt on the page that it refuses in a sentence."""
        run = self.page.compare(self.random.choice(("", "   ", "a long story " * 5000)), temperature=0)
        shown = run.finish()
        if FULL.search(shown.notice):
            raise RefusedError(shown.notice)
        if shown.tone != "error":
            raise UnexpectedError(f"a prompt that cannot be was answered with {shown}")
        return "answered"

    def send_bad_request(self) -> str:
        """Send a request of no use."""
        path, body = self.random.choice(BAD_REQUESTS)
        try:
            answer = request_json(self.url, path, body)
        except RefusedError:
            return "answered"
        raise UnexpectedError(f"{path} with {body} was answered with {answer}")

    actions: ClassVar[dict[Callable[..., str], int]] = {
        compare: 5, compare_at_length: 2, run_on: 2, stop: 3, leave: 3, compare_by_api: 5, cancel: 3, hang_up: 2,
        what_if: 3, layer_curve: 1, call_with_bad_arguments: 2, compare_bad_prompt: 2, send_bad_request: 2,
    }  # fmt: skip
    """How often each is done. Each returns how it ended, as `SoakReport.counts` names it."""

    def _long_settings(self) -> dict[str, object]:
        """Settings of a run that goes on until it is ended."""
        return LONG | {"seed": self.random.randrange(1000)}

    def _begin_long_run(self) -> VisitorRun:
        """A run on the page that is waiting or has written a few tokens; raises `RefusedError`."""
        run = self.page.compare("The world", new_tokens=256, **self._long_settings())
        wanted = self.random.randrange(12)
        for shown in run:
            if shown.tone == "error":
                run.finish()
                raise RefusedError(shown.notice)
            if wanted == 0 or shown.tokens >= wanted:
                break
        return run

    def _follow(self, run: VisitorRun, requested: float, prompt: str | None = None) -> str:
        """Follow a run on the page to its end, check that it is this client's, and note its times."""
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
        self.report.time_run(requested=requested, started=started, first=first, last=last, tokens=run.shown.tokens)
        return "stopped" if "stopped by you" in run.shown.ends else "completed"
