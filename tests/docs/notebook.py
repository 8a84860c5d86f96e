"""Run the notebook of docs/ and write it with its outputs: `make notebook`.

Outputs are those that anybody gets: without times, progress bars and Plotly's own script. Charts have a picture as
well, drawn in Chromium, since GitHub runs no script.
"""

import base64
import json
import os
import sys
from pathlib import Path

import nbformat
import plotly.io
from nbclient import NotebookClient
from nbformat import NotebookNode
from playwright.sync_api import sync_playwright

from tests.browser.chromium import FLAGS, executable

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"
CHART = "application/vnd.plotly.v1+json"
OFFLINE = {"HF_HUB_OFFLINE": "1", "PLOTLY_RENDERER": "plotly_mimetype"}


def executed(file: Path) -> NotebookNode:
    """The notebook with the outputs of a run in its own folder; raises where a cell does."""
    notebook = nbformat.read(file, as_version=4)
    os.environ.update(OFFLINE)
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )  # fmt: skip
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return notebook


def add_pictures(notebook: NotebookNode) -> None:
    """Give each chart a picture of itself."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 720, "height": 600})
        for cell in notebook.cells:
            for output in cell.get("outputs", ()):
                if chart := output.get("data", {}).get(CHART):
                    figure = plotly.io.from_json(json.dumps(chart))
                    page.set_content(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}))
                    drawn = page.locator(".js-plotly-plot").first
                    drawn.locator(".main-svg").first.wait_for()
                    output.data["image/png"] = base64.b64encode(drawn.screenshot()).decode() + "\n"
        browser.close()


def main() -> None:
    """Write the notebook, with its outputs, to the file that is named; to itself if none is."""
    notebook = executed(NOTEBOOK)
    if len(sys.argv) > 1:
        nbformat.write(notebook, sys.argv[1])
        return
    add_pictures(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
