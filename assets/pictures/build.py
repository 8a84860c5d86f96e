"""Make the README's pictures from the real page: `make screenshots`.

Serves SmolLM2, completes one prompt and photographs it in light, dark and at phone width.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.browser.chromium import FLAGS, executable
from tests.server import ROOT, start

PROMPT = "The capital of Australia is"
SHOTS = {"light": ("light", 1280), "dark": ("dark", 1280), "phone": ("light", 390)}


def main() -> None:
    """Write light.png, dark.png and phone.png beside this file."""
    models = ("--model", "smollm2", "--model", "atlas-30l")
    command = [sys.executable, "app.py", *models, "--device", "cpu", "--dtype", "float32"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
    with (
        start(command, ROOT, environment) as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable(), args=list(FLAGS)) as browser,
    ):
        for name, (theme, width) in SHOTS.items():
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.goto(f"{server.url}?__theme={theme}")
            page.wait_for_selector(".duet-inbox[lang]")
            page.click("#mode label:has(input[value=complete])")
            page.fill("#prompt textarea", PROMPT)
            page.click("#compare")
            page.wait_for_selector("#changed-by-layer .main-svg")
            page.wait_for_timeout(1000)
            page.screenshot(path=str(Path(__file__).with_name(f"{name}.png")), full_page=True)
            print(f"assets/pictures/{name}.png")


if __name__ == "__main__":
    main()
