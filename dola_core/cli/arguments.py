"""The arguments of the command. Imports nothing slow, so that `--help` and a mistyped option answer at once."""

import argparse
from pathlib import Path
from typing import Never

from dola_core.cli.output import print_error
from dola_core.cli.program import REFUSED, program_name

DTYPES = ("float32", "bfloat16", "float16")
"""The names in `dola_core.models.devices.DTYPES`, which would import PyTorch. A test compares them."""
QUANTISATIONS = ("8bit", "4bit")
"""The same of `dola_core.models.quantising.QUANTISATIONS`."""
MODEL_HELP = (
    "smollm2 or atlas-30l; a folder with a model or a PEFT adapter; a GGUF file; a Hugging Face name; or "
    "owner/repository:file.gguf (default: atlas-30l)"
)


class OneLineParser(argparse.ArgumentParser):
    """Reports an error as one sentence, without the usage."""

    def error(self, message: str) -> Never:
        """Print `message` and exit."""
        print_error(self.prog, f"{message}; --help lists the options.")
        raise SystemExit(REFUSED)


def argument_parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = OneLineParser(
        prog=program_name("dola", "dola_core"),
        description="Complete a prompt in lock step, plainly and with DoLa-static, or in any lanes, and compare them.",
        epilog="In a terminal, choices on which the two decoders disagree on the same text are underlined; in a pipe, "
        "and with NO_COLOR set, they stand in ⟦brackets⟧ and the output is plain text.",
    )
    parser.add_argument(
        "prompt", help="the text to complete; - reads it from standard input, without its last line break"
    )
    add_decoding_options(parser)
    add = parser.add_argument
    add("--image", action="append", default=[], type=Path, metavar="FILE", help="an image before the text, for a model "
        "that reads images: PNG, JPEG, WebP, GIF or BMP; repeat it for several")  # fmt: skip
    add("--no-thumbnail", action="store_true", help="keep no small picture of the image in the trace, only its hash")
    add("--trace", type=Path, metavar="FILE", help="write everything recorded as JSON, which the page opens")
    add("--no-color", action="store_true", help="plain text in a terminal, too")
    return parser


def add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """The options for the model, the lanes and how they decode."""
    add = parser.add_argument
    add("--model", metavar="NAME", help=MODEL_HELP)
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps; split for a model over all GPUs")
    add("--dtype", choices=("auto", *DTYPES), default="auto")
    add("--quantize", choices=QUANTISATIONS, help="keep linear layers in so few bits, by bitsandbytes")
    add("--layer", metavar="J", type=int, help="contrast layer j* (default: recorded with the model, else 0.75 N)")
    add("--alpha", metavar="A", type=float, help="plausibility threshold, 0 to 1 (default: as recorded, else 0.1)")
    add(
        "--lane",
        action="append",
        metavar="LANE",
        help='a decoder, in place of the baseline and DoLa-static: "plain", '
        '"plain,penalty=1.2", "static:22,alpha=0.1,beta=0.5", "dynamic:high" or "linear:22=-0.5"; with ",image=off" it '
        "sees a grey image; repeat it for each",
    )
    add("--raw-early", action=argparse.BooleanOptionalAction, help="read layer j* without the final norm, as the "
        "first DoLa code did (default: as recorded, else with it)")  # fmt: skip
    add("--max-new-tokens", metavar="N", type=int, default=48, help="of each lane (default: 48)")
    add("--temperature", metavar="T", type=float, default=0.0, help="0 is greedy (default)")
    add("--top-k", metavar="K", type=int, default=0, help="0 keeps every token (default)")
    add("--top-p", metavar="P", type=float, default=1.0, help="1 keeps every token (default)")
    add("--min-p", metavar="P", type=float, default=0.0, help="0 keeps every token (default)")
    add("--seed", metavar="N", type=int, default=0, help="of the draws, which both lanes share (default: 0)")
    add("--repetition-penalty", metavar="R", type=float, help="1 is none (default: the model's own, else 1)")
    add("--penalty-position", choices=("before", "after"), default="before", help="on the final layer's logits before "
        "the contrast (default), or on F after it")  # fmt: skip
    add("--chat", action="store_true", help="put the prompt as a turn of the model's chat template")
    add("--stop", action="append", default=[], metavar="TEXT", help="end a lane that has written TEXT; may be repeated")
