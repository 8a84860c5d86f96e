"""A new environment with what a Space installs, without unpacking again what is installed here."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def make_environment(folder: Path, requirements: list[str]) -> Path:
    """The Python of a new environment in `folder` that has `requirements`, what they require, and nothing else.

    What this environment has of them is linked, file by file; pip checks that and installs the rest.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    for package in closure(requirements):
        link(package, packages)
    # What is imported is compiled anyway; to compile everything takes longer than to install it.
    pip = [python, "-m", "pip", "install", "--no-compile", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *requirements], check=True)
    return python


def closure(requirements: list[str]) -> Iterator[Distribution]:
    """The packages that are installed here of `requirements` and of what these require, each once."""
    waiting, seen = [Requirement(text) for text in requirements], set()
    while waiting:
        requirement = waiting.pop()
        key = requirement.name.lower().replace("_", "-"), frozenset(requirement.extras)
        try:
            package = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        if key in seen or not requirement.specifier.contains(package.version, prereleases=True):
            continue
        if not any(name == key[0] for name, _ in seen):
            yield package
        seen.add(key)
        extras = requirement.extras or {""}
        for inner in map(Requirement, package.requires or ()):
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(inner)


def link(package: Distribution, packages: Path) -> None:
    """Link a package's files into `packages`. They are links to files, so that pip may remove them there."""
    for file in package.files or ():
        if ".." in file.parts or "__pycache__" in file.parts:
            continue
        source, target = Path(file.locate()), packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError:
            pass
        except OSError:  # on another file system
            shutil.copy2(source, target)
