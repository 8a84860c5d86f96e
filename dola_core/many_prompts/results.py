"""The file that rows are written to as they come, and from which an interrupted run is taken up again."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from dola_core.errors import FileWriteError
from dola_core.many_prompts.rows import PromptRow


class OtherRunError(ValueError):
    """The file holds rows of another run, or something else. The message is one sentence that says what to do."""


class RunsFile:
    """A JSON Lines file with a row for each prompt, in the order in which they were run."""

    def __init__(self, file: Path, prompts: Sequence[str], settings: str) -> None:
        """Read what an earlier run of the same prompts and settings has left there.

        A last line that was cut off, as by a kill, is dropped. Raises `OtherRunError`, and `FileWriteError` if the file
        cannot be opened.
        """
        self.file = file
        self.rows: dict[int, PromptRow] = {}
        """{number of the prompt: its row}"""
        try:
            held = file.read_bytes() if file.exists() else b""
        except OSError as error:
            raise FileWriteError(error.errno, error.strerror or type(error).__name__, os.fspath(file)) from error
        whole = held[: held.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            row = self._read(number, line)
            if row.settings != settings or not 0 < row.number <= len(prompts) or row.prompt != prompts[row.number - 1]:
                raise OtherRunError(
                    f"{file}, line {number:,}: the row is of other prompts or settings; name another file for --out."
                )
            self.rows[row.number] = row
        if len(whole) < len(held):
            with file.open("r+b") as out:
                out.truncate(len(whole))

    def _read(self, number: int, line: bytes) -> PromptRow:
        try:
            return PromptRow.model_validate_json(line)
        except ValidationError as error:
            raise OtherRunError(
                f"{self.file}, line {number:,}: it is no row of such a run; name another file for --out."
            ) from error

    def add(self, row: PromptRow) -> None:
        """Write a row to the end of the file, so that it is there whatever happens next; raises `FileWriteError`."""
        try:
            with self.file.open("ab") as out:
                out.write(row.model_dump_json().encode() + b"\n")
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise FileWriteError(error.errno, error.strerror or type(error).__name__, os.fspath(self.file)) from error
        self.rows[row.number] = row
