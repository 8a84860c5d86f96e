"""The two charts of one step: the plausible head, and the candidates through the layers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from app.render.figures.style import LEGEND, MARKS, Figure, figure, is_penalised, label, line_at, marked, norm
from app.render.token_text import number, token
from app.render.view_state import View
from app.ui.palette import LIGHT
from dola_core.contrast import plausible_head
from dola_core.lanes import Decoding, Lane, dola_scores
from dola_core.trace.ranks import EXACT
from dola_core.trace.schema import Step, Trace

SHOWN = 15
"""Tokens in the head chart."""


@dataclass(frozen=True)
class Head:
    """The plausible head of a step for a (j*, α), as numbers. Arrays go by recorded token, the most probable first."""

    tokens: np.ndarray
    q_N: np.ndarray
    q_J: np.ndarray
    F: np.ndarray
    """`log q_N − log q_j*` in nats, of cut tokens too; with the penalty if it comes after the contrast."""
    p_hat: np.ndarray
    """0 outside the head."""
    kept: np.ndarray
    """Whether the token is in the head."""
    threshold: float
    """α · max q_N"""
    complete: bool
    """Whether the whole head was recorded for this α."""

    @classmethod
    def of(cls, step: Step, layer: int, alpha: float, decoding: Decoding) -> "Head":
        """Read the head of `step` for layer 1..N−1 and α; `p_hat` has the penalty where `decoding` puts it."""
        exact = torch.from_numpy(step.exact_log_q.copy())[None]
        seen = torch.from_numpy(step.seen.astype(np.int64))[None]
        lane = Lane(name="", layer=layer, alpha=alpha)
        scores = dola_scores(lane, decoding, seen, exact[..., -1], exact[..., layer - 1])[0]
        rough = len(step.tokens) - len(scores)
        log_q = step.log_q_table
        F = log_q[:, -1] - log_q[:, layer - 1]
        kept = np.pad(plausible_head(exact[0, :, -1], alpha).numpy(), (0, rough))
        F[kept] = scores.numpy()[kept[: len(scores)]]
        q_N = np.exp(log_q[:, -1])
        return cls(
            tokens=step.tokens,
            q_N=q_N,
            q_J=np.exp(log_q[:, layer - 1]),
            F=F,
            p_hat=np.pad(scores.softmax(-1).numpy(), (0, rough)),
            kept=kept,
            threshold=alpha * float(q_N.max()),
            complete=alpha >= step.exact_alpha,
        )

    @property
    def size(self) -> int:
        """Recorded tokens in the head."""
        return int(self.kept.sum())

    @property
    def mass(self) -> float:
        """Their share of `q_N`."""
        return float(self.q_N[self.kept].sum())

    @property
    def climbed(self) -> np.ndarray:
        """How many places of the head each of its tokens rises from `q_N` to `p_hat`; 0 outside."""
        places = np.flatnonzero(self.kept)
        after = np.argsort(np.argsort(-self.p_hat[places], kind="stable"), kind="stable")
        before = np.argsort(np.argsort(-self.q_N[places], kind="stable"), kind="stable")
        climbed = np.zeros(len(self.tokens), dtype=np.int64)
        climbed[places] = before - after
        return climbed


def head_card(trace: Trace, view: View) -> dict[str, Any]:
    """The head chart with its title, its grey line and its text twin, for `Chart`."""
    step = view.step(trace)
    head = Head.of(step, view.layer, view.alpha, trace.decoding)
    words, n = view.words, head.size
    what = words("chart.head_ratio" if view.head == "log-ratio F" else "chart.head_probability", layer=view.layer)
    kept = words("chart.head_kept_one") if n == 1 else words("chart.head_kept", n=n)
    sub = f"{what}; {norm(trace, words)}; {kept}"
    if not head.complete:
        sub += words("chart.head_more")
    if is_penalised(trace, "after"):
        sub += words("chart.head_penalty")
    cut = int((~head.kept).sum())
    return {
        "title": words("chart.head"),
        "sub": sub,
        "alt": words("chart.head_alt", layer=view.layer, kept=n, threshold=number(head.threshold), cut=cut),
        "figure": (_ratio_chart if view.head == "log-ratio F" else _probability_chart)(trace, view, head),
    }


def _shown(head: Head, chosen: tuple[int, int]) -> list[int]:
    return [i for i in range(len(head.tokens)) if i < SHOWN or head.tokens[i] in chosen]


def _bars(trace: Trace, head: Head, order: list[int], values: np.ndarray, name: str, **style: Any) -> dict[str, Any]:
    strength = style.pop("strength", 1.0)
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(range(len(order))),
        "x": [round(float(values[i]), 5) for i in order],
        "marker": {"opacity": [strength if head.kept[i] else 0.28 * strength for i in order], **style},
        "customdata": [[label(trace, int(head.tokens[i])), int(head.tokens[i])] for i in order],
        "hovertemplate": f"%{{customdata[0]}} (id %{{customdata[1]}})<br>{name} = %{{x:.4f}}<extra></extra>",
    }


def _token_axis(trace: Trace, view: View, head: Head, order: list[int], chosen: tuple[int, int]) -> dict[str, Any]:
    """Tokens from the most probable down, with the marks of the lanes that choose them and how far they climb."""

    def arrow(climbed: int) -> str:
        return f" ↑{climbed}" if climbed > 0 else f" ↓{-climbed}" if climbed < 0 else ""

    names = [
        ("■ " if int(head.tokens[i]) in view.pinned else "")
        + marked(trace, int(head.tokens[i]), chosen)
        + arrow(int(head.climbed[i]))
        + " "
        for i in order
    ]
    return {
        "tickvals": list(range(len(order))),
        "ticktext": names,
        "range": [len(order) - 0.5, -0.5],
        "automargin": True,
    }


def _probability_chart(trace: Trace, view: View, head: Head) -> Figure:
    """Bars of q_N, q_j* and p̂ for the most probable tokens, the threshold, and the cut tokens greyed."""
    chosen = (view.step(trace).choices[0].id, view.dola_choice(trace))
    order = _shown(head, chosen)
    widest = float(max(head.q_N.max(), head.q_J[order].max(), head.p_hat.max()))
    return figure(
        [
            _bars(trace, head, order, head.q_N, "q_N", color=LIGHT["base"]),
            _bars(trace, head, order, head.q_J, f"q_{view.layer}", color=LIGHT["early"], strength=0.75),
            _bars(trace, head, order, head.p_hat, "p̂ DoLa", color=LIGHT["dola"]),
        ],
        height=100 + 28 * len(order),
        margin={"l": 46, "r": 14, "t": 58, "b": 40},
        showlegend=True,
        legend=LEGEND,
        barmode="group",
        bargap=0.3,
        bargroupgap=0.04,
        xaxis={"range": [0, min(1.0, 1.06 * widest)]},
        yaxis=_token_axis(trace, view, head, order, chosen),
        **line_at("x", head.threshold, text=f"α·max = {number(head.threshold)}"),
    )


def _ratio_chart(trace: Trace, view: View, head: Head) -> Figure:
    """Bars of F, largest where layer j* believed least of what the last layer believes; cut tokens greyed."""
    chosen = (view.step(trace).choices[0].id, view.dola_choice(trace))
    order = _shown(head, chosen)
    widest = 1.08 * max(1e-3, float(np.abs(head.F[order]).max()))
    low, high = (-widest if head.F[order].min() < 0 else 0), (widest if head.F[order].max() > 0 else 0)
    return figure(
        [_bars(trace, head, order, head.F, "F", color=LIGHT["dola"])],
        height=60 + 28 * len(order),
        bargap=0.45,
        xaxis={"range": [low, high], "title": {"text": view.words("chart.nats"), "standoff": 6}, "zeroline": True},
        yaxis=_token_axis(trace, view, head, order, chosen),
    )


def layer_card(trace: Trace, view: View) -> dict[str, Any]:
    """The layer chart with its title, its grey line and its text twin, for `Chart`."""
    words = view.words
    sub = f"{words(f'chart.layers_{view.layers}')}; {norm(trace, words)}; {words('chart.unreliable')}"
    step = view.step(trace)
    if view.layers == "rank":
        untold = [pin for pin in view.pinned if step.ranks_of(pin) is None]
        if len(untold) < len(view.pinned):
            sub += words("chart.rank_rounded", n=EXACT)
    else:
        untold = [pin for pin in view.pinned if pin not in step.tokens]
    if untold:
        sub += words("chart.pin_untold", tokens=", ".join(f"“{token(trace, pin)}”" for pin in untold))
    if is_penalised(trace, "before"):
        sub += words("chart.last_penalised")
    quantity = words(f"option.{view.layers}")
    return {
        "title": words("chart.layers"),
        "sub": sub,
        "alt": words("chart.layers_alt", quantity=quantity, n=trace.model.n_layers, layer=view.layer),
        "figure": _layer_chart(trace, view),
    }


def _layer_chart(trace: Trace, view: View) -> Figure:
    """Probability or rank of both lanes' tokens, and of pinned ones, read from every layer, with j* as a line."""
    step = view.step(trace)
    lanes = [
        (step.choices[0].id, f"{MARKS[0]} ", LIGHT["base"], "solid", "circle"),
        (view.dola_choice(trace), f"{MARKS[1]} ", LIGHT["dola"], "dash", "diamond"),
    ]
    pins = [
        (token_id, "■ ", LIGHT["early"], "dot", symbol)
        for token_id, symbol in zip(view.pinned, ("square", "triangle-up", "x"), strict=False)
        if token_id not in (lanes[0][0], lanes[1][0])
    ]
    lines = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": mark + label(trace, token_id),
            "x": list(range(1, trace.model.n_layers + 1)),
            "y": _through_layers(step, token_id, view),
            "line": {"color": colour, "dash": dash, "width": 2.5},
            "marker": {"symbol": symbol, "size": 6, "color": colour},
            "hovertemplate": f"{view.words('chart.layer')} %{{x}}: %{{y:.4~f}}<extra></extra>",
        }
        for token_id, mark, colour, dash, symbol in [*lanes, *pins]
    ]
    ranks = {
        "type": "log",
        "autorange": "reversed",
        "title": {"text": view.words("chart.rank"), "standoff": 4},
        # Left to itself, Plotly crowds a short axis with every digit, and with 0.8 as another 1.
        "tickvals": [digit * 10**power for power in range(7) for digit in (1, 2, 5)],
        "tickformat": ",d",
    }
    return figure(
        [line for line in lines if set(line["y"]) != {None}],
        height=520,
        margin={"l": 52, "r": 14, "t": 58, "b": 40},
        showlegend=True,
        legend=LEGEND,
        xaxis={
            "title": {"text": view.words("chart.layer"), "standoff": 6},
            "range": [0.5, trace.model.n_layers + 0.5],
            "dtick": 5,
            "tick0": 0,
        },
        yaxis={"rangemode": "tozero"} if view.layers == "probability" else ranks,
        **line_at("x", view.layer, text=f"j* = {view.layer}"),
    )


def _through_layers(step: Step, token_id: int, view: View) -> list[float | None]:
    """A token's probability or rank by layer, None where it was not recorded.

    Of a token that is none of the step's recorded ones, what is known is where a layer has it on top.
    """
    if view.layers == "rank":
        ranks = step.ranks_of(token_id)
        known = None if ranks is None else ranks.tolist()
        on_top = [1.0] * len(step.top_ids)
    else:
        recorded = token_id in step.tokens
        known = np.exp(step.log_q_table[step.place(token_id)]).round(5).tolist() if recorded else None
        on_top = step.top_p.astype(float).round(5).tolist()
    if known is not None:
        return known
    return [p if top == token_id else None for p, top in zip(on_top, step.top_ids.tolist(), strict=True)]
