"""The parts of Gradio that this page reaches into although they are not documented, each with its reason.

A test watches each of them, so that an update of Gradio that changes one is noticed.
"""

from typing import Any

from gradio.blocks import Block, Blocks
from gradio.state_holder import SessionState


class _Unkept(dict[int, dict[str, Any]]):
    """Takes whatever is put in, and keeps nothing."""

    def __setitem__(self, key: int, value: dict[str, Any]) -> None: ...

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: int) -> dict[str, Any]:
        return {}


LIMITS = "minimum", "maximum", "step", "choices"
"""What decides which values a component takes."""


def keep_states_only(session: SessionState | None, page: Blocks) -> None:
    """Of what `page` shows a visitor, keep the states alone. For the end of an event.

    Gradio also keeps how every component is configured and its last value, texts and charts included, for links to
    what is shown, which this page makes by itself; and whole anew each component of which an answer changed a word.
    Neither is a documented interface; whether it still is so, a test watches.
    """
    if session is None:
        return
    if not isinstance(session.config_values, _Unkept):
        session.config_values = _Unkept()
    shown = session.blocks_config.blocks
    for key, block in page.blocks.items():
        if shown[key] is not block and _limits(shown[key]) == _limits(block):
            shown[key] = block


def _limits(block: Block) -> list[Any]:
    return [getattr(block, name, None) for name in LIMITS]
