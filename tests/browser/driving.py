"""What a person does on the page and waits for, as steps of the browser tests."""

import re

from playwright.sync_api import Locator, Page, expect

LANES = (".lane.base", ".lane.dola")
CHARTS = ("#plausible-head", "#layers", "#map")
"""The charts that are in sight from the first."""
FOLDS = {"heat": ("#heat-base", "#heat-dola"), "changed": ("#changed-by-layer",), "divergence": ("#divergence",)}
"""{folded part: its charts}"""
expect.set_options(timeout=30_000)


def arrive(page: Page, url: str) -> None:
    """Open the page and wait until it knows its language: leaving before is an error to Gradio."""
    page.goto(url)
    page.wait_for_selector(".duet-inbox[lang]")


def compare(page: Page, prompt: str | None = None) -> None:
    """Type a prompt and press Compare; what was shown before is marked, so that `finished` knows it."""
    if prompt is not None:
        page.fill("#prompt textarea", prompt)
    mark_shown(page)
    page.evaluate(WATCH_STOP)
    page.click("#compare")


WATCH_STOP = """() => {
    window.stopWasShown = false;
    const look = (_, watch) => {
        if (!document.querySelector("#stop")?.checkVisibility()) return;
        window.stopWasShown = true;
        watch.disconnect();
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true, attributes: true });
}"""
"""Notes when Stop comes into sight, however short: an answer that comes late, such as a slider's, may draw the texts of
the run before once more, without their marks."""


def mark_shown(page: Page) -> None:
    """Mark the texts that are shown, which the next ones replace."""
    page.evaluate("() => document.querySelectorAll('.lane').forEach(lane => (lane.dataset.old = 1))")


def ending(page: Page, lane: str = ".lane.dola") -> Locator:
    """What a lane of the last run says of its end, not of an earlier run's, which stays in sight meanwhile."""
    return page.locator(f"{lane}:not([data-old]) .end")


def finished(page: Page) -> None:
    """Wait until both lanes of the last run say why they ended, nothing runs, and the charts are drawn."""
    page.wait_for_function("() => window.stopWasShown !== false")
    for lane in LANES:
        expect(ending(page, lane)).to_be_visible()
    expect(page.locator("#compare")).to_be_visible()
    for chart in CHARTS:
        expect(page.locator(f"{chart} .main-svg").first).to_be_visible()


def at_step(page: Page, step: int) -> None:
    """Wait until the page shows a step, counted from 1."""
    expect(page.locator(".duet-bar")).to_contain_text(re.compile(rf"\bstep {step} of|第 {step} /"))


def step_of(page: Page) -> int:
    """The step that the page shows."""
    return int(re.search(r"\d+", page.locator(".duet-bar .pair").first.inner_text())[0])


def unfold(page: Page, *names: str) -> None:
    """Open folded parts of the page, by default all, and wait for their charts."""
    for name in names or FOLDS:
        button = page.locator(f".duet-folds [data-name={name}]")
        if button.get_attribute("aria-expanded") == "false":
            button.click()
        for chart in FOLDS[name]:
            expect(page.locator(f"{chart} .main-svg").first).to_be_visible()


def as_tokens(page: Page) -> None:
    """Show the texts token by token."""
    page.locator(".views button").nth(1).click()
    expect(page.locator(".strip.tokens").first).to_be_visible()


def texts(page: Page) -> list[str]:
    """The texts of the first two lanes, without the prompt."""
    return ["".join(page.locator(f"{lane} .t[data-index]").all_inner_texts()) for lane in LANES]


def set_slider(page: Page, name: str, value: float) -> None:
    """Set a slider of the bar by its number field."""
    field = page.locator(f"#{name} input[type=number]")
    field.fill(str(value))
    field.press("Enter")


def decoding(page: Page, **values: float) -> None:
    """Open the section on decoding and set sliders by their label."""
    page.locator("#decoding > button").click()
    expect(page.get_by_label("number input for beams")).to_be_visible()
    for label, value in values.items():
        set_number(page, label, value)


SUMMED = {"new tokens": "{} token", "temperature": "sampled at {}", "beams": "{} beams"}
"""{label of a slider: what the section's title says of its value}"""


def set_number(page: Page, label: str, value: float) -> None:
    """Set a slider of the open section on decoding by its number field.

    The section's title says when the page knows the value: a section that has just been opened may lose what is set.
    """
    field = page.get_by_label(re.compile(f"number input for {label}")).first
    slider = page.get_by_label(re.compile(f"range slider for {label}")).first
    said = SUMMED.get(label, "").format(f"{value:g}") if value not in (0, 1) else ""
    for patience in (3_000, 3_000, 30_000):
        field.fill(str(value))
        field.press("Enter")
        try:
            expect(slider).to_have_value(str(value), timeout=patience)
            if not (label == "temperature" and "beams" in title_of(page)):  # beams are named first
                expect(page.locator("#decoding > button")).to_contain_text(said, timeout=patience)
        except AssertionError:
            if patience == 30_000:
                raise
        else:
            return


def title_of(page: Page) -> str:
    """What the section on decoding says of itself."""
    return page.locator("#decoding > button").inner_text()


def stop_once_it_writes(page: Page, token: int = 0) -> None:
    """Press Stop within the page as soon as a token is there: a click from outside may come when the run is over."""
    page.wait_for_function(
        """token => document.querySelector(".lane.dola .caret")
            && document.querySelector(`.lane.dola .t[data-index='${token}']`)
            && (document.querySelector("#stop").click(), true)""",
        arg=token,
    )


def choose(page: Page, field: str, title: str) -> None:
    """Choose from a menu of a pane, or of models."""
    page.click(f"#{field} input")
    page.get_by_role("option", name=title, exact=True).click()


def drawn(page: Page, chart: str) -> Locator:
    """A chart, in sight and drawn of what the page says."""
    page.locator(f"{chart} .plot").scroll_into_view_if_needed()
    plot = page.locator(f"{chart} .plot:not([aria-busy])")
    expect(plot).to_be_visible()
    return plot


def click_point(page: Page, chart: str, x: float, y: float, *, axes: str = "") -> None:
    """Click into a chart at the place of its data coordinates (a category by its number)."""
    place = drawn(page, chart).evaluate(
        """(plot, [x, y, axes]) => {
            const layout = plot._fullLayout, box = plot.getBoundingClientRect();
            const across = layout[`xaxis${axes}`], up = layout[`yaxis${axes}`];
            return [box.x + across._offset + across.l2p(x), box.y + up._offset + up.l2p(y)];
        }""",
        [x, y, axes],
    )
    page.mouse.move(*place)
    page.mouse.click(*place)
