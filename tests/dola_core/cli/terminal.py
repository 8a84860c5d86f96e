"""A terminal for tests: what a program's output looks like on it, and the command run in a real pseudo-terminal."""

import os
import pty
import re
import subprocess
import sys
import unicodedata
from contextlib import suppress

from tests.dola_core.cli.comparisons import ROOT

SGR = re.compile(r"\x1b\[[0-9;]*m")
"""An escape code for colours and other attributes."""


class FakeTerminal:
    """A screen of `columns` × `lines` cells that obeys the codes a live picture is drawn with.

    It knows no grapheme clusters: an emoji joined from two takes four cells, as in many a terminal, where rich counts
    two.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.rows: list[list[str]] = [[]]
        """Of each row, its cells, those scrolled off included; a wide character is followed by an empty cell."""
        self.row = self.column = 0
        self.wraps = self.cursor = True

    def write(self, text: str) -> None:
        for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|.", text, re.S):
            if part == "\n":
                self._next_row()  # a terminal's driver makes \r\n of it
            elif part == "\r":
                self.column = 0
            elif part == "\t":
                for _ in range(4):  # not to the next tab stop, but alike in what is compared
                    self._put(" ")
            elif part.startswith("\x1b"):
                self._obey(part)
            else:
                assert part.isprintable() or part in "\u200c\u200d\xa0", part
                self._put(part)

    def _obey(self, code: str) -> None:
        if code in ("\x1b[?7l", "\x1b[?7h"):
            self.wraps = code.endswith("h")
        elif code in ("\x1b[?25l", "\x1b[?25h"):
            self.cursor = code.endswith("h")
        elif re.fullmatch(r"\x1b\[\d+A", code):
            self.row -= int(code[2:-1])
            assert self.row >= max(0, len(self.rows) - self.lines), "above the first row of the screen"
        elif code in ("\x1b[2K", "\x1b[K"):
            del self.rows[self.row][0 if code == "\x1b[2K" else self.column :]
        else:
            assert SGR.fullmatch(code), code

    def _put(self, character: str) -> None:
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if character == "\u200d" or unicodedata.category(character) in ("Mn", "Me"):
            width = 0
        if self.column + width > self.columns:
            if not self.wraps:
                return
            self._next_row()
        cells = self.rows[self.row]
        cells += [" "] * (self.column - len(cells))
        if not width:
            cells[self.column - 1 : self.column] = ["".join(cells[self.column - 1 : self.column]) + character]
            return
        cells[self.column : self.column + width] = [character, ""][:width]
        self.column += width

    def _next_row(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.rows):
            self.rows.append([])

    @property
    def text(self) -> str:
        """The rows, without empty ones at the end."""
        return "\n".join("".join(row).rstrip() for row in self.rows).rstrip("\n")


def displayed(output: str, columns: int, lines: int = 100) -> str:
    """What stands on a terminal after `output` was written to it."""
    terminal = FakeTerminal(columns, lines)
    terminal.write(output)
    return terminal.text


def run_in_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """The command in a pseudo-terminal of 60 × 20 cells: its status, and all that it wrote there."""
    master, slave = pty.openpty()
    usual = {"TERM": "xterm-256color", "COLUMNS": "60", "LINES": "20", "NO_COLOR": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "dola_core", *arguments], cwd=ROOT, stdin=slave, stdout=slave, stderr=slave,
        env=os.environ | usual | environment,
    )  # fmt: skip
    os.close(slave)
    out = b""
    with suppress(OSError):  # Linux raises it when the other side has closed
        while part := os.read(master, 1 << 16):
            out += part
    os.close(master)
    return process.wait(), out.decode().replace("\r\n", "\n")
