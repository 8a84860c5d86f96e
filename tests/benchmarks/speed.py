"""Time both completions against one plain completion of `transformers`: `make bench`.

Every figure is a ratio of two things done in turn in one process. All texts have the same length; no lane ends early.
"""

import argparse
import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from dola_core.comparison import Comparison
from dola_core.contrast import default_layer
from dola_core.decoding.engine import Engine
from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic, Lane
from tests.benchmarks.results import ResultRow, publish
from tests.benchmarks.shapes import ATLAS, LAYERS, REAL, SHAPES, SMOLLM2, Timed, all_models, engine_of, random_llama
from tests.benchmarks.timing import Ratio, in_turn

PROMPT, ROUNDS, QUESTION = 12, 5, "Question: What is the capital of Australia? Answer:"
SECONDS = 0.5
"""About how long one plain completion of the timed length takes."""
STOCK = "one plain completion of generate"
PREFILLS = {ATLAS: (32, 448), SMOLLM2: (32, 512), "135M": (32, 512, 2048), "445M": (32, 512)}
LONG = 2048


def ids_of(model: PreTrainedModel, length: int) -> list[int]:
    """A prompt of random ids."""
    return torch.randint(5, model.config.vocab_size, (length,), generator=torch.Generator().manual_seed(1)).tolist()


def prompt_for(timed: Timed, model: PreTrainedModel) -> list[int]:
    """A question for the models with weights of their own, random ids for the others."""
    if timed.name not in REAL:
        return ids_of(model, PROMPT)
    return list(AutoTokenizer.from_pretrained(model.name_or_path)(QUESTION)["input_ids"])


def lanes_of(count: int, n_layers: int = LAYERS) -> list[Lane]:
    """The baseline, and DoLa at every second layer downwards from three quarters (22 of 30), then round again."""
    layers = [1 + (default_layer(n_layers) - 1 - 2 * number) % (n_layers - 1) for number in range(count - 1)]
    return [Baseline(name="baseline"), *(DolaStatic(name=str(layer), layer=layer) for layer in layers)]


def stock(model: PreTrainedModel, prompt: list[int], new: int, **more: float) -> Callable[[], None]:
    """One greedy completion by `generate`."""
    ids = torch.tensor([prompt], device=model.device)

    def run() -> None:
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, **more)

    return run


def duet(model: PreTrainedModel, prompt: list[int], new: int, *, lanes: int = 2, record: bool = False,
         text_first: bool = False, text_only: bool = False, second: Lane | None = None,
         engine: Engine | None = None, **more: float) -> Callable[[], None]:  # fmt: skip
    """Lanes in lock step, with or without the trace: the baseline with DoLa at some layers, or with the `second`.

    With `text_only` it is over with the last token, whatever is still to be recorded.
    """
    engine = engine or engine_of(model)
    decoders = (Baseline(), second) if second else tuple(lanes_of(lanes, engine.loaded.readout.n_layers))
    comparison = Comparison("", tuple(prompt), decoders, DecodingConfig(max_new_tokens=new, **more))

    def run() -> None:
        with closing(engine.compare(comparison, record=record, text_first=text_first)) as outputs:
            for output in outputs:
                if text_only and len(output.ends) == len(decoders):
                    break

    return run


def static(model: PreTrainedModel, prompt: list[int], new: int) -> Callable[[], None]:
    """One completion by `generate_with_dola_static`."""
    ids = torch.tensor([prompt], device=model.device)

    def run() -> None:
        generate_with_dola_static(
            model, ids, attention_mask=torch.ones_like(ids), layer=22, alpha=0.1, max_new_tokens=new, do_sample=False
        )

    return run


def length_for(model: PreTrainedModel, most: int = 48) -> int:
    """How many tokens a plain completion writes in about `SECONDS`."""
    run = stock(model, ids_of(model, PROMPT), 4)
    run()
    start = time.perf_counter()
    run()
    return max(6, min(most, round(4 * SECONDS / (time.perf_counter() - start))))


def decoding_rows(timed: Timed, model: PreTrainedModel, rounds: int) -> list[ResultRow]:
    """The ratios of everything that writes some tokens."""
    prompt, new = prompt_for(timed, model), length_for(model)
    large, huge = timed.name in ("445M", "1.65B"), timed.name == "1.65B"
    half, small = timed.dtype == "bfloat16", timed.name == ATLAS
    ways = {
        "stock": stock(model, prompt, new),
        "both": duet(model, prompt, new),
        "traced": duet(model, prompt, new, record=True),
        "text first": duet(model, prompt, new, record=True, text_first=True),
        "its text": duet(model, prompt, new, record=True, text_first=True, text_only=True),
        "dynamic": duet(model, prompt, new, second=DolaDynamic(bucket="high")),
        "dynamic, traced": duet(model, prompt, new, second=DolaDynamic(bucket="high"), record=True),
        "static": static(model, prompt, new),
        "one": duet(model, prompt, new, lanes=1),
        "four": duet(model, prompt, new, lanes=4),
        "eight": duet(model, prompt, new, lanes=8),
        "stock, penalty": stock(model, prompt, new, repetition_penalty=1.2),
        "both, penalty": duet(model, prompt, new, repetition_penalty=1.2),
    }
    times = in_turn(ways, rounds, f"{timed.name} {timed.dtype}")

    names = {"stock": STOCK, "both": "both, no trace", "stock, penalty": f"{STOCK}, with it"}

    def row(what: str, way: str, against: str = "stock", budget: float | None = None) -> ResultRow:
        return ResultRow(timed.name, timed.dtype, what, names[against], Ratio.of(times[way], times[against]), budget)

    return [
        row("both completions, no trace", "both", budget=1.0 if large and half else 1.1 if small else None),
        row("both completions, every layer traced", "traced", budget=1.0 if huge and half else 1.25 if small else None),
        row("both completions, every layer traced after the text", "text first"),
        row("text while the trace is recorded", "its text", "both", 1.05),
        row("plain and dynamic:high, no trace", "dynamic", budget=1.35 if timed.name == SMOLLM2 and half else None),
        row("plain and dynamic:high, every layer traced", "dynamic, traced"),
        row("generate_with_dola_static", "static", budget=1.05),
        row("1 lane", "one"),
        row("4 lanes", "four"),
        row("8 lanes", "eight"),
        row("both completions, repetition penalty", "both, penalty", "stock, penalty"),
    ]


def compiled_rows(timed: Timed, model: PreTrainedModel, rounds: int) -> list[ResultRow]:
    """The ratios of what `--compile` decodes."""
    prompt, new = prompt_for(timed, model), length_for(model)
    start = time.perf_counter()
    compiled = engine_of(model, compiled=True)
    print(f"{timed.name} {timed.dtype}: compiled in {time.perf_counter() - start:.0f} s")
    traced = {"record": True, "text_first": True}
    ways = {
        "stock": stock(model, prompt, new),
        "both": duet(model, prompt, new),
        "its text": duet(model, prompt, new, text_only=True, **traced),
        "text first": duet(model, prompt, new, **traced),
        "both, compiled": duet(model, prompt, new, engine=compiled),
        "its text, compiled": duet(model, prompt, new, engine=compiled, text_only=True, **traced),
        "text first, compiled": duet(model, prompt, new, engine=compiled, **traced),
    }
    times = in_turn(ways, rounds, f"{timed.name} {timed.dtype}, compiled")
    whats = {
        "both": "both completions, no trace",
        "its text": "text while the trace is recorded",
        "text first": "both completions, every layer traced after the text",
    }
    rows, budgets = [], {ATLAS: 1.25, SMOLLM2: 1.35}
    for way, what in whats.items():
        for against, name in ((way, "not compiled"), ("stock", STOCK)):
            ratio = Ratio.of(times[f"{way}, compiled"], times[against])
            budget = budgets.get(timed.name) if (way, against) == ("text first", "stock") else None
            rows.append(ResultRow(timed.name, timed.dtype, f"{what}, compiled", name, ratio, budget))
    return rows


def prefill_rows(timed: Timed, model: PreTrainedModel) -> list[ResultRow]:
    """The ratios of reading a prompt and writing one token."""
    rows = []
    for length in PREFILLS.get(timed.name, ()):
        prompt = ids_of(model, length)
        ways = {
            "stock": stock(model, prompt, 1),
            "both": duet(model, prompt, 1),
            "traced": duet(model, prompt, 1, record=True),
        }
        times = in_turn(ways, 3, f"{timed.name} {timed.dtype}, prompt of {length}")
        for what, way in (("", "both"), (", every layer traced", "traced")):
            ratio = Ratio.of(times[way], times["stock"])
            rows.append(
                ResultRow(timed.name, timed.dtype, f"first token of a prompt of {length:,}{what}", STOCK, ratio, None)
            )
    return rows


def peak(way: str) -> None:
    """Print the peak memory of this process, in MB, after a run on a long prompt."""
    model = random_llama(*SHAPES["135M"], "float32")
    prompt = ids_of(model, LONG)
    {"stock": stock, "duet": duet, "traced": lambda *a: duet(*a, record=True)}[way](model, prompt, 8)()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory_rows() -> list[ResultRow]:
    """The ratios of the peak memory of whole processes, which varies by a few MB only."""
    ways = ("stock", "duet", "traced")
    command = [sys.executable, __file__, "--peak"]
    peaks = {way: [float(subprocess.check_output([*command, way], text=True)) for _ in range(2)] for way in ways}
    return [
        ResultRow(
            "135M",
            "float32",
            f"peak memory at a prompt of {LONG:,}{what}",
            STOCK,
            Ratio.of(peaks[way], peaks["stock"]),
            1.02,
        )
        for what, way in (("", "duet"), (", every layer traced", "traced"))
    ]


def main() -> None:
    """Time the models, print the table, and add it to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--peak", choices=("stock", "duet", "traced"), help=argparse.SUPPRESS)
    parser.add_argument("--only", default="", help="only models whose name begins so")
    parser.add_argument("--compiled", action="store_true", help="time what --compile decodes, with the real models")
    parser.add_argument("--dry", action="store_true", help="print, but keep nothing")
    options = parser.parse_args()
    if options.peak:
        return peak(options.peak)
    rows: list[ResultRow] = []
    for timed in all_models():
        if options.compiled:
            if timed.name in REAL and timed.name.startswith(options.only):
                rows += compiled_rows(timed, timed.build(), ROUNDS)
                gc.collect()
        elif timed.name.startswith(options.only):
            model = timed.build()
            rows += decoding_rows(timed, model, ROUNDS if timed.name in (ATLAS, SMOLLM2, "135M") else 3)
            rows += prefill_rows(timed, model)
            del model
            gc.collect()
    if "135M".startswith(options.only) and not options.compiled:
        rows += memory_rows()
    given = " ".join([f"--only {options.only}"] * bool(options.only) + ["--compiled"] * options.compiled)
    command = f'make bench ARGS="{given}"' if given else "make bench"
    publish(rows, command, keep=not options.dry)
    return None


if __name__ == "__main__":
    main()
