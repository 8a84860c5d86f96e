"""Measure SmolLM2 on this project's questions and on published ones, and write the table of its card: `make measure`.

Each measurement is one run of the layer search, whose command is below; a result that is there already is kept. Results
hold numbers and no texts. The published sets stay outside the project: `--public` says where they lie.
"""

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))
from dola_core.files import write_atomically
from dola_core.layer_search.__main__ import main as search
from dola_core.layer_search.result import Interval, SearchResult

FOLDER = Path(__file__).resolve().parents[1]
RESULTS, CARD = FOLDER / "measured", FOLDER / "README.md"
ATLAS = FOLDER.parent / "atlas-30l"
BEGIN, END = "<!-- measured -->\n", "<!-- end of what was measured -->\n"
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

    @property
    def file(self) -> Path:
        """Its result."""
        return RESULTS / f"{self.name}.json"

    def arguments(self, public: Path) -> list[str]:
        """Those of the layer search, without where it runs."""
        folder = ATLAS if self.data.endswith(".jsonl") else public
        return ["--model", "smollm2", "--data", str(folder / self.data), "--no-texts", *shlex.split(self.options)]


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
"""All that the card tells, besides the search of all settings that lies in `layer_search`."""


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
    """The table of all measurements that there are, the files they are of, and their commands, as Markdown."""
    done = [measurement for measurement in MEASUREMENTS if measurement.file.is_file()]
    rows = "\n".join(row(measurement) for measurement in done)
    sums = {one.data: SearchResult.model_validate_json(one.file.read_bytes()).data.sha256 for one in done}
    commands = "\n".join(f"--data {one.data} {' '.join(one.options.split())}  # {one.name}" for one in done)
    head = "| questions | of them | metric | plain | best at j\\*, α | gain | in | s |\n" + "|---" * 8 + "|\n"
    return (
        f"{head}{rows}\n\n| file | SHA-256 |\n|---|---|\n"
        + "".join(f"| {data} | `{sha256}` |\n" for data, sha256 in sums.items())
        + "\nThe commands, each after `python -m dola_core.layer_search --model smollm2 --no-texts`:\n\n"
        + f"```text\n{commands}\n```\n"
    )


def main() -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--public", type=Path, help="the folder of TruthfulQA.csv, expert_factor.csv, news_factor.csv")
    parser.add_argument("--only", nargs="+", default=[one.name for one in MEASUREMENTS], metavar="NAME")
    parser.add_argument(
        "--work", type=Path, default=Path("measured"), help="folder for what is under way, to go on with"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    for one in MEASUREMENTS:
        own = one.data.endswith(".jsonl")
        if one.name not in options.only or one.file.is_file() or not (own or options.public):
            continue
        out = options.work / one.name
        run = [*one.arguments(options.public), "--out", str(out), "--resume", "--device", options.device]
        if status := search([*run, "--dtype", options.dtype]):
            sys.exit(status)
        document = (out / "result.json").read_bytes()
        RESULTS.mkdir(exist_ok=True)
        write_atomically(one.file, lambda file, document=document: file.write(document))
    head, _, rest = CARD.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    text = f"{head}{BEGIN}{table()}{END}{tail}".encode()
    write_atomically(CARD, lambda file: file.write(text))


if __name__ == "__main__":
    main()
