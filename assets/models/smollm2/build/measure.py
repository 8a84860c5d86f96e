"""Measure SmolLM2 on this project's questions and on published ones, and write the tables of its card: `make measure`.

The table of the decoders side by side is made for Atlas-30L's card, too. Each measurement is one run of the layer
search, whose command is below; a result that is there already is kept. Results hold numbers and no texts. The published
sets stay outside the project: `--public` says where they lie.
"""

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))
from dola_core.files.writing import write_atomically
from dola_core.lanes import DolaDynamic, lane_text
from dola_core.layer_search.__main__ import main as search
from dola_core.layer_search.result import Interval, SearchResult
from dola_core.models.preset import PRESET_FILE, Preset

MODELS = Path(__file__).resolve().parents[2]
RESULTS, CARD = MODELS / "smollm2" / "measured", MODELS / "smollm2" / "README.md"
ATLAS = MODELS / "atlas-30l"
BEGIN, END = "<!-- measured -->\n", "<!-- end of what was measured -->\n"
SIDE_BEGIN, SIDE_END = "<!-- side by side -->\n", "<!-- end of side by side -->\n"
DTYPES = {"smollm2": "bfloat16", "atlas-30l": "float32"}
"""The models, and what each is measured in."""
GRID = "--strategy grid --alphas 0.1"
"""The layers that the paper chooses from, scaled to 30, and its α."""
LAYERS_ALONE = "--buckets none --betas none"
EVERY = f"--alphas 0,0.05,0.1,0.2,0.5 {LAYERS_ALONE}"


@dataclass(frozen=True)
class Measurement:
    """One run of the layer search."""

    name: str
    """Of its result's file."""
    what: str
    """A line for the table."""
    data: str
    """The file of questions; of this project, or one of the published ones."""
    options: str
    model: str = "smollm2"
    """The folder of the model, beside which its results lie."""

    @property
    def file(self) -> Path:
        """Its result."""
        return MODELS / self.model / "measured" / f"{self.name}.json"

    def arguments(self, public: Path) -> list[str]:
        """Those of the layer search, without where it runs."""
        folder = ATLAS if self.data.endswith(".jsonl") else public
        return ["--model", self.model, "--data", str(folder / self.data), "--no-texts", *shlex.split(self.options)]


def public_sets() -> list[Measurement]:
    """The published sets, F normalised over the plausible head or not at all, layer j* read with the norm or raw."""
    sets = {
        "truthfulqa": ("TruthfulQA", "TruthfulQA.csv", "--preamble --metric mc1", 250),
        "expert": ("EXPERT-FACTOR", "expert_factor.csv", "--metric accuracy", None),
        "news": ("NEWS-FACTOR", "news_factor.csv", "--metric accuracy --limit 300", None),
    }
    ways = {"": ("", ""), "-off": (", F itself", "--post-softmax off"), "-raw": (", j\\* raw", "--raw-early"),
            "-off-raw": (", F itself, j\\* raw", "--post-softmax off --raw-early")}  # fmt: skip
    return [
        Measurement(
            f"{name}{suffix}", f"{title}{way}", data,
            f"{GRID} {LAYERS_ALONE} {options} {more}" + (f" --limit {limit}" if limit and "raw" in suffix else ""),
        )
        for name, (title, data, options, limit) in sets.items()
        for suffix, (way, more) in ways.items()
    ]  # fmt: skip


MEASUREMENTS = [
    Measurement("test", "facts to complete", "test.jsonl", "--metric said --layers 21 --alphas 0.2"),
    Measurement(
        "test-few-shot", "the same after 4 solved ones", "test.jsonl",
        "--metric said --layers 21 --alphas 0.2 --few-shot 4",
    ),
    Measurement("few-shot", "validation, 4 solved ones", "validation.jsonl", f"--metric said --few-shot 4 {EVERY}"),
    Measurement("chat", "answers of a chat, by score", "test.jsonl", f"--metric accuracy --chat {EVERY}"),
    *(
        Measurement(
            f"chat-generated{suffix}", f"chats generated{title}", "validation.jsonl",
            f"{GRID} --chat --task generate --metric contains --max-new-tokens 32 --limit 150 {more}",
        )
        for suffix, title, more in (("", "", ""), ("-1.2", ", penalty 1.2", "--repetition-penalty 1.2"))
    ),
    *public_sets(),
]  # fmt: skip
"""What the first table of SmolLM2's card tells."""
PENALISED = "plain,penalty=1.2"
"""Plain decoding with the repetition penalty that the paper puts on DoLa."""
GENERATED = f"--task generate --metric contains --lane {PENALISED}"


BUCKETS_ALONE = "--buckets low,high --betas none"
ATLAS_TRUTHFULQA = Measurement(
    "side-truthfulqa", "TruthfulQA, no examples, α = 0.2", "TruthfulQA.csv",
    f"--layers 17 --alphas 0.2 {BUCKETS_ALONE} --metric mc1", "atlas-30l",
)  # fmt: skip
"""Of Atlas-30L on a published set, at an α beside the recorded one."""


def preset(model: str) -> Preset:
    """The model's recorded j* and α, which were chosen on the validation questions."""
    return Preset.model_validate_json((MODELS / model / PRESET_FILE).read_bytes())


def side_by_side(model: str) -> list[Measurement]:
    """The decoders on the same questions, in the same pass: DoLa-static at its recorded setting, DoLa-dynamic at its α.

    A repetition penalty is for texts that are generated: it is measured in those alone.
    """
    facts = f"{GENERATED} --max-new-tokens 12" + (" --limit 500" if model == "smollm2" else "")
    sets = [
        ("test", "facts to complete", "test.jsonl", "--metric said"),
        ("test-generated", "facts, generated", "test.jsonl", facts),
        ("few-shot", "facts after 4 solved ones", "test.jsonl", "--metric said --few-shot 4"),
        ("few-shot-generated", "after 4 solved ones, generated", "test.jsonl", f"{facts} --few-shot 4"),
    ]
    if model == "smollm2":
        sets += [
            ("chat", "chats, generated", "test.jsonl", f"{GENERATED} --max-new-tokens 32 --limit 200 --chat"),
            ("truthfulqa", "TruthfulQA", "TruthfulQA.csv", "--preamble --metric mc1 --limit 250"),
            ("expert", "EXPERT-FACTOR", "expert_factor.csv", "--metric accuracy"),
            ("news", "NEWS-FACTOR", "news_factor.csv", "--metric accuracy --limit 150"),
        ]
    chosen = preset(model)
    lanes = f"--layers {chosen.layer} --alphas {chosen.alpha:g} {BUCKETS_ALONE}"
    found = [Measurement(f"side-{name}", what, data, f"{lanes} {more}", model) for name, what, data, more in sets]
    return found if model == "smollm2" else [*found, ATLAS_TRUTHFULQA]


SIDE_BY_SIDE = [one for model in DTYPES for one in side_by_side(model)]
"""What the cards of both models tell of the decoders side by side."""


def row(measurement: Measurement) -> str:
    """A line of the table."""
    result = SearchResult.model_validate_json(measurement.file.read_bytes())
    asked, chosen = result.asked, result.chosen
    plain = result.curves[asked.metric].baseline
    gain = chosen.difference if asked.one_setting or result.stability is None else result.stability.gain
    return (
        f"| {measurement.what} | {result.data.items:,} | `{asked.metric}` | {share(plain)} "
        f"| {share(chosen.value)} at {chosen.layer}, {chosen.alpha:g} | {points(gain)} "
        f"| {result.model.dtype} | {result.seconds:,.0f} |"
    )


def share(interval: Interval) -> str:
    """A share with its 95 % interval, in hundredths."""
    return f"{100 * interval.mean:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def points(interval: Interval) -> str:
    """A difference with its 95 % interval, in hundredths."""
    low, mean, high = (f"{100 * value:+.1f}".replace("-", "−") for value in sorted(interval))
    return f"{mean} ({low} to {high})"


def table() -> str:
    """The table of all measurements of SmolLM2 alone that there are, and what they are of, as Markdown."""
    done = [measurement for measurement in MEASUREMENTS if measurement.file.is_file()]
    rows = "\n".join(row(measurement) for measurement in done)
    head = "| questions | of them | metric | plain | best at j\\*, α | gain | in | s |\n" + "|---" * 8 + "|\n"
    return f"{head}{rows}\n\n{sources(done)}"


def sources(done: list[Measurement]) -> str:
    """The files that measurements of one model are of, and their commands, as Markdown."""
    sums = {one.data: SearchResult.model_validate_json(one.file.read_bytes()).data.sha256 for one in done}
    commands = "\n".join(f"--data {one.data} {' '.join(one.options.split())}  # {one.name}" for one in done)
    return (
        "| file | SHA-256 |\n|---|---|\n"
        + "".join(f"| {data} | `{sha256}` |\n" for data, sha256 in sums.items())
        + f"\nThe commands, each after `python -m dola_core.layer_search --model {done[0].model} --no-texts`:\n\n"
        + f"```text\n{commands}\n```\n"
    )


def side_row(measurement: Measurement) -> str:
    """A line of the table of decoders: each with its metric and, below it, its paired gain against plain."""
    result = SearchResult.model_validate_json(measurement.file.read_bytes())
    asked, chosen = result.asked, result.chosen
    plain = result.curves[asked.metric].baseline
    beside = {lane.lane: (lane.values[asked.metric], lane.difference) for lane in result.lanes}
    dynamic = [lane_text(DolaDynamic(bucket=bucket, alpha=chosen.alpha)) for bucket in asked.buckets]
    found = [beside.get(PENALISED), (chosen.value, chosen.difference), *(beside[lane] for lane in dynamic)]
    cells = " | ".join("–" if cell is None else f"{share(cell[0])}<br>{gained(cell[1])}" for cell in found)
    what = f"| {measurement.what} | {result.data.items:,} | `{asked.metric}` "
    return f"{what}| {share(plain)} | {cells} | {result.seconds:,.0f} |"


def gained(gain: Interval) -> str:
    """A gain in hundredths, in bold where its interval leaves out 0."""
    return points(gain) if gain.effect == "chance" else f"**{points(gain)}**"


def side_table(model: str) -> str:
    """The table of a model's decoders side by side, and what it is of, as Markdown."""
    done = [one for one in SIDE_BY_SIDE if one.model == model and one.file.is_file()]
    decoders = ["plain", "plain, penalty 1.2", f"static, j\\* = {preset(model).layer}", "dynamic, low", "dynamic, high"]
    head = f"| questions | of them | metric | {' | '.join(decoders)} | s |\n" + "|---" * 9 + "|\n"
    rows = "\n".join(side_row(one) for one in done)
    return f"{head}{rows}\n\n{sources(done)}"


def write_between(card: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two lines of a card."""
    head, found, rest = card.read_text(encoding="utf-8").partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{card} needs the lines {begin.strip()} and {end.strip()}.")
    document = f"{head}{begin}{text}{end}{tail}".encode()
    write_atomically(card, lambda file: file.write(document))


def record_test() -> None:
    """Put SmolLM2's test at its recorded setting into its preset, from where the page tells it."""
    (test,) = [one for one in MEASUREMENTS if one.name == "test"]
    tested = SearchResult.model_validate_json(test.file.read_bytes()).tested
    recorded = preset("smollm2").model_copy(update={"tested": tested})
    document = recorded.model_dump_json(indent=1, exclude_none=True, exclude={"finding"}).encode() + b"\n"
    write_atomically(MODELS / "smollm2" / PRESET_FILE, lambda file: file.write(document))


def main() -> None:
    """Measure what is missing, and write the tables and the preset's test."""
    every = [*MEASUREMENTS, *SIDE_BY_SIDE]
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--public", type=Path, help="the folder of TruthfulQA.csv, expert_factor.csv, news_factor.csv")
    parser.add_argument("--only", nargs="+", default=[one.name for one in every], metavar="NAME")
    parser.add_argument(
        "--work", type=Path, default=Path("measured"), help="folder for what is under way, to go on with"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", help="default: bfloat16 for SmolLM2, float32 for Atlas-30L")
    options = parser.parse_args()
    for one in every:
        own = one.data.endswith(".jsonl")
        if one.name not in options.only or one.file.is_file() or not (own or options.public):
            continue
        out = options.work / one.model / one.name
        run = [*one.arguments(options.public), "--out", str(out), "--resume", "--device", options.device]
        if status := search([*run, "--dtype", options.dtype or DTYPES[one.model]]):
            sys.exit(status)
        document = (out / "result.json").read_bytes()
        one.file.parent.mkdir(exist_ok=True)
        write_atomically(one.file, lambda file, document=document: file.write(document))
    record_test()
    write_between(CARD, BEGIN, END, table())
    for model in DTYPES:
        write_between(MODELS / model / "README.md", SIDE_BEGIN, SIDE_END, side_table(model))


if __name__ == "__main__":
    main()
