"""The command line of the layer search: `python -m dola_core.layer_search --data FILE`. In Python, `search_layers`.

Writes `result.json` and `report.html`, and can be interrupted and resumed.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from dola_core.cli.arguments import DTYPES
from dola_core.cli.interrupt import InterruptHandler
from dola_core.cli.output import print_error
from dola_core.cli.program import FAILED, program_name
from dola_core.errors import FileWriteError, FolderInUseError, LoadError, first_mistake
from dola_core.files import folder_in_use, unwritable_reason, write_atomically

# What imports PyTorch is imported where it is used: --help must not wait for it.
if TYPE_CHECKING:
    from dola_core.lanes import DecodingConfig
    from dola_core.layer_search.metrics import Metric
    from dola_core.layer_search.questions.dataset import Item
    from dola_core.layer_search.result import SearchConfig, SearchResult, Task
    from dola_core.models.loaded_model import LoadedModel

# The values that the types and constants of the same names allow; a test compares them.
FORMATS = ("jsonl", "truthfulqa", "factor")
TASKS = ("mc", "generate")
STRATEGIES = ("all", "grid", "buckets")
METRICS = ("mc1", "mc2", "mc3", "accuracy", "margin", "chose", "said", "first", "exact", "contains")
POST_SOFTMAX = ("head", "vocabulary", "off")
PRESET_FILE = "dola_static.json"

ALPHAS = (0.0, 0.05, 0.1, 0.2, 0.5)


def command_line() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog=program_name("dola-layer-search", "dola_core.layer_search"),
        description="Choose the contrast layer j* and α of a model on questions with known answers.",
    )
    add = parser.add_argument
    add("--model", help="a folder or a Hugging Face name (default: the shipped Atlas-30L)")
    add("--data", type=Path, required=True, help="questions: JSON Lines, TruthfulQA's CSV or one of FACTOR's")
    add("--format", choices=("auto", *FORMATS), default="auto")
    add("--preamble", action="store_true", help="put TruthfulQA's customary examples before each of its questions")
    add("--task", choices=TASKS, default="mc", help="score the given answers, or generate and compare")
    add("--strategy", choices=STRATEGIES, default="all", help="which layers to measure")
    add("--alphas", type=_alphas, default=ALPHAS, help="several α between commas (default: 0,0.05,0.1,0.2,0.5)")
    add("--metric", choices=METRICS, help="what to choose by (default: mc1, accuracy for FACTOR, contains to generate)")
    add("--normalise", choices=("sum", "mean"), default="sum", help="an answer's score: sum or mean over its tokens")
    add("--raw-early", action="store_true", help="read layer j* without the final norm, as the first DoLa code did")
    add("--post-softmax", choices=POST_SOFTMAX, default="head", help="normalise F over the plausible head (log p_hat), "
        "over the whole vocabulary (as the authors' scripts), or not at all")  # fmt: skip
    add("--no-apc", action="store_true", help="count every token as plausible; then α means nothing")
    add("--max-new-tokens", type=int, default=48, help="of a generated text")
    add("--repetition-penalty", type=float, default=1.0, help="of a generated text")
    add("--penalty-position", choices=("before", "after"), default="before")
    add("--limit", type=int, help="only the first so many questions")
    add("--out", type=Path, default=Path("layer_search"), help="folder for the result")
    add("--resume", action="store_true", help="go on from what was measured in --out")
    add("--write", action="store_true", help=f"store the choice beside the model's weights, in {PRESET_FILE}")
    add("--device", default="auto")
    add("--dtype", choices=("auto", *DTYPES), default="auto")
    return parser


def _alphas(text: str) -> tuple[float, ...]:
    try:
        alphas = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        alphas = ()
    if not alphas or not all(0 <= alpha <= 1 for alpha in alphas):
        raise argparse.ArgumentTypeError(
            f"α must be numbers from 0 to 1 between commas, such as 0.05,0.1; got {text!r}"
        )
    return alphas


def main(arguments: Sequence[str | os.PathLike[str]] | None = None) -> int:
    """Run the search, print the verdict, and return the exit status.

    `arguments` are those of the command line, by default the process's own.
    """
    parser = command_line()
    options = parser.parse_args(None if arguments is None else [os.fspath(argument) for argument in arguments])
    if options.limit is not None and options.limit < 0:
        parser.error("--limit must be a number of questions.")
    interrupt = InterruptHandler()
    try:
        with interrupt:
            try:
                result = _search(options)
            except Exception:
                interrupt.check()  # some libraries make an error of their own of an interruption
                raise
    except KeyboardInterrupt:
        print_error(parser.prog, f"interrupted. {_kept(options.out)}")
        return interrupt.status
    except (FileWriteError, FolderInUseError) as error:
        print_error(parser.prog, str(error))
        return FAILED
    except (ValueError, LoadError, OSError) as error:
        parser.error(str(error))
    except (RuntimeError, MemoryError) as error:
        from dola_core.models.devices import out_of_memory

        if not out_of_memory(error):
            raise
        print_error(parser.prog, f"memory ran out; choose a smaller model or another device. {_kept(options.out)}")
        return FAILED
    from dola_core.layer_search.search import REPORT, RESULT

    print(f"{result.verdict}\nWritten: {options.out / RESULT}, {options.out / REPORT}")
    return 0


def _kept(out: Path) -> str:
    """What a search that did not come to its end has left."""
    if any(out.glob("measured-*.npz")):
        return f"What was measured is in {out}; go on with --resume."
    return "Nothing was measured."


def _search(options: argparse.Namespace) -> "SearchResult":
    """Read the questions, load the model, search with a progress bar, and store the choice if asked to."""
    from dola_core.layer_search.questions.dataset import read_items
    from dola_core.layer_search.search import search_layers
    from dola_core.models.loading import load_model

    items = read_items(options.data, options.format, preamble=options.preamble)[: options.limit]
    config = _search_config(options, items)
    if options.out.is_dir():
        with folder_in_use(options.out):  # now rather than after minutes of loading; the search itself asks again
            pass
    loaded = load_model(options.model, device=options.device, dtype=options.dtype)
    preset_file = _preset_file(loaded) if options.write else None  # before the search, which may take hours
    with tqdm(total=len(items), unit="question", mininterval=0.5) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = search_layers(
            loaded,
            items,
            config,
            name=options.data.name,
            sha256=hashlib.sha256(options.data.read_bytes()).hexdigest(),
            out=options.out,
            resume=options.resume,
            progress=progress,
        )
    if preset_file:
        _write_preset(preset_file, result)
    return result


def _search_config(options: argparse.Namespace, items: "Sequence[Item]") -> "SearchConfig":
    """The configuration of the search; `ValueError` with one sentence for an option out of its range."""
    from pydantic import ValidationError

    from dola_core.layer_search.result import SearchConfig
    from dola_core.layer_search.scoring import ScoringConfig

    try:
        return SearchConfig(
            task=options.task,
            strategy=options.strategy,
            alphas=(0.0,) if options.no_apc else options.alphas,
            metric=options.metric or _default_metric(options.task, items),
            normalisation=options.normalise,
            rule=ScoringConfig(
                early_norm=not options.raw_early, post_softmax=options.post_softmax, apc=not options.no_apc
            ),
            decoding=_decoding_config(options) if options.task == "generate" else None,
            preamble=options.preamble,
        )
    except ValidationError as error:
        raise ValueError(f"{first_mistake(error).text}.") from error


def _decoding_config(options: argparse.Namespace) -> "DecodingConfig":
    from dola_core.lanes import DecodingConfig

    return DecodingConfig(
        max_new_tokens=options.max_new_tokens,
        early_norm=not options.raw_early,
        repetition_penalty=options.repetition_penalty,
        penalty_position=options.penalty_position,
    )


def _default_metric(task: "Task", items: "Sequence[Item]") -> "Metric":
    """The customary metric: TruthfulQA's MC1 where questions have several right answers, else FACTOR's accuracy."""
    if task == "generate":
        return "contains"
    return "mc1" if any(len(item.answers) > 1 for item in items) else "accuracy"


def _preset_file(loaded: "LoadedModel") -> Path:
    """The file that stores a choice for the model; `ValueError` if it has none, or one that cannot be written."""
    folder = loaded.model.name_or_path
    if not folder or not Path(folder).is_dir():
        raise ValueError(
            f"{loaded.info.name} lies in no folder here, so --write has no place for the choice; save the model to "
            "one, or pass layer and alpha where you use it."
        )
    file = Path(folder, PRESET_FILE)
    if reason := unwritable_reason(file):
        raise ValueError(f"--write cannot store the choice in {file}: {reason}.")
    return file


def _write_preset(file: Path, result: "SearchResult") -> None:
    """Store the chosen setting as the model's preset."""
    from dola_core.models.preset import Preset

    chosen, early_norm = result.chosen, result.asked.rule.early_norm
    preset = Preset(
        layer=chosen.layer,
        alpha=chosen.alpha,
        early_norm=early_norm,
        finding=result.verdict,
        identity=result.model.identity,
    )
    document = preset.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"
    write_atomically(file, lambda out: out.write(document))


if __name__ == "__main__":
    sys.exit(main())
