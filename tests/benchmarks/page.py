"""How long the page takes, measured in Chromium: `make bench-page`.

From a move of the j* slider to the painted page, every chart, strip and sentence included: the what-if.
"""

import re
import statistics
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.browser.chromium import FLAGS, executable  # noqa: E402

PROMPT = "Here are some facts about Australia."
MOVES = 40
BUDGET = 150
MOVE = """layer => new Promise(painted => {
    const slider = document.querySelector("#layer input[type=range]");
    const charts = [...document.querySelectorAll(".duet-chart .plot")];
    const drawn = charts.map(chart => new Promise(done => chart.once("plotly_afterplot", done)));
    const start = performance.now();
    slider.value = layer;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    Promise.all(drawn).then(() =>
        requestAnimationFrame(() => requestAnimationFrame(() => painted(performance.now() - start))));
})"""


def what_ifs(page: Page) -> list[float]:
    """Milliseconds from each of `MOVES` moves of the slider to the painted page."""
    layers = [1 + (7 * n) % 29 for n in range(MOVES)]
    return [page.evaluate(MOVE, layer) for layer in tqdm(layers, desc="what-ifs")]


def main() -> None:
    """Serve the page, compare once with 64 tokens, and move j*."""
    command = [sys.executable, "app.py", "--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next(m[1] for line in server.stdout if (m := re.search(r"local URL:\s+(http://\S+)", line)))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(f"{url}?prompt={PROMPT}&new=64&t=1&seed=1")
                page.click("#compare")
                page.wait_for_selector("#sweep .main-svg", timeout=120_000)
                page.wait_for_timeout(1000)
                steps = page.locator(".lane [data-index]").count()
                times = what_ifs(page)
                browser.close()
        finally:
            server.terminate()
    quantiles = statistics.quantiles(times, n=20)
    print(
        f"what-if over {steps} tokens: median {statistics.median(times):.0f} ms, 95 % under {quantiles[-1]:.0f} ms, "
        f"most {max(times):.0f} ms; budget {BUDGET} ms"
    )


if __name__ == "__main__":
    main()
