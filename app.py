"""DoLa Duet: `python app.py` serves the page on the shipped model; `python app.py --help` lists the options.

Also a Hugging Face Space's `app_file`, where the environment sets the options (`DOLA_MODEL`, …).
"""

import os
import sys

# Before gradio is imported: no telemetry, no version check, no request when the page loads.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from app.settings import Settings, read_settings

# Settings first: --help and a mistyped option answer at once, not after PyTorch has been imported.
SETTINGS = read_settings(sys.argv[1:] if __name__ == "__main__" else [])

from starlette.middleware import Middleware  # noqa: E402

from app.jobs.allocator import freeze_startup_objects, limit_heaps  # noqa: E402
from app.jobs.run_queue import SPARE  # noqa: E402
from app.jobs.zero_gpu import ZERO_GPU  # noqa: E402
from app.page import FRAME, build  # noqa: E402
from app.server.guard import MAX_UPLOAD, Guard  # noqa: E402
from app.ui.components import routes  # noqa: E402
from app.ui.theme import style, theme  # noqa: E402
from dola_core.decoding.engine import Engine  # noqa: E402
from dola_core.errors import LoadError, UnsupportedModelError  # noqa: E402
from dola_core.models.loading import load_model  # noqa: E402

THREADS = 40
"""Threads for requests that do not wait in the queue before the model."""
SESSIONS = 128
"""Visitors whose runs are remembered, at most some 20 MB each; the least recently active one is forgotten first."""


def launch(settings: Settings, *, block: bool = True) -> str:
    """Load the model, serve the page and return its address; with `block`, only after it was shut down.

    Raises `LoadError` if the model cannot be loaded, and `UnsupportedModelError` if it cannot be compiled.
    """
    limit_heaps()
    loaded = load_model(settings.model, settings.device, settings.dtype, gpu_later=ZERO_GPU)
    page = build(Engine(loaded, compiled=settings.compile), settings)
    freeze_startup_objects()
    # A run that waits in the queue holds a thread; looking at recorded traces takes further ones.
    _, address, _ = page.queue(max_size=settings.queue_size).launch(
        max_threads=settings.max_concurrent + settings.queue_size + SPARE + THREADS,
        server_name=settings.host,
        server_port=settings.port,
        share=settings.share,
        inbrowser=settings.open_browser,
        theme=theme(),
        css=style(),
        head=FRAME,
        footer_links=[],
        mcp_server=settings.mcp,
        run_history=False,
        enable_monitoring=False,
        max_file_size=MAX_UPLOAD,
        state_session_capacity=SESSIONS,
        app_kwargs={"routes": routes(), "middleware": [Middleware(Guard)]},
        prevent_thread_lock=not block,
    )
    return address


def main() -> None:
    """Serve the page until interrupted; a model that cannot be loaded ends in one sentence."""
    try:
        launch(SETTINGS)
    except (LoadError, UnsupportedModelError, OSError) as error:  # OSError: gradio says which port is taken
        print(f"app.py: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
