"""The comparison in a terminal: `python -m dola_core "The capital of Australia is" --layer 22 --alpha 0.1`.

What is imported here is quick: `--help` and a mistyped option answer at once, not after PyTorch has been imported.
"""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Never, Self, TextIO

from dola_core.cli.render import Live, Stream, Texts, differences, heading, visible

if TYPE_CHECKING:
    from dola_core.models.loading import LoadedModel
    from dola_core.trace.recorder import Recorder

PROGRAM = "python -m dola_core"
NAMES = ("Baseline", "DoLa-static")
FAILED, REFUSED, INTERRUPTED, UNREAD = 1, 2, 130, 141
"""Exit statuses: what was asked for could not be done, or makes no sense; Ctrl-C; nobody reads what is written."""


class CommandError(Exception):
    """The command ends here; the message is one sentence for the person who typed it."""

    def __init__(self, sentence: str, status: int = REFUSED) -> None:
        super().__init__(sentence)
        self.status = status


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the list of all options."""

    def error(self, message: str) -> Never:
        raise SystemExit(_failed(f"{message}; --help lists the options.", REFUSED))


def command_line() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = _Parser(
        prog=PROGRAM,
        description="Complete a prompt twice in lock step, plainly and with DoLa-static, and show where they differ.",
        epilog="In a terminal, choices on which the two decoders disagree on the same text are underlined; in a pipe, "
        "and with NO_COLOR set, they stand in ⟦brackets⟧ and the output is plain text.",
    )
    add = parser.add_argument
    add("prompt", help="the text to complete; - reads it from standard input, without its last line break")
    add("--model", metavar="NAME", help="a folder or a Hugging Face name (default: the shipped Atlas-30L)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps; split for a model over all GPUs")
    # As models.DTYPES, which would import PyTorch.
    add("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    add("--layer", metavar="J", type=int, help="contrast layer j* (default: recorded with the model, else 0.75 N)")
    add("--alpha", metavar="A", type=float, help="plausibility threshold, 0 to 1 (default: as recorded, else 0.1)")
    add("--raw-early", action=argparse.BooleanOptionalAction, help="read layer j* without the final norm, as the "
        "first DoLa code did (default: as recorded, else with it)")  # fmt: skip
    add("--max-new-tokens", metavar="N", type=int, default=48, help="of each lane (default: 48)")
    add("--temperature", metavar="T", type=float, default=0.0, help="0 is greedy (default)")
    add("--top-k", metavar="K", type=int, default=0, help="0 keeps every token (default)")
    add("--top-p", metavar="P", type=float, default=1.0, help="1 keeps every token (default)")
    add("--seed", metavar="N", type=int, default=0, help="of the draws, which both lanes share (default: 0)")
    add("--repetition-penalty", metavar="R", type=float, default=1.0, help="1 is none (default)")
    add("--penalty-position", choices=("before", "after"), default="before", help="on the final layer's logits before "
        "the contrast (default), or on F after it")  # fmt: skip
    add("--chat", action="store_true", help="put the prompt as a turn of the model's chat template")
    add("--stop", action="append", default=[], metavar="TEXT", help="end a lane that has written TEXT; may be repeated")
    add("--trace", type=Path, metavar="FILE", help="write everything recorded as JSON, which the page opens")
    add("--no-color", action="store_true", help="plain text in a terminal, too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print both completions as they are written, and return the exit status."""
    if hasattr(sys.stdout, "reconfigure"):  # where a character cannot be written, its number is
        sys.stdout.reconfigure(errors="backslashreplace")
    options = command_line().parse_args(arguments)
    with _Halt() as halt:
        try:
            return _complete(options, halt)
        except CommandError as error:
            return _failed(str(error), error.status)
        except KeyboardInterrupt:
            return _failed("interrupted.", INTERRUPTED)
        except BrokenPipeError:
            return UNREAD
        except OSError as error:  # of standard output: all else that is read or written says itself what is wrong
            _discard_output()
            return _failed(f"the output cannot be written: {error.strerror}.", FAILED)


def _failed(sentence: str, status: int) -> int:
    print(visible(f"{PROGRAM}: {' '.join(sentence.split())}"), file=sys.stderr)
    return status


def _complete(options: argparse.Namespace, halt: "_Halt") -> int:
    prompt = _prompt(options.prompt)
    if options.trace is not None:
        _check_writable(options.trace)
    live = _is_terminal(sys.stdout) and not (
        options.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    )
    write = _writer(go_on=options.trace is not None)
    with _note("Loading the model …", write) if live else nullcontext():
        try:
            loaded, recorder = _asked(options, prompt)
        finally:
            halt.check()
    screen = Live(write, NAMES, shutil.get_terminal_size) if live else Stream(write, NAMES)
    write(heading(loaded.label, recorder.lanes[1], recorder.decoding, screen.paint))
    shown = f"{recorder.prompt}\n" if options.chat else recorder.prompt
    interrupted = _run(loaded, recorder, Texts(shown, loaded.text, loaded.piece), screen, halt)
    trace = recorder.trace(loaded.piece, loaded.text).stopped()
    write(differences(trace, screen.paint))
    if options.trace is not None:
        _write_trace(options.trace, trace.to_json())
        write(f"\nThe trace is in {visible(str(options.trace))}.\n")
    if interrupted:
        return _failed("interrupted; what was written until then is kept.", INTERRUPTED)
    if "broken" in trace.ends:
        return _failed("the model's numbers were no longer finite; --dtype float32 may help.", FAILED)
    return 0


def _prompt(given: str) -> str:
    if given != "-":
        return given
    try:
        text = sys.stdin.read() if sys.stdin else ""
    except UnicodeDecodeError as error:
        raise CommandError(f"standard input is not text in {error.encoding}.") from error
    except OSError as error:
        raise CommandError(f"standard input cannot be read: {error.strerror}.") from error
    return text.removesuffix("\n")


def _asked(options: argparse.Namespace, prompt: str) -> "tuple[LoadedModel, Recorder]":
    """The model, and the comparison that was asked for, checked; `CommandError` if it cannot be run."""
    # Not above: these import PyTorch, which takes seconds.
    from pydantic import ValidationError

    from dola_core.contrast import check_alpha, check_layer
    from dola_core.decoding.lockstep import PromptError, check_comparison
    from dola_core.lanes import Decoding, Lane
    from dola_core.models.loading import LoadError, load_model, well_formed
    from dola_core.trace.recorder import Recorder

    names = ("max_new_tokens", "temperature", "top_k", "top_p", "seed", "repetition_penalty", "penalty_position")
    try:
        # What can be said before the model is loaded, which may take minutes.
        if not prompt.strip():
            raise PromptError("empty")
        if options.alpha is not None:
            check_alpha(options.alpha)
        decoding = Decoding(stop=tuple(options.stop), **{name: getattr(options, name) for name in names})
        _quieten(options.model)
        loaded = load_model(options.model, device=options.device, dtype=options.dtype)
        preset = loaded.preset
        layer = check_layer(preset.layer if options.layer is None else options.layer, loaded.readout.n_layers)
        dola = Lane(name=NAMES[1], layer=layer, alpha=preset.alpha if options.alpha is None else options.alpha)
        norm = preset.early_norm if options.raw_early is None else not options.raw_early
        if options.chat and not loaded.has_chat_template:
            raise CommandError(f"{loaded.info.name} has no chat template; leave out --chat.")
        ids = loaded.encode(prompt, chat=options.chat)
        lanes, decoding = (Lane(name=NAMES[0]), dola), decoding.model_copy(update={"early_norm": norm})
        check_comparison(loaded.readout, ids, lanes, decoding)
    except LoadError as error:
        raise CommandError(str(error), FAILED) from error
    except ValidationError as error:
        mistake = error.errors()[0]
        option = str(mistake["loc"][0]).replace("_", "-")
        raise CommandError(f"--{option}: {mistake['msg']} (got {mistake['input']!r}).") from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    return loaded, Recorder(loaded.info, well_formed(prompt), ids, lanes, decoding)


def _run(loaded: "LoadedModel", recorder: "Recorder", texts: Texts, screen: Stream, halt: "_Halt") -> bool:
    """Run the comparison into `recorder` and on the screen; whether it was interrupted."""
    from dola_core.decoding.lockstep import compare
    from dola_core.models.loading import out_of_memory

    steps = compare(
        loaded.readout,
        recorder.prompt_ids,
        recorder.lanes,
        recorder.decoding,
        eos_ids=loaded.eos_ids,
        text_of=loaded.text,
    )
    try:
        with closing(steps):
            screen.show(texts)
            for advance in steps:
                recorder.add(advance.tokens, advance.ends, advance.steps)
                texts.add(advance)
                if halt.asked or None not in texts.ends:
                    break
                halt.patient = bool(advance.tokens)
                screen.show(texts)
    except (KeyboardInterrupt, RuntimeError, MemoryError) as error:
        screen.write("\n")  # what is said next begins a line
        if out_of_memory(error):
            raise CommandError(
                "memory ran out; take a smaller model, a shorter prompt or fewer tokens.", FAILED
            ) from error
        raise
    interrupted = None in texts.ends
    texts.stop()
    screen.finish(texts)
    return interrupted


class _Halt:
    """Ctrl-C: at once until something is written, then between two steps, so that none is kept by half; again, at once.

    Also from a library that catches it: some make an error of their own of what interrupts their import.
    """

    def __init__(self) -> None:
        self.asked = self.patient = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """`KeyboardInterrupt` if it was pressed."""
        if self.asked:
            raise KeyboardInterrupt

    def _heard(self, number: int, place: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or not self.patient:
            raise KeyboardInterrupt


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _writer(*, go_on: bool) -> Callable[[str], None]:
    """What writes to standard output at once; with `go_on`, a run whose reader has gone still has its trace to make."""

    def write(text: str) -> None:
        try:
            print(text, end="", flush=True)
        except BrokenPipeError:
            _discard_output()
            if not go_on:
                raise

    return write


def _discard_output() -> None:
    """Else Python tries to write the rest when it ends, and complains."""
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _note(text: str, write: Callable[[str], None]) -> Iterator[None]:
    """A line that is gone from the terminal when what it speaks of is done."""
    write(text)
    try:
        yield
    finally:
        write("\r\x1b[K")


def _quieten(model: str | None) -> None:
    """No bars in a pipe, and none for weights that lie here; a download has one in a terminal."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    if model is None or Path(model).is_dir() or not _is_terminal(sys.stderr):
        logging.disable_progress_bar()


def _check_writable(file: Path) -> None:
    """Before the run, which may take long; what goes wrong later is said later."""
    reason = None
    try:
        if file.is_dir():
            reason = "it is a folder"
        elif not file.parent.is_dir():
            reason = f"there is no folder {file.parent}"
        elif not os.access(file if file.exists() else file.parent, os.W_OK):
            reason = "permission denied"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise CommandError(f"the trace cannot be written to {file}: {reason}.")


def _write_trace(file: Path, text: str) -> None:
    """Write it whole or not at all; `CommandError` if that fails."""
    try:
        if file.exists() and not file.is_file():  # a pipe or a device, which nothing may replace
            file.write_text(text, encoding="utf-8")
            return
        file = Path(os.path.realpath(file))  # a link goes on pointing where it does
        part = file.with_name(f"{file.name}.part")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"the trace cannot be written to {file}: {error.strerror}.", FAILED) from error
