"""What the tab shows while a search waits and runs, and when it has ended."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import gradio as gr

from app.jobs.layer_search import SearchBegun, SearchUpdate
from app.jobs.model_pool import Loading
from app.jobs.queue.run_queue import Waiting
from app.jobs.request import Limits
from app.language import Language
from app.render.figures import curve_card
from app.tabs.search.components import SearchTab
from app.tabs.search.pace import spoken_time
from app.ui.events import Changes


def progress(
    tab: SearchTab,
    updates: Generator[Waiting | Loading | SearchBegun | SearchUpdate, None, None],
    cancelled: Callable[[], bool],
    limits: Limits,
    words: Language,
) -> Iterator[Changes]:
    """The queue position, the curve while it is measured, and the result at its end or where it was cancelled."""
    last: SearchUpdate | None = None
    has_begun = False
    with closing(updates):
        for update in updates:
            if isinstance(update, Waiting | Loading | SearchBegun):
                has_begun |= isinstance(update, SearchBegun)
                yield _busy(tab, update.message(words))
                continue
            last = update
            if update.finished or cancelled():
                break
            shown: Changes = {
                tab.curve: curve_card(update.result, update.result.asked.metric, words),
                tab.charts: gr.Column(visible=True),
                tab.empty: gr.Column(visible=False),
            }
            left = spoken_time(update.seconds_left, words)
            text = words("search.reading", done=f"{update.done:,}", of=f"{update.of:,}", left=left)
            yield shown | _busy(tab, text)
    if last is None:  # cancelled while it waited, or before any question was read
        yield {tab.notice: {"text": words("search.kept_none"), "tone": ""} if has_begun else None}
        return
    text = _summary(last, limits, words, stopped=cancelled())
    yield {tab.result: last.result, tab.notice: {"text": text, "tone": ""} if text else None}


def _summary(last: SearchUpdate, limits: Limits, words: Language, *, stopped: bool) -> str:
    """How much a search that was halted has measured; empty of a whole one."""
    data, halt = last.result.data, last.halt or ("stopped" if stopped and not last.result.complete else None)
    if not halt:
        return ""
    text = words("search.kept", done=f"{data.items:,}", of=f"{data.of:,}")
    return text + (f" {words('error.time', seconds=limits.seconds)}" if halt == "time" else "")


def _busy(tab: SearchTab, text: str) -> Changes:
    return {tab.notice: {"text": text, "tone": "busy"}}
