"""Make the README's pictures, and the one that is shown with a link to the page: `make screenshots`.

Serves SmolLM2 and photographs the page as it opens: in light, in dark, at phone width, and small.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.browser.chromium import FLAGS, executable
from tests.server import ROOT, start

SHOTS = {
    "light": ("light", 1440, 900, False),
    "dark": ("dark", 1440, 900, False),
    "phone": ("light", 390, 844, True),
    "preview": ("light", 1200, 630, False),
}
"""{picture: (theme, width, height, whether the whole page is on it)}"""


def main() -> None:
    """Write the pictures beside this file."""
    models = ("--model", "smollm2", "--model", "atlas-30l")
    command = [sys.executable, "app.py", *models, "--device", "cpu", "--dtype", "float32"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
    with (
        start(command, ROOT, environment) as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable(), args=list(FLAGS)) as browser,
    ):
        for name, (theme, width, height, whole) in SHOTS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"{server.url}?__theme={theme}")
            page.wait_for_selector(".duet-inbox[lang]")
            for chart in ("plausible-head", "layers", "map"):
                page.wait_for_selector(f"#{chart} .main-svg")
            page.wait_for_timeout(1000)
            page.screenshot(path=str(Path(__file__).with_name(f"{name}.png")), full_page=whole)
            print(f"assets/pictures/{name}.png")


if __name__ == "__main__":
    main()
