"""What the command prints, as fragments of styled text: the heading, the texts of the lanes, and where they differ.

A fragment is a text and the name of its style. `plain` and `coloured` turn fragments into what a pipe and a terminal
get. No text is ever read as markup: rich gets it with its style beside it.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style

from dola_core.cli.texts import LaneTexts, TokenText
from dola_core.display import EMPTY, END_REASONS, LONGEST, cut, format_number, mark_whitespace

if TYPE_CHECKING:
    from dola_core.lanes import DecodingConfig, Lane
    from dola_core.trace.schema import Trace
    from dola_core.trace.step import Step

MAX_LISTED = 12
"""The most differing choices that are listed; a trace has all of them."""

StyleName = Literal[
    "", "prompt", "quiet", "base", "dola", "third", "fourth",
    "base differs", "dola differs", "third differs", "fourth differs",
]  # fmt: skip
Fragment = tuple[str, StyleName]

STYLES: dict[StyleName, Style] = {
    "": Style.null(),
    "prompt": Style(bold=True),
    "quiet": Style(dim=True),
    # Of the 256 colours, a blue, a vermilion, a green and a purple that can be read on white and on black.
    "base": Style(bold=True, color="color(33)"),
    "dola": Style(bold=True, color="color(166)"),
    "third": Style(bold=True, color="color(35)"),
    "fourth": Style(bold=True, color="color(133)"),
    "base differs": Style(bold=True, underline=True, color="color(33)"),
    "dola differs": Style(bold=True, underline=True, color="color(166)"),
    "third differs": Style(bold=True, underline=True, color="color(35)"),
    "fourth differs": Style(bold=True, underline=True, color="color(133)"),
}
_LANES: tuple[tuple[str, StyleName, StyleName], ...] = (
    ("●", "base", "base differs"),
    ("◆", "dola", "dola differs"),
    ("▲", "third", "third differs"),
    ("■", "fourth", "fourth differs"),
)
"""Each lane's mark, its style, and the style of its tokens that differ. A fifth lane looks as the first."""


def coloured(fragments: Iterable[Fragment]) -> str:
    """The text for a terminal with colours; differing choices are underlined."""
    return "".join(STYLES[style].render(text, color_system=ColorSystem.EIGHT_BIT) for text, style in fragments)


def plain(fragments: Iterable[Fragment]) -> str:
    """The text for a file or a pipe, without escape codes; differing choices are in brackets."""
    return "".join(f"⟦{text}⟧" if style.endswith("differs") else text for text, style in fragments)


def visible(text: str) -> str:
    r"""`text` with the characters that would control a terminal or the direction of writing spelled out, as `\x1b`.

    Line breaks and tabs stay, and so do the joiners that scripts and emoji are written with.
    """
    return "".join(c.encode("unicode_escape").decode() if _is_control(c) else c for c in text)


def _is_control(c: str) -> bool:
    return c not in "\n\t\u200c\u200d" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def token_label(piece: str) -> str:
    """One token by itself, with its white space made visible; never empty."""
    return cut(visible(mark_whitespace(piece)), LONGEST) or EMPTY


def heading(label: str, lanes: Sequence["Lane"], config: "DecodingConfig") -> list[Fragment]:
    """The model, and how the lanes decode; in one line where they are the baseline and one lane beside it."""
    sampling = ["greedy"]
    if config.samples:
        sampling = [f"temperature {config.temperature:g}"]
        sampling += [f"top-k {config.top_k}"] if config.top_k else []
        sampling += [f"top-p {config.top_p:g}"] if config.top_p < 1 else []
        sampling += [f"min-p {config.min_p:g}"] if config.min_p else []
        sampling += [f"seed {config.seed}"]
    if config.repetition_penalty != 1:
        sampling.append(f"repetition penalty {config.repetition_penalty:g} {config.penalty_position} the contrast")
    norm = "" if config.early_norm else ", read without the final norm"
    shared = [*sampling, f"at most {config.max_new_tokens} tokens"]
    first: list[Fragment] = [(visible(label), "quiet"), ("\n", "")]
    if len(lanes) == 2 and not lanes[0].settings and lanes[1].reads and all(lane.image for lane in lanes):
        layer, *own = lanes[1].settings
        return [*first, (" · ".join([f"{layer}{norm}", *own, *shared]), "quiet"), ("\n\n", "")]
    for number, lane in enumerate(lanes):
        mark, style, _ = _LANES[number % len(_LANES)]
        settings = visible(": ".join(filter(None, [lane.called, " · ".join(lane.settings)])))
        first += [(mark, style), (f" {settings}", "quiet"), ("\n", "")]
    return [*first, (f"{' · '.join(shared)}{norm}", "quiet"), ("\n\n", "")]


def _end(texts: LaneTexts, lane: int) -> str:
    """Why a lane ended, in words, with the token or the stop string that ended it."""
    end, ended_by = texts.ends[lane] or "", texts.ended_by[lane]
    reason = END_REASONS.get(end, end)
    return reason if ended_by is None else f"{reason} ({token_label(ended_by)})"


def shared_text(texts: LaneTexts) -> list[Fragment]:
    """The prompt, what the lanes wrote alike, and the line where their texts part or end together."""
    fragments: list[Fragment] = [(visible(texts.prompt), "prompt")]
    fragments += [fragment for token in texts.shared for fragment in _token_fragments(token, 0)]
    if texts.fork is not None:
        closing = f"── the texts part at step {texts.fork + 1} ──"
    elif texts.ends[0] is None:
        return fragments
    else:
        size, end = len(texts.ids[0]), _end(texts, 0)
        who = "Both" if len(texts.ids) == 2 else "All"
        closing = f"{who} wrote the same {_count(size, 'token')}: {end}." if size else f"Nothing was written: {end}."
    return [*fragments, *_line_break(fragments), (closing, "quiet"), ("\n", "")]


def own_text(texts: LaneTexts, lane: int, names: Sequence[str]) -> list[Fragment]:
    """The text of one lane from the fork on: its name, the text, and, once it has ended, why."""
    mark, style, _ = _LANES[lane % len(_LANES)]
    own = [fragment for token in texts.own[lane] for fragment in _token_fragments(token, lane)]
    fragments: list[Fragment] = [(f"{mark} {names[lane]}", style), ("\n", ""), *own]
    if texts.ends[lane] is None:
        return fragments
    closing = f"{_count(len(texts.ids[lane]), 'token')}: {_end(texts, lane)}"
    return [*fragments, *_line_break(own), (closing, "quiet"), ("\n", "")]


def _line_break(fragments: Sequence[Fragment]) -> list[Fragment]:
    """A line break, unless the last character is one."""
    text = "".join(text for text, _ in fragments)
    return [] if text.endswith("\n") else [("\n", "")]


def _token_fragments(token: TokenText, lane: int) -> list[Fragment]:
    text = visible(token.text)
    if not token.differs:
        return [(text, "")]
    style = _LANES[lane % len(_LANES)][2]
    core = text.strip()
    if core:  # white space stays outside the mark
        before, after = text.split(core, 1)
        return [(before, ""), (core, style), (after, "")]
    return [(token_label(token.text or token.piece), style), ("\n" * text.count("\n"), "")]


def differences(trace: "Trace", names: Sequence[str]) -> list[Fragment]:
    """How many of each further lane's choices differ from the first lane's on its own text, and the first of them.

    `names` are those of the lanes.
    """
    return [fragment for lane in range(1, len(trace.lanes)) for fragment in _differences(trace, lane, names)]


def _differences(trace: "Trace", lane: int, names: Sequence[str]) -> list[Fragment]:
    steps = trace.lane_steps(lane)
    differing = [step for step in steps if step.choices[0].id != step.choices[lane].id]
    if not steps:
        return []
    if not differing:
        of = f" of {names[lane]}" if len(names) > 2 else ""
        return [(f"\nNone of {_count(len(steps), 'choice')}{of} differs.\n", "")]
    first = differing[0].index + 1
    where = f"differ, the first at step {first}" if len(differing) > 1 else f"differs, at step {first}"
    summary = f"\nOn the text of {names[lane]}, {len(differing)} of {_count(len(steps), 'choice')} {where}:\n"
    more = len(differing) - MAX_LISTED
    rest = f"… and {more} more, which a trace has (--trace FILE)\n" if more > 0 else ""
    return [(summary, ""), *_table(trace, lane, differing[:MAX_LISTED], names), (rest, "")]


def _table(trace: "Trace", lane: int, steps: Sequence["Step"], names: Sequence[str]) -> list[Fragment]:
    """A line for each step: the lane's choice and the first lane's, each with its probability in its own lane's
    distribution, and the layer if the lane chose one."""
    quantities = ["p_hat" if trace.lanes[number].reads else "q_N" for number in (lane, 0)]
    chooses = trace.lanes[lane].chooses_layer
    rows = [("step", names[lane], quantities[0], names[0], quantities[1], *(["layer"] if chooses else []))]
    for step in steps:
        own, base = step.choices[lane], step.choices[0]
        choices = (token_label(trace.pieces[own.id]), format_number(own.p),
                   token_label(trace.pieces[base.id]), format_number(base.p))  # fmt: skip
        rows.append((str(step.index + 1), *choices, *([str(own.layer)] if chooses else [])))
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    own_style, base_style = _LANES[lane % len(_LANES)][1], _LANES[0][1]
    styles: list[StyleName] = ["quiet", own_style, "quiet", base_style, "quiet", "quiet"]
    fragments: list[Fragment] = []
    for row in rows:
        for cell, width, style in zip(row, widths, styles[: len(row)], strict=True):
            fragments += [(cell, style), (" " * (width - cell_len(cell) + 2), "")]
        fragments[-1] = ("\n", "")  # no spaces after the last column
    return fragments


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
