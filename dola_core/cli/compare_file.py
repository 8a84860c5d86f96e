"""Complete every prompt of a file: `dola compare-file prompts.txt --lane plain --lane static:22 --out runs.jsonl`.

What needs PyTorch is imported once the arguments are known to be right: `--help` must not wait for it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from dola_core.cli.arguments import OneLineParser, add_decoding_options
from dola_core.cli.asked import Asked, load_engine, refusals_in_words
from dola_core.cli.interrupt import InterruptHandler
from dola_core.cli.output import print_error
from dola_core.cli.program import FAILED, CommandError, program_name
from dola_core.files.writing import unwritable_reason, write_atomically

COMMAND = "compare-file"
"""The first argument of `dola` by which this command is meant."""


MOST_ROWS = 256
"""The most texts that are decoded together, as on the page."""


def parser_of() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = OneLineParser(
        prog=f"{program_name('dola', 'dola_core')} {COMMAND}",
        description="Complete every prompt of a file in lock step, in any lanes, and write a row for each.",
        epilog="What was written stays if the command is interrupted; the same command goes on where it stopped.",
    )
    add = parser.add_argument
    add("file", type=Path, help='prompts: a text file with one a line; .jsonl with objects that have a "prompt"; or '
        '.csv with such a column')  # fmt: skip
    add("--out", type=Path, required=True, metavar="FILE", help="JSON Lines with a row for each prompt")
    add("--html", type=Path, metavar="FILE", help="the rows as a table that opens anywhere, each with its comparison")
    add("--traces", type=Path, metavar="FOLDER", help="keep everything recorded, a file for each prompt, for the page")
    add("--max-rows", type=int, metavar="N", default=16, help="texts that are decoded together (default: 16); 1 runs "
        "the prompts one after another")  # fmt: skip
    add_decoding_options(parser)
    return parser


def main(arguments: Sequence[str | os.PathLike[str]]) -> int:
    """Run the command and return its exit status. `arguments` are those behind its name."""
    parser = parser_of()
    options = parser.parse_args([os.fspath(argument) for argument in arguments])
    interrupt = InterruptHandler()
    try:
        with interrupt:
            return _compare_file(options, interrupt)
    except CommandError as error:
        message, status = str(error), error.status
    except KeyboardInterrupt:
        message, status = "interrupted; the same command goes on from here.", interrupt.status
    except OSError as error:
        message, status = str(error), FAILED
    print_error(parser.prog, message)
    return status


def _compare_file(options: argparse.Namespace, interrupt: InterruptHandler) -> int:
    from tqdm import tqdm

    from dola_core.many_prompts.prompts import read_prompts
    from dola_core.many_prompts.results import RunsFile
    from dola_core.many_prompts.rows import settings_digest
    from dola_core.many_prompts.run import run_prompts
    from dola_core.many_prompts.table import table_page
    from dola_core.models.devices import out_of_memory

    with refusals_in_words():
        prompts = read_prompts(options.file)
        asked = Asked.of(options)
    if not 1 <= options.max_rows <= MOST_ROWS:
        raise CommandError(f"--max-rows must be from 1 to {MOST_ROWS}; got {options.max_rows}.")
    folder = _traces_folder(options)
    for file in filter(None, (options.out, options.html)):
        if reason := unwritable_reason(file):
            raise CommandError(f"{file} cannot be written: {reason}.")
    with refusals_in_words():
        engine = load_engine(options)
        settings = settings_digest(engine.loaded.info, *asked.fitted(engine.loaded), chat=options.chat)
        runs = RunsFile(options.out, prompts, settings)
    missing = [(number, text) for number, text in enumerate(prompts, start=1) if number not in runs.rows]
    comparison_of = partial(asked.comparison, engine.loaded)
    rows = run_prompts(engine, missing, comparison_of, settings, max_rows=options.max_rows)
    try:
        with closing(rows), tqdm(total=len(prompts), initial=len(runs.rows), unit="prompt", disable=None) as bar:
            for row, trace in rows:
                if trace is not None and folder is not None:
                    _write_trace(folder, row.number, trace.to_json())
                runs.add(row)
                bar.update()
                if interrupt.requested:
                    raise KeyboardInterrupt
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise CommandError(
                "memory ran out; take a smaller model or --max-rows, or leave out the longest prompts.", FAILED
            ) from error
        raise
    ordered = [runs.rows[number] for number in sorted(runs.rows)]
    if options.html is not None:
        page = table_page(engine.label, ordered, lambda number: _view(folder, number))
        write_atomically(options.html, lambda out: out.write(page.encode()))
    _report(options, ordered)
    return 0


def _traces_folder(options: argparse.Namespace) -> Path | None:
    """Where traces are kept: the folder that was asked for, or one beside the table, which is made of them."""
    folder: Path | None = options.traces
    if folder is None and options.html is not None:
        folder = options.html.with_suffix(".traces")
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"{folder} cannot be made: {error.strerror}.") from error
    return folder


def _trace_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.json"


def _view(folder: Path | None, number: int) -> str | None:
    """The comparison of a prompt as HTML, if its trace was kept."""
    from dola_core.trace.schema import Trace

    file = None if folder is None else _trace_file(folder, number)
    if file is None or not file.exists():
        return None
    return Trace.model_validate_json(file.read_text(encoding="utf-8"))._repr_html_()


def _write_trace(folder: Path, number: int, text: str) -> None:
    write_atomically(_trace_file(folder, number), lambda out: out.write(text.encode()))


def _report(options: argparse.Namespace, rows: Sequence[object]) -> None:
    differ = sum(getattr(row, "differing", 0) > 0 for row in rows)
    failed = sum(bool(getattr(row, "error", "")) for row in rows)
    said = f"{len(rows):,} prompts in {options.out}: on {differ:,} the lanes choose differently"
    print(f"{said}, {failed:,} could not be run." if failed else f"{said}.", file=sys.stdout)
