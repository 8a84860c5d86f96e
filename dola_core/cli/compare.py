"""Complete a prompt twice in the terminal: `python -m dola_core "The capital of Australia is" --layer 22 --alpha 0.1`.

What needs PyTorch is imported once the arguments are known to be right: `--help` must not wait for it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from dola_core.cli import compare_file
from dola_core.cli.arguments import argument_parser
from dola_core.cli.asked import Asked, load_engine, refusals_in_words
from dola_core.cli.interrupt import InterruptHandler
from dola_core.cli.output import (
    discard_stdout,
    print_error,
    stdout_writer,
    transient_note,
    wants_live_screen,
)
from dola_core.cli.program import FAILED, UNREAD, CommandError
from dola_core.cli.render import differences, heading, visible
from dola_core.cli.screen import PlainScreen
from dola_core.cli.texts import LaneTexts
from dola_core.files.encoding import decode_text
from dola_core.files.writing import unwritable_reason, write_atomically

if TYPE_CHECKING:
    from dola_core.comparison import Comparison
    from dola_core.decoding.engine import Engine
    from dola_core.trace.recorder import Recorder


def main(arguments: Sequence[str | os.PathLike[str]] | None = None) -> int:
    """Compare, print both completions while they are written, and return the exit status.

    `arguments` are those of the command line, by default the process's own.
    """
    if hasattr(sys.stdout, "reconfigure"):  # an encoding that lacks a character gets its number
        sys.stdout.reconfigure(errors="backslashreplace")
    given = [os.fspath(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    if given[:1] == [compare_file.COMMAND]:
        return compare_file.main(given[1:])
    parser = argument_parser()
    options = parser.parse_args(given)
    interrupt = InterruptHandler()
    try:
        with interrupt:
            return _compare(options, interrupt, parser.prog)
    except CommandError as error:
        message, status = str(error), error.status
    except KeyboardInterrupt:
        message, status = "interrupted.", interrupt.status
    except BrokenPipeError:
        return UNREAD
    except OSError as error:  # only from writing to standard output: all other reading and writing handles its own
        discard_stdout()
        message, status = f"the output cannot be written: {error.strerror}.", FAILED
    print_error(parser.prog, message)
    return status


def _compare(options: argparse.Namespace, interrupt: InterruptHandler, program: str) -> int:
    from dola_core.trace.images import TraceImage

    prompt = _read_prompt(options.prompt)
    if options.trace is not None and (reason := unwritable_reason(options.trace)):
        raise CommandError(_trace_error(options.trace, reason))
    live = wants_live_screen(no_color=options.no_color)
    write = stdout_writer(ignore_broken_pipe=options.trace is not None)
    with transient_note("Loading the model …", write) if live else nullcontext():
        try:
            engine, comparison = _prepare(options, prompt)
        finally:
            interrupt.check()
    if unread := engine.loaded.unread(prompt):
        print_error(program, f"not read, since the model's tokenizer has no token for it: {unread}.")
    names = _names(comparison)
    screen = _screen(write, names, live=live)
    screen.print(heading(engine.label, comparison.lanes, comparison.config))
    shown_prompt = f"{comparison.prompt}\n" if options.chat else comparison.prompt
    if comparison.images:
        titles = [TraceImage.of(image, thumbnail=False).title for image in comparison.images.images]
        shown_prompt = "".join(f"[image, {title}]\n" for title in titles) + shown_prompt
    texts = LaneTexts(
        shown_prompt,
        engine.loaded.text,
        engine.loaded.piece,
        (*comparison.config.stop, *engine.stop_strings),
        lanes=len(comparison.lanes),
    )
    recorder = _run(engine, comparison, texts, screen, interrupt)
    trace = recorder.trace(engine.loaded.piece, engine.loaded.text).stopped()
    screen.print(differences(trace, names))
    if options.trace is not None:
        _write_trace(options.trace, trace.to_json())
        write(f"\nThe trace is in {visible(str(options.trace))}.\n")
    if None in recorder.ends:
        raise CommandError("interrupted; what was written until then is kept.", interrupt.status)
    if "broken" in trace.ends:
        raise CommandError("the model's numbers were no longer finite; --dtype float32 may help.", FAILED)
    return 0


def _names(comparison: "Comparison") -> list[str]:
    from dola_core.lanes import distinct_names

    return [visible(name) for name in distinct_names(comparison.lanes)]


def _screen(write: Callable[[str], None], names: Sequence[str], *, live: bool) -> PlainScreen:
    if not live:
        return PlainScreen(write, names)
    from dola_core.cli.live_screen import LiveScreen

    return LiveScreen(write, names)


def _read_prompt(argument: str) -> str:
    """The prompt itself, or for "-" what standard input holds."""
    if argument != "-":
        return argument
    try:
        if binary := getattr(sys.stdin, "buffer", None):  # not of a stand-in for standard input, which holds text
            text = decode_text(binary.read(), sys.stdin.encoding)
        else:
            text = sys.stdin.read() if sys.stdin else ""
    except UnicodeDecodeError as error:
        raise CommandError(f"standard input is not text in {error.encoding}.") from error
    except OSError as error:
        raise CommandError(f"standard input cannot be read: {error.strerror}.") from error
    return text.removesuffix("\n")


def _prepare(options: argparse.Namespace, prompt: str) -> "tuple[Engine, Comparison]":
    """Load the model and check the comparison; `CommandError` if it cannot be run."""
    from dola_core.errors import PromptError

    with refusals_in_words():
        # First what can be checked without the model, which may take minutes to load.
        if not prompt.strip():
            raise PromptError("empty")
        asked = Asked.of(options)
        engine = load_engine(options)
        comparison = engine.fitted(asked.comparison(engine.loaded, prompt))
        engine.check(comparison)
    return engine, comparison


def _run(
    engine: "Engine", comparison: "Comparison", texts: LaneTexts, screen: PlainScreen, interrupt: InterruptHandler
) -> "Recorder":
    """Run the comparison and show it; return its record, in which a lane that was interrupted has no end."""
    from dola_core.models.devices import out_of_memory
    from dola_core.trace.recorder import Recorder

    recorder = Recorder(comparison, engine.loaded.info)
    try:
        screen.show(texts)
        with closing(engine.compare(comparison)) as outputs:
            for output in outputs:
                recorder.add(output.tokens, output.ends, output.steps)
                texts.add(output)
                if interrupt.requested or None not in texts.ends:
                    break
                interrupt.finish_step = bool(output.tokens)
                screen.show(texts)
    except (KeyboardInterrupt, RuntimeError, MemoryError) as error:
        screen.abandon()
        if out_of_memory(error):
            message = "memory ran out; take a smaller model, a shorter prompt or fewer tokens."
            raise CommandError(message, FAILED) from error
        raise
    texts.stop()
    screen.finish(texts)
    return recorder


def _write_trace(file: Path, text: str) -> None:
    try:
        write_atomically(file, lambda out: out.write(text.encode()))
    except OSError as error:
        raise CommandError(_trace_error(file, error.strerror or str(error)), FAILED) from error


def _trace_error(file: Path, reason: str) -> str:
    return f"the trace cannot be written to {file}: {reason}."
