"""The programs that carry gradio.live links, which Gradio ends only where Python ends by itself."""

from contextlib import suppress
from subprocess import Popen
from typing import cast

from gradio.tunneling import CURRENT_TUNNELS


def close_tunnels() -> None:
    """End them; unlike Gradio's own function, without a line for each."""
    for tunnel in CURRENT_TUNNELS:
        process = cast("Popen[bytes] | None", tunnel.proc)
        if process is not None:
            with suppress(OSError):
                process.terminate()
