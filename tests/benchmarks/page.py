"""Measure in Chromium how long a visitor waits for the page: `make bench-page`.

- What-if: from a move of the j* slider to the painted page, strips and sentence included. In a usual window, as the
  page opens and with everything unfolded, until all in sight is painted, and until the charts below are too; and in a
  window so tall that it shows all charts.
- First use: from the command and from a visitor's arrival to a usable page, to the texts of the recorded comparison and
  to its charts, and from Compare to the first token.
- Time a token: from Compare to the end of a long text, against the same page without its charts.
"""

import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.browser.chromium import FLAGS, executable
from tests.server import ROOT, start

MOVES, TALL = 40, 3600
BUDGET = 150
RUNS, RATIO, USABLE = 5, 1.5, 8
PAGE_USABLE, CHARTS_LATER = 1000, 1500
LONG = "prompt=The+world&new=200&t=2&a=0.01&seed="
MOVE = """layer => new Promise(painted => {
    const slider = document.querySelector("#layer-2 input[type=range]");
    const start = performance.now();
    const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    const time = async drawn => { await Promise.all(drawn); await frame(); return performance.now() - start; };
    const drawn = [...document.querySelectorAll(".duet-chart .plot")].filter(chart => chart.data).map(chart => {
        const { top, bottom } = chart.getBoundingClientRect();
        return [bottom > 0 && top < innerHeight, new Promise(done =>
            ["plotly_afterplot", "plotly_relayout"].forEach(event => chart.once(event, done)))];
    });
    const sentence = new Promise(done =>
        new MutationObserver(done).observe(document.querySelector(".duet-say"), { childList: true, subtree: true }));
    const inSight = drawn.filter(([seen]) => seen).map(([, chart]) => chart);
    slider.value = layer;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    Promise.all([time([...inSight, sentence]), time(drawn.map(([, chart]) => chart))]).then(painted);
})"""


WRITTEN = """() => new Promise(done => {
    const start = performance.now();
    const look = () => {
        const ends = document.querySelectorAll(".lane .end").length;
        const lanes = [...document.querySelectorAll(".lane")].map(lane => lane.querySelectorAll("[data-index]").length);
        if (ends === 2) requestAnimationFrame(() => done((performance.now() - start) / Math.max(...lanes)));
        else requestAnimationFrame(look);
    };
    look();
})"""


FIRST = """() => new Promise(done => {
    const was = document.querySelector(".lane [data-index]");
    const start = performance.now();
    document.querySelector("#compare").click();
    const look = () => {
        const token = document.querySelector(".lane [data-index]");
        if (token && token !== was) requestAnimationFrame(() => done(performance.now() - start));
        else requestAnimationFrame(look);
    };
    look();
})"""


def first_tokens(page: Page) -> list[float]:
    """Milliseconds from a press of Compare to the first token on the page."""
    page.fill("#prompt textarea", "The capital of Japan is")
    times = []
    for _ in range(RUNS):
        times.append(page.evaluate(FIRST))
        page.wait_for_timeout(500)  # by now Stop stands in its place, or the run is over
        page.wait_for_selector("#compare")
        page.wait_for_timeout(500)
    return times


def what_ifs(page: Page) -> list[list[float]]:
    """Milliseconds from each of `MOVES` moves of the slider to the painted page: (what is in sight, all of it)."""
    layers = [2 + (5 * n) % 28 for n in range(MOVES)]  # a move to where the slider is already would draw nothing
    return [page.evaluate(MOVE, layer) for layer in tqdm(layers, desc="what-ifs")]


ARRIVAL = """(() => {
    const at = (window.arrival = {});
    const seen = {
        texts: () => document.querySelector("#duet-first .lane .strip, .duet-panes .lane .strip")
            && document.querySelector("#duet-first .duet-say, .duet-say .duet-sentence"),
        usable: () => document.querySelector(".duet-inbox[lang]"),
        charts: () => ["plausible-head", "layers", "map"].every(id => document.querySelector(`#${id} .main-svg`)),
    };
    const look = () => {
        for (const [name, there] of Object.entries(seen)) if (!at[name] && there()) at[name] = performance.now();
        if (!at.charts || !at.usable) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
})()"""


@dataclass(frozen=True)
class Opening:
    """One arrival with an empty browser cache, in milliseconds since the visitor asked for the page."""

    painted: float
    """The browser's first paint of any content."""
    texts: float
    """Texts and sentence of the recorded comparison are there."""
    usable: float
    charts: float
    """The three charts in sight are drawn."""


def openings(browser: Browser, url: str) -> list[Opening]:
    """Some arrivals."""
    found = []
    for _ in range(RUNS):
        with closing(browser.new_context(viewport={"width": 1440, "height": 900})) as visitor:
            page = visitor.new_page()
            page.add_init_script(ARRIVAL)
            page.goto(url, wait_until="commit")
            page.wait_for_function("() => window.arrival.charts && window.arrival.usable", timeout=120_000)
            times = page.evaluate("() => window.arrival")
            painted = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
            found.append(Opening(painted, **times))
    return found


def token_times(page: Page, url: str, *, charts: bool) -> list[float]:
    """Milliseconds a token, from a press of Compare to the end of both texts, for some long sampled texts."""
    times = []
    for seed in range(RUNS):
        page.goto(f"{url}?{LONG}{seed}")
        page.wait_for_selector(".duet-inbox[lang]")
        page.wait_for_function("window.Plotly")
        if not charts:
            page.evaluate("() => Object.assign(Plotly, { react: plot => (plot.on = () => {}) })")
        page.click("#compare")
        times.append(page.evaluate(WRITTEN))
    return times


def report(name: str, times: Sequence[float]) -> str:
    """One line about some times."""
    last = statistics.quantiles(times, n=20)[-1]
    return f"{name}: median {statistics.median(times):.0f} ms, 95 % under {last:.0f} ms, most {max(times):.0f} ms"


@dataclass(frozen=True)
class PageTimes:
    """Everything that is measured, in milliseconds unless said otherwise."""

    usable: float
    """Seconds from the command to a usable page."""
    first: list[float]
    opened: list[Opening]
    steps: int
    """Tokens of the comparison in which j* is moved."""
    moved_folded: list[list[float]]
    """(what is in sight, all of it) as the page opens."""
    moved: list[list[float]]
    """The same with everything unfolded."""
    moved_tall: list[list[float]]
    """The same in a window that shows all charts."""
    bare: list[float]
    """A token without charts."""
    drawn: list[float]
    """A token with charts."""


def measured() -> PageTimes:
    """Serve the page, open the longest of the recorded runs, and move j*."""
    model = ("--model", "atlas-30l")  # what is timed is the page, not a model
    command = [sys.executable, "app.py", *model, "--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1"]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable(), args=list(FLAGS)) as browser,
        ExitStack() as stack,
    ):
        begun = time.perf_counter()
        server = stack.enter_context(start(command, ROOT, os.environ | {"PYTHONUNBUFFERED": "1"}))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(server.url)
        page.wait_for_selector(".duet-inbox[lang]")
        usable = time.perf_counter() - begun
        first = first_tokens(page)
        opened = openings(browser, server.url)
        page.click(".duet-chips .more")
        page.locator(".duet-chips .chip").nth(4).click()  # the longest of the recorded runs
        page.wait_for_timeout(1000)
        moved_folded = what_ifs(page)
        for button in page.locator(".duet-folds button").all():
            button.click()
        page.wait_for_selector("#changed-by-layer .main-svg", timeout=120_000)
        page.wait_for_timeout(1000)
        steps = page.locator(".lane [data-index]").count()
        moved = what_ifs(page)
        page.set_viewport_size({"width": 1280, "height": TALL})
        page.wait_for_timeout(1000)
        moved_tall = what_ifs(page)
        page.set_viewport_size({"width": 1280, "height": 900})
        bare, drawn = (token_times(page, server.url, charts=charts) for charts in (False, True))
    return PageTimes(usable, first, opened, steps, moved_folded, moved, moved_tall, bare, drawn)


def main() -> None:
    """Measure, and print one line for each figure."""
    times = measured()
    in_sight, all_charts = zip(*times.moved, strict=True)
    print(f"from the command to a usable page: {times.usable:.1f} s, budget {USABLE} s")
    for name, what in (
        ("painted", "from a visitor's coming to the first paint"), ("texts", "  to texts and sentence"),
        ("usable", f"  to a usable page, budget {PAGE_USABLE} ms"),
    ):  # fmt: skip
        print(report(what, [getattr(one, name) for one in times.opened]))
    later = [one.charts - one.texts for one in times.opened]
    print(report(f"  from the texts to the three charts, budget {CHARTS_LATER} ms", later))
    print(report("from a press of Compare to the first token", times.first))
    print(f"what-if over {times.steps} tokens, budget {BUDGET} ms")
    print(report("  everything in sight as the page opens", [seen for seen, _ in times.moved_folded]))
    print(report("  everything in sight with all unfolded", in_sight))
    print(report("  and the charts below", all_charts))
    print(report("  all of it in a tall window", [everything for _, everything in times.moved_tall]))
    bare, drawn = statistics.median(times.bare), statistics.median(times.drawn)
    print(f"a token of a long text: {drawn:.1f} ms, {drawn / bare:.2f} x without charts, budget {RATIO} x")


if __name__ == "__main__":
    main()
