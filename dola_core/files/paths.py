"""Where the repository's own files lie, seen from this package. An installed package has none of them."""

from pathlib import Path

KNOWN_MODELS = Path(__file__).resolve().parents[2] / "assets" / "models"
"""A folder for each model that the project knows, with all that is known about it."""
SHIPPED_MODEL = KNOWN_MODELS / "atlas-30l"
