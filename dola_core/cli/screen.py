"""Write the texts while they grow, for a pipe, a file or a terminal without colours."""

from collections.abc import Callable, Iterable, Sequence

from dola_core.cli.render import Fragment, own_text, plain, shared_text
from dola_core.cli.texts import LaneTexts


class PlainScreen:
    """Writes plain text and never takes anything back: after the fork the own text of one lane after the other."""

    def __init__(self, write: Callable[[str], None], names: Sequence[str]) -> None:
        """Write with `write`, which gets every text at once; `names` are those of the lanes."""
        self.write, self.names = write, names
        self._written = 0

    def format(self, fragments: Iterable[Fragment]) -> str:
        """The text that stands for `fragments` on this screen."""
        return plain(fragments)

    def print(self, fragments: Iterable[Fragment]) -> None:
        """Write `fragments` as they are, in one piece."""
        self.write(self.format(fragments))

    def show(self, texts: LaneTexts) -> None:
        """Write what `texts` gained since the last call."""
        self._write_new(self._whole(texts))

    def finish(self, texts: LaneTexts) -> None:
        """Write what is left of `texts`, in which all lanes have ended."""
        self._write_new(self._whole(texts))

    def abandon(self) -> None:
        """Leave the texts as they are and begin a new line, for a message."""
        self.write("\n")

    def _whole(self, texts: LaneTexts) -> list[Fragment]:
        """All that can be written by now: a lane's own text has to wait until those before it are complete."""
        fragments = shared_text(texts)
        for lane in range(len(texts.ids)) if texts.fork is not None else ():
            fragments += own_text(texts, lane, self.names)
            if texts.ends[lane] is None:
                break
        return fragments

    def _write_new(self, fragments: Iterable[Fragment]) -> None:
        """Write what comes after the part that is written already; it only grows."""
        text = self.format(fragments)
        new, self._written = text[self._written :], max(self._written, len(text))
        if new:
            self.write(new)
