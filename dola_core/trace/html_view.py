"""A trace as a piece of HTML for a notebook: each lane's text, with the choices underlined on which the lanes differ.

It is complete by itself: no script, no address, and styles that reach nothing else. All that comes from a trace is
escaped. Ink and paper are the notebook's own; the lanes' colours are light or dark as the notebook or the system is.
"""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING

from dola_core.display import END_REASONS, LANE_MARKS, cut, format_number, visible_token
from dola_core.lanes import distinct_names
from dola_core.trace.token_text import own_part, running_text, token

if TYPE_CHECKING:
    from dola_core.trace.schema import Trace
    from dola_core.trace.step import Step

MAX_SHOWN_LANES, MAX_SHOWN_TOKENS, MAX_SHOWN_PROMPT = 8, 1000, 2000
"""Lanes, tokens of each, and characters of the prompt."""
MAX_TITLE = 500
"""Characters of a tooltip."""
MAX_LANE = 60_000
"""Characters of HTML of a lane's text, so that no file makes a view that a notebook cannot hold."""
COLOURS = {"base": ("#0072b2", "#5ab4f0"), "dola": ("#b8490b", "#ff9a4d"), "third": ("#00745a", "#41cfa3"),
           "fourth": ("#8a3f83", "#e293d8")}  # fmt: skip
"""{lane by its place: its colour in light and in dark}, those of the page."""


def _variables(dark: bool) -> str:
    return "".join(f"--dola-{name}:{pair[dark]};" for name, pair in COLOURS.items())


STYLE = (
    f".dola-trace{{{_variables(dark=False)}color:inherit;font-size:14px;line-height:1.6;max-width:72em}}"
    f"@media(prefers-color-scheme:dark){{.dola-trace{{{_variables(dark=True)}}}}}"
    # A notebook says itself which it is, whatever the system is: JupyterLab, VS Code, Colab.
    f'[data-jp-theme-light="true"] .dola-trace,.vscode-light .dola-trace,html[theme="light"] .dola-trace'
    f"{{{_variables(dark=False)}}}"
    f'[data-jp-theme-light="false"] .dola-trace,.vscode-dark .dola-trace,html[theme="dark"] .dola-trace'
    f"{{{_variables(dark=True)}}}"
    ".dola-trace p{margin:.3em 0}.dola-trace .dola-quiet{opacity:.7}"
    ".dola-trace .dola-text{white-space:pre-wrap;overflow-wrap:anywhere}"
    ".dola-trace u{text-decoration-thickness:2px;text-underline-offset:3px;font-weight:600}"
    + "".join(f".dola-trace .dola-{name}{{color:var(--dola-{name})}}" for name in COLOURS)
)


def html_view(trace: "Trace") -> str:
    """The trace as HTML, at most some hundred kilobytes."""
    names = distinct_names(trace.lanes)
    left_out = len(names) - MAX_SHOWN_LANES
    more = [f'<p class="dola-quiet">{left_out:,} more lanes are not shown.</p>'] if left_out > 0 else []
    lanes = [_lane(trace, lane, names) for lane in range(min(len(names), MAX_SHOWN_LANES))]
    model = f'<p class="dola-quiet">{_escaped(trace.model.name, 200)}</p>'
    return f'<div class="dola-trace"><style>{STYLE}</style>{model}{"".join([*lanes, *more])}</div>'


def _lane(trace: "Trace", lane: int, names: list[str]) -> str:
    """A lane's name and settings, the prompt with its text, and why it ended."""
    side = list(COLOURS)[lane % len(COLOURS)]
    mark, settings = LANE_MARKS[lane % len(LANE_MARKS)], " · ".join(trace.lanes[lane].settings)
    return (
        f'<p><b class="dola-{side}">{mark} {_escaped(names[lane], 200)}</b>'
        f' <span class="dola-quiet">{_escaped(settings, 200)}</span></p>'
        f'<p class="dola-text"><span class="dola-quiet">{escape(_images(trace) + _prompt(trace))}</span>'
        f'{"".join(_tokens(trace, lane, names, side))}</p><p class="dola-quiet">{escape(_end(trace, lane))}</p>'
    )


def _images(trace: "Trace") -> str:
    """What the prompt begins with, in words."""
    return "".join(f"[image, {image.title}] " for image in trace.images)


def _prompt(trace: "Trace") -> str:
    """What the user wrote, or its end."""
    first, end = own_part(trace)
    last = _within(trace, trace.prompt_ids[first:end][::-1], MAX_SHOWN_PROMPT)
    text = "".join(piece.plain for piece in running_text(trace, last[::-1]))
    whole = len(last) == end - first and len(text) <= MAX_SHOWN_PROMPT
    return text if whole else f"…{text[-MAX_SHOWN_PROMPT:]}"


def _tokens(trace: "Trace", lane: int, names: list[str], side: str) -> Iterator[str]:
    """The HTML of each token of a text, and how many are left out."""
    steps, shown, length = trace.lane_steps(lane), 0, 0
    # A character may be spread over several tokens, so that all of them are read together.
    pieces = running_text(trace, _within(trace, trace.lane_ids(lane), MAX_LANE))
    for step, piece in zip(steps, pieces, strict=False):
        blank = not piece.plain.strip()
        if len({choice.id for choice in step.choices}) == 1:
            html = escape(piece.plain)
        else:
            title = _escaped(_difference(trace, step, lane, names), MAX_TITLE)
            text = escape(piece.text if blank else piece.plain)
            html = f'<u class="dola-{side}" title="{title}">{text}</u>' + "\n" * (blank and piece.plain.count("\n"))
        length += len(html)
        if length > MAX_LANE:
            break
        shown += 1
        yield html
    if shown < len(steps):
        yield f'<span class="dola-quiet"> … and {len(steps) - shown:,} more tokens</span>'


def _within(trace: "Trace", ids: Sequence[int], most: int) -> Sequence[int]:
    """The first ids, with about `most` characters at most, so that no more are made readable than are shown."""
    ends = accumulate(len(trace.pieces.get(token_id, "")) for token_id in ids[:MAX_SHOWN_TOKENS])
    return ids[: 1 + sum(end <= most for end in ends)]


def _difference(trace: "Trace", step: "Step", lane: int, names: list[str]) -> str:
    """What each lane chooses after the same text, its own first."""
    order = [lane, *(n for n in range(min(len(names), MAX_SHOWN_LANES)) if n != lane)]
    said = [f"{names[n]}: {token(trace, step.choices[n].id)} ({format_number(step.choices[n].p)})" for n in order]
    return f"step {step.index + 1:,} · {' · '.join(said)}"


def _end(trace: "Trace", lane: int) -> str:
    count, end = len(trace.lane_steps(lane)), trace.ends[lane]
    by = trace.ended_by(lane)
    reason = "still running" if end is None else END_REASONS[end]
    return f"{count:,} {'token' if count == 1 else 'tokens'}: {reason}{f' ({visible_token(by)})' if by else ''}"


def _escaped(text: str, most: int) -> str:
    """Cut first, for a cut entity would show its letters; characters that nobody sees are spelled out."""
    return escape(cut("".join(c if c.isprintable() else visible_token(c) for c in text), most))
