"""The scheduler runs the comparisons of many callers in one thread, in rounds: every comparison takes one step in each.

Comparisons of one engine share its forward pass. They join between two rounds, their prompts read in chunks, and leave
when they end, fail or are abandoned.
"""

import atexit
import queue
import threading
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field

from dola_core.decoding.batch import DynamicBatch, Plan
from dola_core.decoding.lockstep import Pace, StepOutput
from dola_core.decoding.processor_threads import give_up_processor_threads
from dola_core.decoding.shared_batch import SharedBatch

RECORDED = 2
"""Steps that are recorded in a round while other runs decode or read."""
LONGEST_ROUND = 60.0
"""Seconds that the end of the program waits for a round."""


@dataclass(frozen=True)
class End:
    """What comes after a run's last output."""

    error: Exception | None = None


@dataclass(eq=False)
class ScheduledRun:
    """One comparison of a caller."""

    pace: Pace
    batch: DynamicBatch
    shared: SharedBatch
    prompt_tokens: int
    chunk: int
    """How many tokens of its prompt a step reads."""
    read: int = 0
    """How many tokens of its prompt are read."""
    abandoned: bool = False
    """Whether its caller does not want any more of it."""
    outputs: "queue.SimpleQueue[StepOutput | End]" = field(default_factory=queue.SimpleQueue)

    is_written: bool = False
    """Whether its text has ended, and what comes is its record."""

    @property
    def decodes(self) -> bool:
        """Whether its text goes on."""
        return not self.to_read and not self.is_written

    @property
    def to_read(self) -> int:
        """How many tokens of its prompt the next step reads; 0 once it decodes."""
        return min(self.prompt_tokens - self.read, self.chunk)


class Scheduler:
    """Takes comparisons from any thread and steps them in one of its own, which ends when there are none."""

    def __init__(self) -> None:
        self._changed = threading.Lock()
        self._runs: list[ScheduledRun] = []
        self._working = False
        self._thread: threading.Thread | None = None

    def run(
        self, pace: Pace, batch: DynamicBatch, shared: SharedBatch, prompt_tokens: int, chunk: int | None
    ) -> Generator[StepOutput, None, None]:
        """The steps of a comparison, which is run together with all others that share a batch with it.

        They may come faster than they are asked for. An error of this comparison is raised here. The generator may be
        abandoned at any point; the comparison then leaves before the next round, which is not waited for: a generator
        may be closed on a server's event loop, and a pass can take seconds.
        """
        run = ScheduledRun(pace, batch, shared, prompt_tokens, chunk or prompt_tokens)
        give_up_processor_threads()  # the caller's, who only waits from now on
        try:
            self.enter(run)
            while not isinstance(output := run.outputs.get(), End):
                yield output
            if output.error:
                raise output.error
        finally:
            run.abandoned = True

    def count(self, shared: SharedBatch) -> int:
        """How many comparisons share a batch, those that still read their prompts included."""
        with self._changed:
            return sum(run.shared is shared for run in self._runs)

    def wait(self, seconds: float) -> bool:
        """Wait until nothing runs, at most so long; whether that came."""
        thread = self._thread
        if thread:
            thread.join(seconds)
        return not (thread and thread.is_alive())

    def enter(self, run: ScheduledRun) -> None:
        """Let a run take part from the next round on."""
        with self._changed:
            self._runs.append(run)
            if not self._working:
                self._start()
                self._working = True

    def stop(self) -> None:
        """Abandon all runs and wait for the round under way: no thread that computes may outlast the interpreter."""
        with self._changed:
            for run in self._runs:
                run.abandoned = True
        self.wait(LONGEST_ROUND)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="scheduler", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._runs:
                    self._working = False
                    return
            try:
                self.round()
            except Exception as error:  # nobody may wait for a thread that is no more
                self._break_off(error)

    def _break_off(self, error: Exception) -> None:
        """End all runs with an error that none of them is known to have made."""
        with self._changed:
            runs, self._runs = self._runs, []
        for run in runs:
            with suppress(Exception):
                run.shared.clear()
                run.pace.close()
            run.outputs.put(End(error))

    def round(self) -> None:
        """One step of every run that decodes, and of some that read or record; then the pass of each shared batch."""
        with self._changed:
            runs = list(self._runs)
        for run in runs:
            if run.abandoned:
                self._end(run)
        runs = [run for run in runs if not run.abandoned]
        plans: dict[SharedBatch, dict[DynamicBatch, Plan]] = {run.shared: {} for run in runs}
        for run in [*(run for run in runs if run.decodes), *_next_readers(runs), *_next_recorders(runs)]:
            if plan := self._step(run):
                plans[run.shared][run.batch] = plan
        for shared, own in plans.items():
            failed = shared.advance(own)
            for run in runs:
                if error := failed.get(run.batch):
                    self._step(run, error)

    def _step(self, run: ScheduledRun, error: Exception | None = None) -> Plan | None:
        """Let a run take its step, and hand that to its caller: how its batch goes on, or None if it does not.

        With an `error`, go on as if its own batch had raised it. A run that reads its prompt, or records its text, in
        several steps waits until others have had their turn to.
        """
        try:
            output, plan = run.pace.throw(error) if error else next(run.pace)
            run.outputs.put(output)
            run.read = output.read or run.prompt_tokens
            run.is_written = not plan and not run.to_read
            if run.is_written:
                run.shared.release(run.batch)
            if run.is_written and not output.pending:
                next(run.pace)  # to its end
        except StopIteration:
            self._end(run)
        except Exception as raised:
            self._end(run, raised)
        else:
            if not run.decodes:
                with self._changed:
                    self._runs.remove(run)
                    self._runs.append(run)
            return plan
        return None

    def _end(self, run: ScheduledRun, error: Exception | None = None) -> None:
        try:
            run.shared.release(run.batch)
            run.pace.close()
        except Exception as raised:
            error = error or raised
        with self._changed:
            self._runs.remove(run)
        run.outputs.put(End(error))


def _next_readers(runs: list[ScheduledRun]) -> list[ScheduledRun]:
    """Those that may read a chunk of their prompts before the next pass: together no more than one full chunk."""
    readers: list[ScheduledRun] = []
    for run in runs:
        if run.to_read and (not readers or sum(one.to_read for one in readers) + run.to_read <= readers[0].chunk):
            readers.append(run)
    return readers


def _next_recorders(runs: list[ScheduledRun]) -> list[ScheduledRun]:
    """Those that may record a step before the next pass: all, or `RECORDED` if the texts of others wait for it."""
    recorders = [run for run in runs if run.is_written]
    return recorders[:RECORDED] if len(recorders) < len(runs) else recorders


SCHEDULER = Scheduler()
"""The one of this process: two engines that computed at once would only take the processor from each other."""
atexit.register(SCHEDULER.stop)
