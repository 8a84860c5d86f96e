"""Time eight visitors who come at once against their runs one after another: `make bench-visitors`.

All of it in one process, each model in bfloat16. Every visitor has two lanes, a prompt of another length, and a thread
of its own.
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine
from dola_core.lanes import DecodingConfig
from tests.benchmarks.results import ResultRow, publish
from tests.benchmarks.shapes import ATLAS, SMOLLM2, Timed, all_models, engine_of
from tests.benchmarks.speed import ids_of, lanes_of
from tests.benchmarks.timing import Ratio, in_turn

VISITORS, ROUNDS, PROMPTS, NEW = 8, 3, (8, 40), 48
"""How many there are, how often each way is timed, the bounds of how many tokens their prompts have, and how many a
lane writes."""
ONE_BY_ONE = "their runs one after another"


@dataclass
class Visitors:
    """Comparisons of one engine, and how long each waited for its first token in the last round."""

    engine: Engine
    comparisons: Sequence[Comparison]
    waited: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, model: PreTrainedModel, new: int, count: int = VISITORS) -> "Visitors":
        """So many, whose lanes write `new` tokens each."""
        engine, (least, most) = engine_of(model), PROMPTS
        lengths = [least + (most - least) * number // max(count - 1, 1) for number in range(count)]
        lanes, config = tuple(lanes_of(2, engine.loaded.readout.n_layers)), DecodingConfig(max_new_tokens=new)
        return cls(engine, [Comparison("", tuple(ids_of(model, length)), lanes, config) for length in lengths])

    def one_by_one(self, *, record: bool) -> Callable[[], None]:
        """The runs one after another, as in a queue that all have joined at once."""
        return lambda: self._served(1, record=record, together=False)

    def together(self, *, record: bool) -> Callable[[], None]:
        """All of them at once."""
        return lambda: self._served(len(self.comparisons), record=record, together=True)

    def _served(self, threads: int, *, record: bool, together: bool) -> None:
        begun = time.perf_counter()

        def run(comparison: Comparison) -> float:
            first = None
            how = {"together": together, "text_first": together}  # as the page asks for it
            for output in self.engine.compare(comparison, record=record, **how):
                if output.tokens and first is None:
                    first = time.perf_counter() - begun
            return first or 0.0

        with ThreadPoolExecutor(threads) as pool:
            self.waited = list(pool.map(run, self.comparisons))


def rows_of(timed: Timed, model: PreTrainedModel, rounds: int) -> list[ResultRow]:
    """The ratios of one model."""
    new, rows = NEW, list[ResultRow]()
    for record in (False, True):
        what = "with the trace" if record else "no trace"
        all_of_them, one = Visitors.of(model, new), Visitors.of(model, new, count=1)
        waited: dict[str, list[float]] = {"together": [], "one by one": []}

        def noting(name: str, way: Callable[[], None], waited: dict[str, list[float]] = waited,
                   visitors: Visitors = all_of_them) -> Callable[[], None]:  # fmt: skip
            def run() -> None:
                way()
                waited[name].append(statistics.quantiles(visitors.waited, n=20, method="inclusive")[-1])

            return run

        times = in_turn(
            {
                "one by one": noting("one by one", all_of_them.one_by_one(record=record)),
                "together": noting("together", all_of_them.together(record=record)),
                "alone": one.one_by_one(record=record),
                "alone, together": one.together(record=record),
            },
            rounds,
            f"{timed.name}, {what}",
        )

        def row(name: str, against: str, ratio: Ratio, budget: float | None, what: str = what) -> ResultRow:
            return ResultRow(timed.name, timed.dtype, f"{name}, {what}", against, ratio, budget)

        budget = 1 / 2 if record else 1 / 4
        rows += [
            row(f"{VISITORS} visitors at once", ONE_BY_ONE, Ratio.of(times["together"], times["one by one"]), budget),
            row("first token, 95 % of visitors", f"{ONE_BY_ONE}, all come at once",
                Ratio.of(waited["together"], waited["one by one"]), None),
            row("one visitor, through the scheduler", "by itself",
                Ratio.of(times["alone, together"], times["alone"]), 1.03),
        ]  # fmt: skip
        print(f"{timed.name}, {what}: {new} tokens; 95 % of first tokens within "
              f"{statistics.median(waited['together']):.2f} s together, "
              f"{statistics.median(waited['one by one']):.2f} s one by one")  # fmt: skip
    return rows


def main() -> None:
    """Time the shipped model, SmolLM2 and the 445 M shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="part of a model's name; may be given several times")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    chosen = [one for one in all_models() if one.dtype == "bfloat16" and one.name in (ATLAS, SMOLLM2, "445M")]
    rows = list[ResultRow]()
    for timed in chosen:
        if not options.only or any(part in timed.name for part in options.only):
            model = timed.build()
            rows += rows_of(timed, model, options.rounds)
            del model
            gc.collect()
    command = " ".join(["make bench-visitors", *(f'ARGS="--only {part}"' for part in options.only or [])])
    publish(rows, command, keep=options.rounds >= ROUNDS)


if __name__ == "__main__":
    main()
