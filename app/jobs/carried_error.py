"""An error on its way from a run in another process to whoever asked for the run."""

import pickle
import traceback
from dataclasses import dataclass
from typing import NoReturn, Self


@dataclass(frozen=True)
class CarriedError:
    """An error and where it came from, which can be pickled."""

    error: Exception
    trace: str
    """Its traceback as text, since a traceback cannot be pickled."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        """The error itself, or a `RuntimeError` with its text if it cannot be pickled."""
        trace = "".join(traceback.format_exception(error))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an error may hold anything, or take other arguments when it is made again
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(error, trace)

    def raise_here(self) -> NoReturn:
        """Raise the error, with the traceback that it had there as a note."""
        self.error.add_note(self.trace)
        raise self.error
