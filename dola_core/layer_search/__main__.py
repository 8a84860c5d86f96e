"""The command that chooses j* and α: `python -m dola_core.layer_search --data FILE`; `layer_search` is its function.

It writes `result.json` and `report.html`, and can be interrupted and taken up again.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import ValidationError
from tqdm import tqdm

from dola_core.lanes import Decoding
from dola_core.layer_search.dataset import FORMATS, Item, read_items
from dola_core.layer_search.metrics import METRICS
from dola_core.layer_search.plausible_heads import PostSoftmax
from dola_core.layer_search.result import Asked, SearchResult, Strategy, Task
from dola_core.layer_search.scoring import Rule
from dola_core.layer_search.search import REPORT, RESULT, layer_search
from dola_core.models.loading import DTYPES, LoadedModel, LoadError, load_model
from dola_core.models.preset import PRESET_FILE, Preset

__all__ = ["layer_search", "main"]

ALPHAS = (0.0, 0.05, 0.1, 0.2, 0.5)
INTERRUPTED = 130
"""Exit status of a command that was stopped by Ctrl-C."""


def command_line() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m dola_core.layer_search",
        description="Choose the contrast layer j* and α of a model on questions with known answers.",
    )
    add = parser.add_argument
    add("--model", help="a folder or a Hugging Face name (default: the shipped Atlas-30L)")
    add("--data", type=Path, required=True, help="questions: JSON Lines, TruthfulQA's CSV or one of FACTOR's")
    add("--format", choices=("auto", *FORMATS), default="auto")
    add("--preamble", action="store_true", help="put TruthfulQA's customary examples before each of its questions")
    add("--task", choices=get_args(Task), default="mc", help="score the given answers, or generate and compare")
    add("--strategy", choices=get_args(Strategy), default="all", help="which layers to measure")
    add("--alphas", type=_alphas, default=ALPHAS, help="several α between commas (default: 0,0.05,0.1,0.2,0.5)")
    add("--metric", choices=METRICS, help="what to choose by (default: mc1, accuracy for FACTOR, contains to generate)")
    add("--normalise", choices=("sum", "mean"), default="sum", help="an answer's score: sum or mean over its tokens")
    add("--raw-early", action="store_true", help="read layer j* without the final norm, as the first DoLa code did")
    add("--post-softmax", choices=get_args(PostSoftmax), default="head", help="normalise F over the head (log p_hat), "
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, tell what was found, and return the exit status."""
    parser = command_line()
    options = parser.parse_args(arguments)
    if options.limit is not None and options.limit < 0:
        parser.error("--limit must be a number of questions.")
    try:
        items = read_items(options.data, options.format, preamble=options.preamble)[: options.limit]
        asked = _asked(options, items)
        loaded = load_model(options.model, device=options.device, dtype=options.dtype)
        if options.write:
            _preset_file(loaded)
        with tqdm(total=len(items), unit="question", mininterval=0.5) as bar:

            def progress(done: int, to_do: int) -> None:
                bar.total = to_do
                bar.update(done - bar.n)

            found = layer_search(
                loaded,
                items,
                asked,
                name=options.data.name,
                sha256=hashlib.sha256(options.data.read_bytes()).hexdigest(),
                out=options.out,
                resume=options.resume,
                progress=progress,
            )
        if options.write:
            _write(loaded, found)
    except KeyboardInterrupt:
        print(f"Interrupted; what was measured is in {options.out}. Go on with --resume.", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, LoadError, OSError) as error:
        parser.error(str(error))
    print(f"{found.verdict}\nWritten: {options.out / RESULT}, {options.out / REPORT}")
    return 0


def _asked(options: argparse.Namespace, items: Sequence[Item]) -> Asked:
    metric = options.metric
    if metric is None:
        multiple = len({len(item.answers) for item in items}) > 1 or any(len(item.answers) > 1 for item in items)
        metric = "contains" if options.task == "generate" else "mc1" if multiple else "accuracy"
    try:
        return Asked(
            task=options.task,
            strategy=options.strategy,
            alphas=(0.0,) if options.no_apc else options.alphas,
            metric=metric,
            normalisation=options.normalise,
            rule=Rule(early_norm=not options.raw_early, post_softmax=options.post_softmax, apc=not options.no_apc),
            decoding=Decoding(
                max_new_tokens=options.max_new_tokens,
                early_norm=not options.raw_early,
                repetition_penalty=options.repetition_penalty,
                penalty_position=options.penalty_position,
            )
            if options.task == "generate"
            else None,
            preamble=options.preamble,
        )
    except ValidationError as error:
        mistake = error.errors()[0]
        raise ValueError(f"{mistake['loc'][-1]}: {mistake['msg']}.") from error


def _preset_file(loaded: LoadedModel) -> Path:
    """Where a choice is stored; `ValueError` for a model that lies in no folder of this machine."""
    folder = Path(loaded.model.name_or_path)
    if not folder.is_dir():
        raise ValueError(
            f"{loaded.info.name} lies in no folder here, so --write has no place for the choice; save the model to "
            "one, or pass layer and alpha where you use it."
        )
    return folder / PRESET_FILE


def _write(loaded: LoadedModel, found: SearchResult) -> None:
    """Store the choice as the model's own."""
    chosen, norm = found.chosen, found.asked.rule.early_norm
    preset = Preset(layer=chosen.layer, alpha=chosen.alpha, early_norm=norm, finding=found.verdict)
    _preset_file(loaded).write_text(preset.model_dump_json(indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
