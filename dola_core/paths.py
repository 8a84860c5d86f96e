"""Where the project's own files lie, seen from this package."""

from pathlib import Path

SHIPPED_MODEL = Path(__file__).resolve().parents[1] / "assets" / "models" / "atlas-30l"
"""The model that comes with the repository. An installed package has none."""
