"""Where the page's own files lie: one place to change when a file moves."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE_FILES = ROOT / "assets" / "page"
"""The script and the style sheet that the browser loads."""
PICTURES = ROOT / "assets" / "pictures"
PLOTLY_JS = ROOT / "assets" / "plotly" / "plotly.min.js"
"""Plotly as it is published for charts with two axes, a third of the whole: npm's `plotly.js-cartesian-dist-min`."""
WORDS = ROOT / "assets" / "words"
"""The words of every language."""
MODELS = ROOT / "assets" / "models"
"""A folder for each model that the project knows, with all that is known about it."""
SETTINGS_FILE = ROOT / "settings.env"
"""Settings that a folder brings along, such as one that was put together for a Space. It need not be there."""
