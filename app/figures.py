"""Charts of one step as Plotly figures: trace → numbers → figure, without a model or a browser.

Colours are the light palette's; the browser swaps them in dark mode. Backgrounds are transparent.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch

from app.palette import LIGHT
from app.words import count, number, token
from dola_core.contrast import plausible_head
from dola_core.lanes import Decoding, Lane, dola_scores
from dola_core.trace import Step, Trace

SHOWN = 12
"""Tokens in the head chart."""
MARKS = ("●", "◆")
"""What marks the baseline's and DoLa's choice, beside their colours."""


@dataclass(frozen=True)
class Head:
    """The plausible head of a step for a (j*, α), as numbers. Arrays go by recorded token, the most probable first."""

    tokens: np.ndarray
    q_N: np.ndarray
    q_J: np.ndarray
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
        p_hat = dola_scores(lane, decoding, seen, exact[..., -1], exact[..., layer - 1]).softmax(-1)[0]
        rough = len(step.tokens) - len(p_hat)
        q = np.exp(step.log_q_table)
        return cls(
            tokens=step.tokens,
            q_N=q[:, -1],
            q_J=q[:, layer - 1],
            p_hat=np.pad(p_hat.numpy(), (0, rough)),
            kept=np.pad(plausible_head(exact[0, :, -1], alpha).numpy(), (0, rough)),
            threshold=alpha * float(q[:, -1].max()),
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


def head_chart(trace: Trace, step: Step, layer: int, alpha: float) -> dict[str, Any]:
    """Bars of q_N, q_j* and p̂ for the most probable tokens, the threshold, and the cut tokens greyed."""
    head = Head.of(step, layer, alpha, trace.decoding)
    chosen = (
        step.choices[0].id,
        step.what_if(layer, alpha, trace.decoding) if head.complete else step.choices[1].id,
    )
    order = [i for i in range(len(head.tokens)) if i < SHOWN or head.tokens[i] in chosen]
    names = [_marked(trace, int(head.tokens[i]), chosen) for i in order]
    figure = go.Figure(layout=_layout(height=110 + 32 * len(order)))
    bars = (
        ("q_N", head.q_N, LIGHT["base"], 1.0),
        (f"q_{layer}", head.q_J, LIGHT["early"], 0.75),
        ("p̂ DoLa", head.p_hat, LIGHT["dola"], 1.0),
    )
    for label, values, colour, strength in bars:
        figure.add_bar(
            orientation="h",
            name=label,
            y=list(range(len(order))),
            x=[round(float(values[i]), 5) for i in order],
            marker={
                "color": colour,
                "opacity": [strength if head.kept[i] else 0.28 * strength for i in order],
            },
            customdata=[[token(trace, int(head.tokens[i])), int(head.tokens[i])] for i in order],
            hovertemplate=f"%{{customdata[0]}} (id %{{customdata[1]}})<br>{label} = %{{x:.4f}}<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.04)
    figure.update_yaxes(tickvals=list(range(len(order))), ticktext=names, autorange="reversed", automargin=True)
    figure.update_xaxes(range=[0, min(1.0, 1.06 * max(head.q_N.max(), head.q_J[order].max(), head.p_hat.max()))])
    figure.add_vline(x=head.threshold, line={"color": LIGHT["ink"], "dash": "dot", "width": 1.5})
    figure.add_annotation(
        x=head.threshold, y=1, yref="paper", yanchor="bottom", xanchor="left", showarrow=False,
        text=f"α·max = {number(head.threshold)}", font={"size": 11, "color": LIGHT["mute"]},
    )  # fmt: skip
    return figure.to_plotly_json()


def layer_chart(trace: Trace, step: Step, layer: int, alpha: float) -> dict[str, Any]:
    """Probability of both lanes' tokens read from every layer, with j* as a line."""
    other = step.what_if(layer, alpha, trace.decoding) if alpha >= step.exact_alpha else step.choices[1].id
    n_layers = trace.model.n_layers
    figure = go.Figure(layout=_layout(height=480))
    styles = (
        (step.choices[0].id, LIGHT["base"], "solid", "circle"),
        (other, LIGHT["dola"], "dash", "diamond"),
    )
    for (token_id, colour, dash, symbol), mark in zip(styles, MARKS, strict=True):
        figure.add_scatter(
            x=list(range(1, n_layers + 1)),
            y=[round(float(p), 5) for p in np.exp(step.log_q_table[step.place(token_id)])],
            name=f"{mark} {token(trace, token_id)}",
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2.5},
            marker={"symbol": symbol, "size": 6},
            hovertemplate="layer %{x}: %{y:.4f}<extra></extra>",
        )
    figure.add_vline(x=layer, line={"color": LIGHT["ink"], "dash": "dot", "width": 1.5})
    figure.add_annotation(
        x=layer, y=1.0, yref="paper", yanchor="bottom", showarrow=False,
        text=f"j* = {layer}", font={"size": 11, "color": LIGHT["mute"]},
    )  # fmt: skip
    figure.update_xaxes(title={"text": "layer", "standoff": 6}, range=[0.5, n_layers + 0.5], dtick=5, tick0=0)
    figure.update_yaxes(rangemode="tozero")
    return figure.to_plotly_json()


def head_card(trace: Trace, step: Step, layer: int, alpha: float) -> dict[str, Any]:
    """The head chart with its title, its grey line and its text twin, for `Chart`."""
    head = Head.of(step, layer, alpha, trace.decoding)
    cut = int((~head.kept).sum())
    more = "" if head.complete else "; p̂ over the recorded tokens only, more are plausible"
    return {
        "title": "Plausible head",
        "sub": f"probability on this prefix, q_N against q_{layer}; {_norm(trace)}; "
        f"{count(head.size)} kept, cut tokens stay, greyed{more}"
        + _penalty(trace, "", "; the repetition penalty is in p̂ and in the baseline's choice, not in q_N"),
        "alt": f"Bars of q_N, q_{layer} and p-hat: {head.size} at or above {number(head.threshold)}, {cut} below.",
        "figure": head_chart(trace, step, layer, alpha),
    }


def layer_card(trace: Trace, step: Step, layer: int, alpha: float) -> dict[str, Any]:
    """The layer chart with its title, its grey line and its text twin, for `Chart`."""
    return {
        "title": "Through the layers",
        "sub": f"probability read from every layer; {_norm(trace)}; early layers are unreliable"
        + _penalty(trace, "; the last layer after the repetition penalty", ""),
        "alt": f"Lines: probability of both lanes' tokens in layers 1 to {trace.model.n_layers}, j* = {layer} marked.",
        "figure": layer_chart(trace, step, layer, alpha),
    }


def step_sentence(trace: Trace, step: Step, layer: int, alpha: float) -> list[dict[str, str]]:
    """The step in words, as parts `{"text": …, "side": "base" | "dola" | ""}`; the text twin of both charts."""
    head, decoding = Head.of(step, layer, alpha, trace.decoding), trace.decoding
    base, dola = step.choices[0], step.choices[1]
    ran_with = (trace.lanes[1].layer, trace.lanes[1].alpha)
    now = step.what_if(layer, alpha, decoding) if head.complete else None
    parts = [_part(f"Step {step.index + 1}. Baseline {_verb(trace)} "), _part(token(trace, base.id), "base")]
    parts.append(_part(f" ({number(base.p)})"))
    shown = dola.id if now is None else now
    place = step.place(shown)
    if shown == base.id:
        parts.append(_part("; DoLa agrees."))
    else:
        parts += [_part(", DoLa "), _part(token(trace, shown), "dola")]
        p_hat = dola.p if shown == dola.id and (layer, alpha) == ran_with else float(head.p_hat[place])
        parts.append(_part(f" ({number(float(head.q_N[place]))} → {number(p_hat)} of the head)."))
    if not head.complete:
        begin = f"what-if starts at α = {number(step.exact_alpha)}" if step.exact_alpha <= 1 else "there is no what-if"
        parts.append(_part(f" More tokens are plausible here than were recorded; {begin}."))
    elif head.size == 1:
        parts.append(_part(" The head keeps one token, so both must choose it."))
    else:
        parts.append(_part(f" The head keeps {head.size} tokens holding {head.mass:.0%}."))
    if (layer, alpha) != ran_with and now is not None:
        same = "as it did" if now == dola.id else f"instead of {token(trace, dola.id)}, as it did"
        settings = "with j* = {}, α = {:g}"
        parts.append(
            _part(f" What if: {settings.format(layer, alpha)} DoLa chooses this {same} {settings.format(*ran_with)}.")
        )
    for number_, taken in zip(step.lanes, step.taken, strict=True):
        if taken != step.choices[number_].id:
            parts.append(_part(f" {trace.lanes[number_].name}'s beam goes on with {token(trace, taken)}."))
    return parts


def _penalty(trace: Trace, before: str, after: str) -> str:
    """What there is to say about the repetition penalty, by its place; nothing if there is none."""
    if trace.decoding.repetition_penalty == 1.0:
        return ""
    return before if trace.decoding.penalty_position == "before" else after


def _norm(trace: Trace) -> str:
    return "early layers through the final norm" if trace.decoding.early_norm else "early layers raw, without the norm"


def _verb(trace: Trace) -> str:
    if trace.decoding.num_beams > 1:
        return "alone would choose"
    return "draws" if trace.decoding.samples else "chooses"


def _part(text: str, side: str = "") -> dict[str, str]:
    return {"text": text, "side": side}


def _marked(trace: Trace, token_id: int, chosen: tuple[int, int]) -> str:
    """A token as an axis label, with the mark of every lane that chooses it."""
    marks = "".join(mark for mark, choice in zip(MARKS, chosen, strict=True) if choice == token_id)
    # Plotly reads a little HTML in labels, and the token is anybody's text.
    text = token(trace, token_id).replace("&", "&amp;").replace("<", "&lt;")
    return f"{marks} {text} " if marks else f"{text} "


def _layout(height: int) -> dict[str, Any]:
    axis = {"gridcolor": LIGHT["line"], "zeroline": False, "linecolor": LIGHT["line"], "fixedrange": True}
    return {
        "template": None,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": LIGHT["ink"], "family": "system-ui, sans-serif", "size": 12},
        "margin": {"l": 46, "r": 14, "t": 58, "b": 40},
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 1.0,
            "yanchor": "top",
            "x": 0,
            "itemclick": False,
            "itemdoubleclick": False,
        },
        "showlegend": True,
        "height": height,
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {
            "bgcolor": LIGHT["card"],
            "font": {"color": LIGHT["ink"]},
            "bordercolor": LIGHT["line"],
        },
    }
