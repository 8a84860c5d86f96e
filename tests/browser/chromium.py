"""Find a Chromium for the browser tests, or get one: run as a script, it installs one if none is there."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> str | None:
    """Path of the system's Chromium, or None for the one Playwright downloads itself."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install() -> None:
    """Debian's package where that can be had, Playwright's own download elsewhere."""
    try:
        _install_package()
    except (OSError, subprocess.CalledProcessError):
        system = ["--with-deps"] if os.geteuid() == 0 else []
        subprocess.run([sys.executable, "-m", "playwright", "install", *system, "chromium"], check=True)


def _install_package() -> None:
    if os.geteuid() != 0:
        raise PermissionError("only root installs packages")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "-qq", "update"], **quiet)
    packages = ["chromium", "fonts-dejavu-core"]
    subprocess.run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages], **quiet)


if __name__ == "__main__" and executable() is None:
    install()
