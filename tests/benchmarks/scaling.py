"""How the cost of a token grows with each size: `make bench-scaling`. Draws `scaling.png`.

Milliseconds a token after the first, of one plain completion, of both in lock step, and with every layer traced.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright
from plotly.subplots import make_subplots
from transformers import PreTrainedModel

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.benchmarks.shapes import random_llama  # noqa: E402
from tests.benchmarks.speed import duet, ids_of, stock  # noqa: E402
from tests.benchmarks.timing import in_turn  # noqa: E402
from tests.browser.chromium import FLAGS, executable  # noqa: E402

SHAPE = (256, 768, 4, 4)
USUAL = {"layers": 30, "vocabulary": 16_384, "prompt": 16, "new": 32, "lanes": 2}
SIZES = {
    "layers": (6, 15, 30, 60),
    "vocabulary": (2_048, 16_384, 49_152, 150_000),
    "prompt": (16, 128, 512, 2_048),
    "new": (8, 32, 128, 512),
    "lanes": (1, 2, 4, 8),
}
ROUNDS = 3
WAYS = {"plain": "one plain completion", "both": "all lanes", "traced": "all lanes, traced"}
COLOURS = {"plain": "#0072B2", "both": "#B8490B", "traced": "#4A4A52"}


def per_token(model: PreTrainedModel, case: dict[str, int], name: str) -> dict[str, float]:
    """Milliseconds a token after the first."""
    prompt = ids_of(model, case["prompt"])
    ways = {}
    for new in (1, case["new"]):
        ways |= {
            f"plain {new}": stock(model, prompt, new),
            f"both {new}": duet(model, prompt, new, lanes=case["lanes"]),
            f"traced {new}": duet(model, prompt, new, lanes=case["lanes"], record=True),
        }
    times = {way: statistics.median(taken) for way, taken in in_turn(ways, ROUNDS, name).items()}
    return {way: 1e3 * (times[f"{way} {case['new']}"] - times[f"{way} 1"]) / (case["new"] - 1) for way in WAYS}


def measured() -> Iterator[tuple[str, int, dict[str, float]]]:
    """Every size in turn, all others as usual."""
    for size, values in SIZES.items():
        for value in values:
            case = USUAL | {size: value}
            model = random_llama(*SHAPE, "float32", layers=case["layers"], vocabulary=case["vocabulary"])
            found = per_token(model, case, f"{size} {value:,}")
            print(f"{size} {value:,}: " + ", ".join(f"{way} {ms:.2f} ms" for way, ms in found.items()), flush=True)
            yield size, value, found


def drawn(points: list[tuple[str, int, dict[str, float]]]) -> go.Figure:
    """One small chart a size, on logarithmic axes, where what grows in step is a straight line."""
    figure = make_subplots(rows=1, cols=len(SIZES), subplot_titles=list(SIZES))
    for column, size in enumerate(SIZES, start=1):
        here = [(value, found) for name, value, found in points if name == size]
        for way, label in WAYS.items():
            line: dict[str, Any] = {"color": COLOURS[way], "dash": "solid" if way == "plain" else "dash"}
            xs, ys = [value for value, _ in here], [found[way] for _, found in here]
            trace = go.Scatter(x=xs, y=ys, name=label, line=line, mode="lines+markers", showlegend=column == 1)
            figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(type="log", tickvals=list(SIZES[size]), row=1, col=column)
    figure.update_yaxes(type="log", rangemode="tozero")
    figure.update_yaxes(title="ms a token", row=1, col=1)
    return figure.update_layout(width=1500, height=380, template="plotly_white", legend={"orientation": "h", "y": -0.2})


def main() -> None:
    """Measure, and draw."""
    figure = drawn(list(measured()))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder, "scaling.html")
        figure.write_html(page_file, include_plotlyjs=True)
        browser = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1520, "height": 420})
        page.goto(page_file.as_uri())
        page.wait_for_selector(".main-svg")
        page.screenshot(path=str(Path(__file__).with_name("scaling.png")))
        browser.close()


if __name__ == "__main__":
    main()
