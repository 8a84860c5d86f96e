"""Run a comparison for each of many prompts, several of them in one forward pass."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine
from dola_core.errors import PromptError
from dola_core.many_prompts.rows import PromptRow
from dola_core.trace.recorder import Recorder
from dola_core.trace.schema import Trace

MakeComparison = Callable[[str], Comparison]
MAX_ROWS = 16
"""Texts that are decoded together, if nothing else is asked for."""


def run_prompts(
    engine: Engine,
    prompts: Sequence[tuple[int, str]],
    comparison_of: MakeComparison,
    settings: str,
    *,
    max_rows: int = MAX_ROWS,
) -> Generator[tuple[PromptRow, Trace | None], None, None]:
    """Run the numbered prompts; yields each row in their order, and its trace if the prompt could be run.

    Each prompt is read whole, without a KV cache of those before it. Prompts that are decoded together do not see each
    other either, but the last bits of their numbers depend on how many there are, which may decide between two equal
    tokens.

    Args:
        engine: the model. One that does not `decodes_together` runs the prompts one after another.
        prompts: (number from 1, text) of each.
        comparison_of: the comparison of a prompt; a `PromptError` that it raises becomes the row's `error`.
        settings: as `settings_digest` returns it.
        max_rows: as many prompts are run at once as have so many lanes in all, or one.

    An error of any other kind, such as memory that has run out, ends all of it. The iterator may be abandoned.
    """
    stopped = threading.Event()

    def run(number: int, prompt: str) -> tuple[PromptRow, Trace | None] | None:
        try:
            trace = _trace(engine, comparison_of(prompt), stopped)
        except PromptError as error:
            return PromptRow(number=number, settings=settings, prompt=prompt, error=str(error)), None
        if trace is None:
            return None
        return PromptRow.of(number, settings, trace).model_copy(update={"prompt": prompt}), trace

    lanes = _lanes_of(prompts, comparison_of)
    at_once = max(1, max_rows // lanes) if engine.decodes_together else 1
    threads = ThreadPoolExecutor(at_once)
    under_way: deque[Future[tuple[PromptRow, Trace | None] | None]] = deque()
    try:
        for number, prompt in prompts:
            under_way.append(threads.submit(run, number, prompt))
            if len(under_way) >= 2 * at_once and (done := under_way.popleft().result()):
                yield done
        while under_way:
            if done := under_way.popleft().result():
                yield done
    finally:
        stopped.set()
        threads.shutdown(cancel_futures=True)


def _trace(engine: Engine, comparison: Comparison, stopped: threading.Event) -> Trace | None:
    """Everything recorded of a comparison, or None if it was stopped before its end."""
    comparison = engine.fitted(comparison)
    recorder = Recorder(comparison, engine.loaded.info)
    for output in engine.compare(comparison, together=True, text_first=True):
        recorder.add(output.tokens, output.ends, output.steps)
        if stopped.is_set():
            return None
    return recorder.trace(engine.loaded.piece, engine.loaded.text)


def _lanes_of(prompts: Sequence[tuple[int, str]], comparison_of: MakeComparison) -> int:
    """How many lanes each prompt has; 1 if none can be run."""
    for _, prompt in prompts:
        try:
            return len(comparison_of(prompt).lanes)
        except PromptError:
            continue
    return 1
