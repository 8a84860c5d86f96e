"""DoLa Duet: `python app.py` serves the page; `python app.py --help` lists the options.

Also a Hugging Face Space's `app_file`, where the environment sets the options (`DOLA_MODEL`, …).
"""

import os
import sys

# Before gradio is imported: no telemetry, no version check, no request when the page loads.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from app.server.lifetime.ending import Ending

ENDING = Ending()
if __name__ == "__main__":
    ENDING.watch()  # before anything that takes long: a signal is heeded from here on

from app.server.lifetime.address import server_name  # noqa: E402
from app.server.lifetime.starting import prepare  # noqa: E402
from app.settings import Settings, read_settings  # noqa: E402

# Settings first: --help, a mistyped option and a taken port answer at once, not after PyTorch has been imported.
SETTINGS = read_settings(sys.argv[1:] if __name__ == "__main__" else [])
if __name__ == "__main__":
    prepare(ENDING, SETTINGS)

from app.jobs.allocator import freeze_startup_objects, limit_heaps  # noqa: E402
from app.jobs.engine_pool import load_pool  # noqa: E402
from app.jobs.queue.listeners import Listeners  # noqa: E402
from app.page import GRADIO_QUEUE, build, served, threads  # noqa: E402
from app.server import log_lines  # noqa: E402
from app.server.bounds.connections import install as bound_connections  # noqa: E402
from app.server.lifetime.tunnels import close_tunnels  # noqa: E402
from dola_core.errors import LoadError, UnsupportedModelError  # noqa: E402

SESSIONS = 10_000
"""Visitors who are remembered, far more than `app/server/bounds` lets in."""


def launch(settings: Settings, *, block: bool = True) -> str:
    """Load the model, serve the page and return its address; with `block`, only after it was shut down.

    Raises `LoadError` if the first model cannot be loaded, and `UnsupportedModelError` if it cannot be compiled.
    """
    log_lines.install(debug=settings.debug)
    limit_heaps()
    # From here uvicorn takes whose X-Forwarded-For it believes: by itself, that of every program on this machine.
    os.environ["FORWARDED_ALLOW_IPS"] = settings.trusted_proxies or os.environ.get("FORWARDED_ALLOW_IPS", "")
    pool = load_pool(settings)
    listeners = Listeners()
    page = build(pool, settings, listeners)
    # As Gradio reads it, where an empty name is every address of this machine.
    bind = settings.host or os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    how = served(page, pool, settings, listeners, bind)
    bound_connections()
    freeze_startup_objects()
    ENDING.do_last(close_tunnels)
    _, address, _ = page.queue(max_size=GRADIO_QUEUE).launch(
        max_threads=threads(settings),
        server_name=server_name(settings.host),
        server_port=settings.port,
        share=settings.share,
        inbrowser=settings.open_browser,
        state_session_capacity=SESSIONS,
        prevent_thread_lock=not block,
        **how,
    )
    return address


def main() -> None:
    """Serve the page until a signal ends the program; a model that cannot be loaded ends in one sentence."""
    try:
        launch(SETTINGS)
    except (LoadError, UnsupportedModelError, OSError) as error:  # OSError: gradio says which port is taken
        print(f"app.py: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
