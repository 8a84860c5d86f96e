"""The options of the layer search's command, from the command line to a `SearchConfig` and back.

What imports PyTorch is imported where it is used: --help must not wait for it.
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dola_core.cli.arguments import DTYPES
from dola_core.cli.program import program_name
from dola_core.errors import first_mistake

if TYPE_CHECKING:
    from dola_core.lanes import DecodingConfig
    from dola_core.layer_search.metrics import Metric
    from dola_core.layer_search.questions.dataset import Item
    from dola_core.layer_search.result import SearchResult
    from dola_core.layer_search.search_config import SearchConfig, Task

# The values that the types and constants of the same names allow; a test compares them.
FORMATS = ("jsonl", "truthfulqa", "factor", "yesno")
TASKS = ("mc", "generate")
STRATEGIES = ("all", "grid", "buckets")
METRICS = ("mc1", "mc2", "mc3", "accuracy", "margin", "chose", "said", "first", "exact", "contains")
POST_SOFTMAX = ("head", "vocabulary", "off")
PRESET_FILE = "dola_static.json"

MODULE = "dola_core.layer_search"
ALPHAS = (0.0, 0.05, 0.1, 0.2, 0.5)
BUCKETS, BETAS = ("low", "high"), (0.5, 1.5)
"""What is measured beside the layers, unless options say otherwise."""


def command_line() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog=program_name("dola-layer-search", MODULE),
        description="Choose the contrast layer j* and α of a model on questions with known answers.",
    )
    add = parser.add_argument
    add("--model", help="a folder or a Hugging Face name (default: the shipped Atlas-30L)")
    add("--data", type=Path, required=True, help="questions: JSON Lines, TruthfulQA's CSV or one of FACTOR's, or JSON "
        "Lines of questions answered by yes or no, as POPE's")  # fmt: skip
    add("--format", choices=("auto", *FORMATS), default="auto")
    add("--images", type=Path, metavar="FOLDER", help="where the images lie that questions name (default: where --data "
        "lies)")  # fmt: skip
    add("--limit", type=int, metavar="N", help="measure a random sample of so many questions, in which every domain "
        "has its share")  # fmt: skip
    add("--seed", type=int, default=0, help="draws the sample and the examples; the same on every machine (default: 0)")
    add("--chat", action="store_true", help="put each question as the user's turn of the model's chat template; its "
        "answers are what the assistant says")  # fmt: skip
    add("--few-shot", type=int, default=0, metavar="K", help="put K questions with their first answers before each "
        "other one, the same for all, drawn from the file like a sample; they are not measured, nor is any question "
        "with the same entity as one of them")  # fmt: skip
    add("--preamble", action="store_true", help="put TruthfulQA's customary examples before each of its questions")
    add("--task", choices=TASKS, default="mc", help="score the given answers, or generate and compare")
    add("--strategy", choices=STRATEGIES, default="all", help="which layers to measure")
    add("--layers", type=_layers, default=(), metavar="J,…", help="measure these layers instead, such as 21; with one "
        "α, a setting that was chosen before is tested on other questions")  # fmt: skip
    add("--alphas", type=_alphas, default=ALPHAS, help="several α between commas (default: 0,0.05,0.1,0.2,0.5)")
    add("--buckets", type=_names, metavar="B,…", help="measure DoLa-dynamic with these buckets, too, in the same pass; "
        "none leaves it out (default, for given answers: low,high)")  # fmt: skip
    add("--betas", type=_betas, metavar="B,…", help="measure every layer and bucket at these strengths, too, in the "
        "same pass; none leaves them out (default, for given answers: 0.5,1.5)")  # fmt: skip
    add("--lane", action="append", default=[], metavar="LANE", help="measure another lane in the same pass, such as "
        '"linear:22=-0.5,10=-0.5"; may be repeated')  # fmt: skip
    add("--metric", choices=METRICS, help="what to choose by (default: mc1, accuracy for FACTOR, contains to generate)")
    add("--normalise", choices=("sum", "mean"), default="sum", help="an answer's score: sum or mean over its tokens")
    add("--raw-early", action="store_true", help="read layer j* without the final norm, as the first DoLa code did")
    add("--post-softmax", choices=POST_SOFTMAX, default="head", help="normalise F over the plausible head (log p_hat), "
        "over the whole vocabulary (as the authors' scripts), or not at all")  # fmt: skip
    add("--no-apc", action="store_true", help="count every token as plausible; then α means nothing")
    add("--max-new-tokens", type=int, default=48, help="of a generated text")
    add("--repetition-penalty", type=float, default=1.0, help="of a generated text")
    add("--penalty-position", choices=("before", "after"), default="before")
    add("--out", type=Path, default=Path("layer_search"), help="folder for the result")
    add("--resume", action="store_true", help="go on from what was measured in --out")
    add("--write", action="store_true", help=f"store the choice beside the model's weights, in {PRESET_FILE}")
    add("--no-texts", action="store_true", help="write numbers of questions and domains, and no texts of --data")
    add("--show", type=Path, metavar="RESULT", help="measure nothing: write the report of a result.json into --out, "
        "with the texts of the questions in --data, of which it is")  # fmt: skip
    add("--ray", action="store_true", help="measure on workers that Ray runs, here or on the cluster of RAY_ADDRESS")
    add("--workers", type=int, metavar="N", help="how many (default: one for each GPU, or for each two processors)")
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


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def _betas(text: str) -> tuple[float, ...]:
    try:
        betas = () if text == "none" else tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        betas = (-1.0,)
    if not all(0 <= beta <= 10 for beta in betas):
        raise argparse.ArgumentTypeError(f"β must be numbers from 0 to 10 between commas, as 0.5,1.5; got {text!r}")
    return betas


def _layers(text: str) -> tuple[int, ...]:
    try:
        layers = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        layers = ()
    if not layers or layers[0] < 1:
        raise argparse.ArgumentTypeError(f"layers must be numbers from 1 between commas, such as 21; got {text!r}")
    return layers


def search_config(options: argparse.Namespace, items: "Sequence[Item]") -> "SearchConfig":
    """The configuration of the search; `ValueError` with one sentence for an option out of its range.

    `items`, all questions of the file, determine the metric if no option does.
    """
    from pydantic import ValidationError

    from dola_core.layer_search.answers.scoring import ScoringConfig
    from dola_core.layer_search.search_config import SearchConfig

    # What is usual where it can be measured, and where layers are compared: one setting is tested alone.
    scored = options.task == "mc" and options.post_softmax != "vocabulary" and not options.no_apc
    usual = scored and not (len(options.layers) == len(options.alphas) == 1)
    try:
        return SearchConfig(
            task=options.task,
            strategy=options.strategy,
            layers=options.layers,
            buckets=(BUCKETS if usual else ()) if options.buckets is None else options.buckets,
            betas=(BETAS if usual else ()) if options.betas is None else options.betas,
            lanes=tuple(options.lane),
            alphas=(0.0,) if options.no_apc else options.alphas,
            metric=options.metric or _default_metric(options.task, items),
            normalisation=options.normalise,
            rule=ScoringConfig(
                early_norm=not options.raw_early, post_softmax=options.post_softmax, apc=not options.no_apc
            ),
            decoding=_decoding_config(options) if options.task == "generate" else None,
            preamble=options.preamble,
            chat=options.chat,
            few_shot=options.few_shot,
            limit=options.limit,
            seed=options.seed,
        )
    except ValidationError as error:
        raise ValueError(f"{first_mistake(error).text}.") from error


def _decoding_config(options: argparse.Namespace) -> "DecodingConfig":
    from dola_core.lanes import DecodingConfig
    from dola_core.layer_search.questions.sample import EXAMPLE_END

    return DecodingConfig(
        max_new_tokens=options.max_new_tokens,
        early_norm=not options.raw_early,
        repetition_penalty=options.repetition_penalty,
        penalty_position=options.penalty_position,
        stop=(EXAMPLE_END,) if options.few_shot else (),  # else a model goes on with examples of its own
    )


def _default_metric(task: "Task", items: "Sequence[Item]") -> "Metric":
    """The customary metric: TruthfulQA's MC1 where questions have several right answers, else FACTOR's accuracy."""
    if task == "generate":
        return "contains"
    return "mc1" if any(len(item.answers) > 1 for item in items) else "accuracy"


def repeating_command(result: "SearchResult") -> str:
    """The command that measures the same again; empty if no command does, as with questions that are in no file."""
    config, decoding = result.asked, result.asked.decoding
    given: list[tuple[str, object]] = [
        ("--limit", config.limit),
        ("--seed", config.seed or None),
        ("--chat", config.chat),
        ("--few-shot", config.few_shot or None),
        ("--preamble", config.preamble),
        ("--task", config.task),
        ("--strategy", config.strategy),
        ("--layers", ",".join(map(str, config.layers)) or None),
        ("--alphas", ",".join(map(repr, config.alphas)) if config.rule.apc else None),
        ("--buckets", ",".join(config.buckets) or "none"),
        ("--betas", ",".join(map(repr, config.betas)) or "none"),
        ("--metric", config.metric),
        ("--normalise", config.normalisation),
        ("--raw-early", not config.rule.early_norm),
        ("--post-softmax", config.rule.post_softmax),
        ("--no-apc", not config.rule.apc),
    ]
    if decoding:
        given += [
            ("--max-new-tokens", decoding.max_new_tokens),
            ("--repetition-penalty", decoding.repetition_penalty),
            ("--penalty-position", decoding.penalty_position),
        ]
    if result.model.dtype in DTYPES:
        given.append(("--dtype", result.model.dtype))
    given += [("--lane", lane) for lane in config.lanes]
    options: list[str] = []
    for option, value in given:
        if value is True:
            options.append(option)
        elif value is not None and value is not False:
            options += [option, str(value)]
    try:
        repeated = search_config(command_line().parse_args(["--data", "x", *options]), ())
    except ValueError:
        return ""
    if repeated != config or not result.data.sha256:
        return ""
    named = ["--model", result.model.name, "--data", result.data.name]
    return shlex.join(["python", "-m", MODULE, *named, *options])
