"""The command line of the layer search: `python -m dola_core.layer_search --data FILE`. In Python, `search_layers`.

Writes `result.json` and `report.html`, and can be interrupted and resumed.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from dola_core.cli.interrupt import InterruptHandler
from dola_core.cli.output import print_error
from dola_core.cli.program import FAILED
from dola_core.errors import FileWriteError, FolderInUseError, LoadError
from dola_core.files.writing import folder_in_use, unwritable_reason, write_atomically
from dola_core.layer_search.arguments import (
    FORMATS,
    METRICS,
    POST_SOFTMAX,
    PRESET_FILE,
    STRATEGIES,
    TASKS,
    command_line,
    search_config,
)

# What imports PyTorch is imported where it is used: --help must not wait for it.
if TYPE_CHECKING:
    from dola_core.layer_search.evaluate import Evaluate
    from dola_core.layer_search.result import SearchResult
    from dola_core.models.loaded_model import LoadedModel

__all__ = ["FORMATS", "METRICS", "POST_SOFTMAX", "PRESET_FILE", "STRATEGIES", "TASKS", "main"]


def main(arguments: Sequence[str | os.PathLike[str]] | None = None) -> int:
    """Run the search or show a result, print what came of it, and return the exit status.

    `arguments` are those of the command line, by default the process's own.
    """
    parser = command_line()
    options = parser.parse_args(None if arguments is None else [os.fspath(argument) for argument in arguments])
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be a number of questions.")
    if options.workers is not None and (options.workers < 1 or not options.ray):
        parser.error("--workers must be a number of workers, beside --ray.")
    interrupt = InterruptHandler()
    try:
        with interrupt:
            try:
                done = _show(options) if options.show else _search(options)
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
    print(done)
    return 0


def _kept(out: Path) -> str:
    """What a search that did not come to its end has left."""
    if any(out.glob("measured-*.npz")):
        return f"What was measured is in {out}; go on with --resume."
    return "Nothing was measured."


def _show(options: argparse.Namespace) -> str:
    """Write the report of a result with the texts of its questions, and say where it is."""
    from dola_core.layer_search.report.with_texts import write_report_with_texts

    return f"Written: {write_report_with_texts(options.show, options.data, options.format, options.out)}"


def _search(options: argparse.Namespace) -> str:
    """Read the questions, load the model, search with a progress bar, and store the choice if asked to.

    Returns the verdict, and where the result is.
    """
    from dola_core.layer_search.evaluate import evaluate_here, measurable_metrics
    from dola_core.layer_search.questions.file import QuestionFile
    from dola_core.layer_search.questions.image_files import image_facts
    from dola_core.layer_search.report.html_report import REPORT
    from dola_core.layer_search.search import RESULT, questions_to_measure, search_layers
    from dola_core.models.loading import load_model

    file = QuestionFile.read(options.data)
    items = file.items(options.format, preamble=options.preamble, images=options.images)
    config = search_config(options, items)
    questions = questions_to_measure(items, config)
    measurable_metrics(questions, config)  # now rather than after minutes of loading; the search itself asks again
    image_facts(questions.items, questions.numbers)  # likewise
    if options.out.is_dir():
        with folder_in_use(options.out):  # likewise
            pass
    evaluate = _on_workers(options) if options.ray else evaluate_here
    loaded = load_model(options.model, device=options.device, dtype=options.dtype)
    preset_file = _preset_file(loaded) if options.write else None  # before the search, which may take hours
    with tqdm(total=len(questions.items), unit="question", mininterval=0.5) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = search_layers(
            loaded,
            items,
            config,
            name=file.name,
            sha256=file.sha256,
            out=options.out,
            resume=options.resume,
            texts=not options.no_texts,
            progress=progress,
            evaluate=evaluate,
        )
    if preset_file:
        _write_preset(preset_file, result)
    return f"{result.verdict}\nWritten: {options.out / RESULT}, {options.out / REPORT}"


def _on_workers(options: argparse.Namespace) -> "Evaluate":
    """What measures on Ray's workers; `LoadError` if it is not installed."""
    from dola_core.layer_search.ray_workers import RayWorkers

    return RayWorkers(options.model, device=options.device, count=options.workers).evaluate


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
        tested=result.tested,
        identity=result.model.identity,
    )
    document = preset.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"
    write_atomically(file, lambda out: out.write(document))


if __name__ == "__main__":
    sys.exit(main())
