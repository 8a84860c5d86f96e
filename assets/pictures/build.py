"""Make the README's pictures from the real page: `make screenshots`.

Serves the shipped model, runs one comparison and photographs it in light, dark and at phone width.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.browser.chromium import FLAGS, executable  # noqa: E402

PROMPT = "Tell me something about Brazil."
SHOTS = {"light": ("light", 1280), "dark": ("dark", 1280), "phone": ("light", 390)}


def main() -> None:
    """Write light.png, dark.png and phone.png beside this file."""
    command = [sys.executable, "app.py", "--device", "cpu", "--dtype", "float32"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next(m[1] for line in server.stdout if (m := re.search(r"local URL:\s+(http://\S+)", line)))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
                for name, (theme, width) in SHOTS.items():
                    page = browser.new_page(viewport={"width": width, "height": 900})
                    page.goto(f"{url.rstrip('/')}/?__theme={theme}")
                    page.fill("#prompt textarea", PROMPT)
                    page.click("#compare")
                    page.wait_for_selector("#sweep .main-svg")
                    page.wait_for_timeout(1000)
                    page.screenshot(path=str(Path(__file__).with_name(f"{name}.png")), full_page=True)
                    print(f"assets/pictures/{name}.png")
                browser.close()
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
