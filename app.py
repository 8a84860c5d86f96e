"""DoLa Duet: `python app.py` serves the page; `python app.py --help` lists the options.

Also a Hugging Face Space's `app_file`, where the environment sets the options (`DOLA_MODEL`, …).
"""

import os
import sys
from collections.abc import Callable

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

from starlette.middleware import Middleware  # noqa: E402

from app.jobs.allocator import freeze_startup_objects, limit_heaps  # noqa: E402
from app.jobs.engine_pool import EnginePool  # noqa: E402
from app.jobs.queue.listeners import Listeners  # noqa: E402
from app.jobs.queue.run_queue import SPARE  # noqa: E402
from app.jobs.zero_gpu import ZERO_GPU  # noqa: E402
from app.page import FRAME, NAME, build, first_paints  # noqa: E402
from app.server import log_lines  # noqa: E402
from app.server.allowed import Allowed, Hosts  # noqa: E402
from app.server.bounds.bounds import Bounds  # noqa: E402
from app.server.bounds.connections import install as bound_connections  # noqa: E402
from app.server.front_page import FrontPage  # noqa: E402
from app.server.guard import MAX_UPLOAD, Guard  # noqa: E402
from app.server.lifetime.tunnels import close_tunnels  # noqa: E402
from app.server.listening import Listening  # noqa: E402
from app.ui.components import routes  # noqa: E402
from app.ui.theme import css, style, theme  # noqa: E402
from dola_core.decoding.engine import Engine  # noqa: E402
from dola_core.errors import LoadError, UnsupportedModelError  # noqa: E402
from dola_core.models.loading import Stage, load_model  # noqa: E402
from dola_core.models.sources.smollm2 import NAME as SMOLLM2  # noqa: E402
from dola_core.models.sources.smollm2 import is_here as smollm2_is_here  # noqa: E402
from dola_core.models.sources.source import ATLAS, listed, title  # noqa: E402

THREADS = 40
"""Threads for requests that do not wait in the queue before the model."""
GRADIO_QUEUE = 1000
"""Events that Gradio's own queue takes, far more than `app/server/bounds` lets in."""
SESSIONS = 10_000
"""Visitors who are remembered, far more than `app/server/bounds` lets in."""


def load_pool(settings: Settings) -> EnginePool:
    """The models of the settings, the first of them loaded; on ZeroGPU, where a GPU comes and goes, all of them.

    Where the first cannot be loaded, the page comes up on the next one, and the others stay in its menu, since what was
    missing may be there later. Raises `LoadError` if none can be loaded.
    """

    def load(name: str, on_stage: Callable[[Stage], None]) -> Engine:
        loaded = load_model(
            places[name],
            settings.device,
            settings.dtype,
            quantize=settings.quantize,
            gpu_later=ZERO_GPU,
            on_stage=on_stage,
        )
        if settings.compile:
            on_stage("compiling")
            print(f"app.py: compiling {title(name)}, which takes a minute or two …", file=sys.stderr, flush=True)
        return Engine(loaded, compiled=settings.compile)

    names = settings.names or ((SMOLLM2, ATLAS) if smollm2_is_here() else (ATLAS,))
    places = listed(names)
    left, refused = list(places), list[str]()
    while True:
        titles = [(name, title(name)) for name in (*left, *refused)]
        # A compiled model stays, for its step holds weights of its own that nothing frees.
        most = len(titles) if ZERO_GPU or settings.compile else settings.max_loaded
        pool = EnginePool(titles, load, most)
        try:
            for name in left if ZERO_GPU else left[:1]:
                pool.get(name)
            return pool
        except LoadError as error:
            left.remove(name)
            if not left:
                raise
            refused.append(name)
            print(f"app.py: {error} The page comes up on {title(left[0])}.", file=sys.stderr)


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
    hosts = Hosts.of(bind, settings.allowed_hosts, os.environ.get("SPACE_HOST", ""))
    allowed = Middleware(Allowed, hosts=hosts, shared=lambda: page.share_url)
    front = Middleware(FrontPage, title=NAME, style=css(), paints=first_paints(pool))
    guard = Middleware(Guard, bounds=Bounds(listeners=listeners))
    bound_connections()
    freeze_startup_objects()
    ENDING.do_last(close_tunnels)
    # A run that waits in the queue holds a thread; looking at recorded traces takes further ones.
    _, address, _ = page.queue(max_size=GRADIO_QUEUE).launch(
        max_threads=settings.max_rows + settings.queue_size + SPARE + THREADS,
        server_name=server_name(settings.host),
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
        app_kwargs={
            "routes": routes(),
            "middleware": [allowed, guard, Middleware(Listening, listeners=listeners), front],
        },
        prevent_thread_lock=not block,
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
