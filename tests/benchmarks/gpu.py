"""Time both completions on a GPU with DeepSeek-LLM-7B's shape: `make gpu`, after the tests that need one.

On a GPU, absolute times say something: each way is put beside the least time in which the card can read what a step
must read, by the bandwidth that a large copy has on it.
"""

import argparse
import gc
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.lanes import DecodingConfig, DolaDynamic
from dola_core.layer_search.questions.dataset import Item, read_items
from tests.benchmarks import search
from tests.benchmarks.results import machine, publish_table
from tests.benchmarks.shapes import DEEPSEEK_7B, DEEPSEEK_VOCABULARY, engine_of, random_llama
from tests.benchmarks.speed import PROMPT, duet, ids_of, lanes_of, static, stock
from tests.benchmarks.timing import Ratio, in_turn
from tests.benchmarks.visitors import VISITORS, Visitors

LONG = 1_024
"""Tokens of a long prompt."""
QUESTIONS = 100
"""How many questions a layer search is timed on."""


@dataclass(frozen=True)
class GpuRow:
    """One way to decode, on a card."""

    what: str
    milliseconds: float
    """A token: the median run's time by the tokens it writes in one lane."""
    ratio: Ratio
    """To `generate`, round by round."""
    floor: float
    """How much of the time the card needs to read the weights once for each step, as a share."""


def bandwidth() -> float:
    """Bytes a second that a copy of 4 GB reads and writes on this card, the best of ten."""
    source = torch.empty(4 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    seconds = []
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return 2 * source.numel() / min(seconds)


def bytes_of_a_step(model: PreTrainedModel) -> int:
    """What a step must read: all weights but the table of embeddings."""
    embeddings = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is embeddings
    skipped = 0 if tied else embeddings.numel() * embeddings.element_size()
    return sum(w.numel() * w.element_size() for w in model.parameters()) - skipped


def synchronised(run: Callable[[], None]) -> Callable[[], None]:
    """`run`, until the card has done it all."""

    def whole() -> None:
        run()
        torch.cuda.synchronize()

    return whole


def ways_to_decode(model: PreTrainedModel, prompt: list[int], new: int, graph: Engine) -> dict[str, Callable[[], None]]:
    """Everything that is timed, the plain completion first."""
    eager, dynamic = engine_of(model), DolaDynamic(bucket="high")
    comparison = Comparison("", tuple(prompt), tuple(lanes_of(2)), DecodingConfig(max_new_tokens=new))
    visitors = Visitors(eager, [comparison] * VISITORS)
    at_once = f"{VISITORS} visitors of two lanes at once"
    return {
        "one plain completion of generate": stock(model, prompt, new),
        "generate_with_dola_static": static(model, prompt, new),
        "both completions, no trace": duet(model, prompt, new, engine=eager),
        "both completions, every layer traced": duet(model, prompt, new, engine=eager, record=True),
        "both, traced after the text": duet(model, prompt, new, engine=eager, record=True, text_first=True),
        "both, no trace, compiled": duet(model, prompt, new, engine=graph),
        "both, traced after the text, compiled": duet(model, prompt, new, engine=graph, record=True, text_first=True),
        "plain and dynamic:high, no trace": duet(model, prompt, new, engine=eager, second=dynamic),
        "plain and dynamic:high, traced": duet(model, prompt, new, engine=eager, second=dynamic, record=True),
        f"{at_once}, no trace": visitors.together(record=False),
        f"{at_once}, traced": visitors.together(record=True),
    }


def rows_of(model: PreTrainedModel, length: int, new: int, rounds: int, copied: float, graph: Engine) -> list[GpuRow]:
    """Time all ways on a prompt of `length` tokens."""
    ways = {name: synchronised(run) for name, run in ways_to_decode(model, ids_of(model, length), new, graph).items()}
    times = in_turn(ways, rounds, f"a prompt of {length:,}")
    plain, least = next(iter(times.values())), bytes_of_a_step(model) / copied * new
    return [
        GpuRow(f"{way}, a prompt of {length:,}", 1e3 * statistics.median(seconds) / new, Ratio.of(seconds, plain),
               least / statistics.median(seconds))
        for way, seconds in times.items()
    ]  # fmt: skip


def peak(run: Callable[[], None]) -> float:
    """The most memory in GB that `run` takes beside what is held before."""
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return (torch.cuda.max_memory_allocated() - before) / 1e9


def same_tokens(eager: Engine, graph: Engine, prompt: list[int], new: int) -> int:
    """How many tokens both lanes write before the first that a replayed graph writes otherwise in bfloat16."""
    comparison = Comparison("", tuple(prompt), tuple(lanes_of(2)), DecodingConfig(max_new_tokens=new))
    written = [[dict(output.tokens) for output in engine.compare(comparison)] for engine in (eager, graph)]
    equal = [one == other for one, other in zip(*written, strict=True)]
    return equal.index(False) if False in equal else len(equal)


def questions_with_wrong_answers() -> list[Item]:
    """What a layer search is timed on: questions of the shipped model's set, whose words it also has tokens for."""
    return [item for item in read_items(SHIPPED_MODEL / "validation.jsonl") if item.wrong][:QUESTIONS]


def questions_a_second(model: PreTrainedModel, items: list[Item]) -> float:
    """How many questions are scored a second at all layers and values of α that `make bench-search` takes."""
    loaded = replace(engine_of(model).loaded, tokenizer=AutoTokenizer.from_pretrained(SHIPPED_MODEL))
    search.seconds(loaded, items[:10], search.LAYERS, search.ALPHAS)  # warm
    return len(items) / search.seconds(loaded, items, search.LAYERS, search.ALPHAS)


def table(rows: list[GpuRow]) -> str:
    """Markdown."""
    head = "| what | ms a token | to generate (spread) | of the card's bandwidth |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| {row.what} | {row.milliseconds:.2f} | {row.ratio} | {100 * row.floor:.0f} % |" for row in rows
    )


def main() -> None:
    """Time the shape, print the table, and add it to the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dry", action="store_true", help="print, but keep nothing")
    parser.add_argument("--new", type=int, default=48, help="tokens that are written")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("There is no GPU that PyTorch can use; make bench measures on the CPU.")
    copied = bandwidth()
    model = random_llama(*DEEPSEEK_7B, "bfloat16", vocabulary=DEEPSEEK_VOCABULARY, device="cuda")
    graph = engine_of(model, compiled=True)
    rows: list[GpuRow] = []
    for length in (PROMPT, LONG - options.new):
        rows += rows_of(model, length, options.new, options.rounds, copied, graph)
    prompt = ids_of(model, LONG - options.new)
    gigabytes = {way: peak(run) for way, run in ways_to_decode(model, prompt, options.new, graph).items()}
    same = same_tokens(engine_of(model), graph, ids_of(model, PROMPT), options.new)
    items = questions_with_wrong_answers()
    searched, answers = questions_a_second(model, items), sum(len(item.answers) + len(item.wrong) for item in items)
    settings = len(search.LAYERS) * len(search.ALPHAS)
    name = torch.cuda.get_device_name(0)
    where = f"{name}, CUDA {torch.version.cuda}, a copy moves {copied / 1e12:.2f} TB/s; {machine()}"
    shown = "\n".join(
        [
            f"DeepSeek-LLM-7B's shape, random bfloat16, {options.new} tokens of each lane; the weights of a step are "
            f"{bytes_of_a_step(model) / 1e9:.2f} GB.\n",
            table(rows),
            f"\nIn bfloat16 the compiled lanes write {same} of {options.new} tokens before one that rounding turns."
            f"\n\nA layer search scores {searched:.1f} questions a second at {settings} settings, each "
            f"with {answers / len(items):.1f} answers.\n\nMemory beside the model, at the long prompt: "
            + ", ".join(f"{way} {size:.2f} GB" for way, size in gigabytes.items()) + ".",
        ]
    )  # fmt: skip
    publish_table(shown, [asdict(row) for row in rows], "make gpu", where, keep=not options.dry)


if __name__ == "__main__":
    main()
