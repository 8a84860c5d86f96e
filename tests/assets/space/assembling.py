"""Put a Space together as `make space` does, and read what it holds."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.server import ROOT

SCRIPT = ROOT / "assets" / "space" / "build.py"
HUB_MODEL = "HuggingFaceTB/SmolLM2-135M"
"""The model of the Space on ZeroGPU."""


def assemble(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script with the standard library alone."""
    return subprocess.run([sys.executable, "-I", "-S", SCRIPT, *arguments], capture_output=True, text=True)


def tree(folder: Path) -> dict[str, bytes]:
    """{path in the folder: content} of every file."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def front_matter(folder: Path) -> dict[str, Any]:
    """The front matter of a Space's README."""
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
