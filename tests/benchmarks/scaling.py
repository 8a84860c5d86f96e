"""Measure what the cost of a comparison grows with, and how fast: `make bench-scaling`.

One quantity varies at a time: layers, vocabulary, prompt, new tokens, lanes. The comparison is timed against the model
itself: `generate` for one text, and for as many texts as there are lanes, in one batch. The points go into the results
and into a picture.
"""

import gc
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
import torch
from playwright.sync_api import sync_playwright
from plotly.subplots import make_subplots

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.benchmarks.results import ResultRow, publish
from tests.benchmarks.shapes import random_llama
from tests.benchmarks.speed import duet, ids_of
from tests.benchmarks.timing import Ratio, in_turn
from tests.browser.chromium import FLAGS, executable

PICTURE = Path(__file__).with_name("scaling.png")
SHAPE, DTYPE, ROUNDS = (512, 1536, 8, 4), "bfloat16", 3
AXES: Mapping[str, tuple[int, ...]] = {
    "layers": (6, 12, 30, 60),
    "vocabulary": (2_000, 8_000, 32_000, 150_000),
    "prompt": (16, 128, 512, 2048),
    "new tokens": (8, 32, 128, 256),
    "lanes": (1, 2, 4, 8, 16),
}
USUAL = {"layers": 30, "vocabulary": 32_000, "prompt": 16, "new tokens": 16, "lanes": 2}
WAYS = {
    "stock": "generate, one text",
    "many": "generate, as many texts",
    "both": "comparison, no trace",
    "traced": "comparison, every layer traced",
}
LINES = {
    "stock": ("#999999", "dot"), "many": ("#444444", "dashdot"), "both": ("#0072B2", "solid"),
    "traced": ("#B8490B", "dash"),
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """The seconds of every way, in every round, at one value of what varies."""

    axis: str
    value: int
    times: Mapping[str, list[float]]


def batch(model: torch.nn.Module, prompt: list[int], new: int, rows: int) -> Callable[[], None]:
    """Greedy completions by `generate` of `rows` prompts of one length, in one batch."""
    ids = torch.tensor([prompt] * rows)
    ids[:, 0] += torch.arange(rows)

    def run() -> None:
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False)

    return run


def measured(axis: str, value: int) -> Point:
    """Time all ways with `axis` at `value` and the other quantities as in `USUAL`."""
    size = USUAL | {axis: value}
    model = random_llama(*SHAPE, DTYPE, layers=size["layers"], vocabulary=size["vocabulary"])
    prompt, new, lanes = ids_of(model, size["prompt"]), size["new tokens"], size["lanes"]
    ways = {
        "stock": batch(model, prompt, new, 1),
        "many": batch(model, prompt, new, lanes),
        "both": duet(model, prompt, new, lanes=lanes),
        "traced": duet(model, prompt, new, lanes=lanes, record=True),
    }
    times = in_turn(ways, ROUNDS, f"{axis} {value:,}")
    del model, ways
    gc.collect()
    return Point(axis, value, times)


def rows_of(points: list[Point]) -> list[ResultRow]:
    """The ratios, in the form of the other benchmarks."""
    name = f"30 layers of {SHAPE[0]}"
    rows = []
    for point in points:
        for way in ("both", "traced"):
            for against in ("stock", "many"):
                ratio = Ratio.of(point.times[way], point.times[against])
                what = f"{point.axis} {point.value:,}: {WAYS[way]}"
                rows.append(ResultRow(name, DTYPE, what, WAYS[against], ratio, None))
    return rows


def picture(points: list[Point]) -> go.Figure:
    """Seconds over each quantity, both on logarithmic axes, so that equal growth gives parallel lines."""
    figure = make_subplots(rows=1, cols=len(AXES), subplot_titles=list(AXES), horizontal_spacing=0.035)
    for column, axis in enumerate(AXES, 1):
        here = [point for point in points if point.axis == axis]
        for way, (color, dash) in LINES.items():
            figure.add_scatter(
                x=[point.value for point in here],
                y=[min(point.times[way]) for point in here],
                name=WAYS[way], line={"color": color, "dash": dash}, mode="lines+markers", showlegend=column == 1,
                row=1, col=column,
            )  # fmt: skip
        values = [point.value for point in here]
        texts = [f"{value // 1000}k" if value >= 2000 and axis == "vocabulary" else str(value) for value in values]
        figure.update_xaxes(type="log", tickvals=values, ticktext=texts, row=1, col=column)
    figure.update_yaxes(type="log", dtick="D1", gridcolor="#eee", tickfont={"size": 9})
    figure.update_yaxes(title_text="seconds a run", row=1, col=1)
    return figure.update_layout(
        template="simple_white", width=1400, height=360, margin={"t": 40, "b": 60, "l": 60, "r": 10},
        legend={"orientation": "h", "y": -0.14, "x": 0}, font={"family": "sans-serif"},
    )  # fmt: skip


def save(figure: go.Figure, path: Path) -> None:
    """Save the figure as a PNG, drawn by Chromium."""
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=executable(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": figure.layout.width, "height": figure.layout.height})
        page.set_content(figure.to_html(include_plotlyjs=True, config={"staticPlot": True}, full_html=True))
        page.locator(".main-svg").first.wait_for()
        page.screenshot(path=path)
        browser.close()


def main() -> None:
    """Measure every point, keep the ratios, and draw the picture."""
    points = [measured(axis, value) for axis, values in AXES.items() for value in values]
    publish(rows_of(points), "make bench-scaling")
    save(picture(points), PICTURE)


if __name__ == "__main__":
    main()
