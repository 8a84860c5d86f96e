"""Write the texts in a terminal with colours: after the fork, the lanes grow in a live picture that rich draws.

Imported for such a terminal only, because `rich.live` takes a while to import.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from rich.cells import chop_cells
from rich.console import Console
from rich.live import Live
from rich.text import Text

from dola_core.cli.render import STYLES, Fragment, coloured, own_text, shared_text
from dola_core.cli.screen import PlainScreen
from dola_core.cli.texts import LaneTexts

INTERVAL = 1 / 12
"""Seconds between two pictures."""


class LiveScreen(PlainScreen):
    """Writes the shared text as a stream, then shows the lanes growing, and at the end writes each whole."""

    def __init__(self, write: Callable[[str], None], names: Sequence[str]) -> None:
        super().__init__(write, names)
        self._console = Console(
            force_terminal=True,
            force_interactive=True,
            force_jupyter=False,
            legacy_windows=False,
            color_system="256",
            no_color=False,
        )
        # Without a thread of its own, and without catching what others write to standard output and standard error.
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._drawn_at = 0.0

    def format(self, fragments: Iterable[Fragment]) -> str:
        """The text with colours."""
        return coloured(fragments)

    def show(self, texts: LaneTexts) -> None:
        """Write what the shared text gained, or draw the lanes again."""
        self._write_new(shared_text(texts))
        now = time.monotonic()
        if texts.fork is None or now - self._drawn_at < INTERVAL:
            return
        size = self._console.size
        rows = fit([lane_text(texts, lane, self.names) for lane in range(len(texts.ids))], size.width, size.height)
        self._draw(rows)
        self._drawn_at = now

    def finish(self, texts: LaneTexts) -> None:
        """Erase the picture and write the texts whole, without line breaks of the screen's own, to be copied."""
        self._stop()
        super().finish(texts)

    def abandon(self) -> None:
        """Leave the picture as it is and begin a new line, for a message."""
        if not self._live.is_started:
            super().abandon()
        self._live.transient = False
        self._stop()

    def _draw(self, rows: Sequence[Text]) -> None:
        with self._console.capture() as output:
            self._live.start()
            self._live.update(Text("\n", no_wrap=True, overflow="ignore").join(rows), refresh=True)
        self._write_unwrapped(output.get())

    def _stop(self) -> None:
        with self._console.capture() as output:
            self._live.stop()
        if text := output.get():
            self._write_unwrapped(text)

    def _write_unwrapped(self, text: str) -> None:
        """Write without automatic line breaks, and leave the terminal with them and with its cursor.

        A terminal may draw a character wider than rich counts it. The row must not break there, since rich moves the
        cursor up by the rows it knows of. Rich hides the cursor until it stops, which a killed process never does.
        """
        self.write(f"\x1b[?7l{text}\x1b[?7h\x1b[?25h")


def lane_text(texts: LaneTexts, lane: int, names: Sequence[str]) -> Text:
    """The own text of one lane for rich, which takes it as it is: no markup, no highlighting, no emoji codes."""
    fragments = own_text(texts, lane, names)
    return Text.assemble(*((text.replace("\t", "    "), STYLES[style]) for text, style in fragments))


def fold(text: Text, width: int) -> list[Text]:
    """`text` in rows of at most `width` cells, broken between any two characters as a terminal breaks them."""
    rows: list[Text] = []
    for line in text.split("\n"):
        lengths = [len(row) for row in chop_cells(line.plain, width)]
        rows += line.divide(list(accumulate(lengths))[:-1])
    return rows


def fit(blocks: Sequence[Text], width: int, height: int) -> list[Text]:
    """Rows for a terminal that show all blocks: the first row of each, and as many of its last as there is room."""
    folded = [fold(block, width) for block in blocks]
    room = max(height - 1, len(blocks))  # rich ends the picture with a line break when it stops
    rows: list[Text] = []
    for number, block in enumerate(folded):
        later = sum(len(other) for other in folded[number + 1 :])
        shown = _ends(block, max(room // (len(folded) - number), room - later))
        rows, room = rows + shown, room - len(shown)
    return rows


def _ends(rows: list[Text], most: int) -> list[Text]:
    return rows if len(rows) <= most else [rows[0], *rows[len(rows) - most + 1 :]]
