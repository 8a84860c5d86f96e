"""A search's result as one HTML page that needs nothing else: curves, choice, stability, domains and errors.

Drawn as SVG without any script, so that it opens anywhere and can be sent by mail.
"""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from dola_core.layer_search.result import Candidate, Curve, DomainRecord, ErrorCase, SearchResult, Triple

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 860, 300, 56, 34, 12, 12
DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 5")
"""Lines of different α, told apart without colour."""
UNITS = {"margin": "nats"}
STYLE = """
:root { --paper: #fbfaf8; --card: #fff; --ink: #1d2129; --mute: #5f6672; --line: #e6e3dd; --base: #0072b2;
  --dola: #b8490b; }
@media (prefers-color-scheme: dark) { :root { --paper: #0f1216; --card: #171b21; --ink: #e8eaee; --mute: #9aa3b0;
  --line: #2a3038; --base: #5ab4f0; --dola: #ff9a4d; } }
body { max-width: 960px; margin: 0 auto; padding: 24px 16px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px; margin: 16px 0;
  overflow-x: auto; }
h1 { font-size: 22px; } h2 { font-size: 16px; margin: 0 0 4px; } p.sub { color: var(--mute); margin: 0 0 8px; }
p.verdict { font-size: 17px; } svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--mute); } table { border-collapse: collapse; } .token { font-family: ui-monospace, monospace; }
th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
details { margin: 6px 0; } summary { cursor: pointer; }
"""


def html_report(found: SearchResult) -> str:
    """The page."""
    asked, data = found.asked, found.data
    settings = [
        f"{found.model.name} in {found.model.dtype}, {found.model.n_layers} layers",
        f"{data.name}: {data.items:,} of {data.of:,} questions"
        + (f" (SHA-256 {data.sha256[:16]}…)" if data.sha256 else ""),
        f"task {asked.task}, strategy {asked.strategy}, chosen by {asked.metric}",
    ]
    if asked.strategy == "buckets":
        settings.append("all questions had a say in which bucket was measured whole, so the gain is a little lucky")
    if asked.task == "mc":
        settings += [
            f"an answer's score is the {asked.normalisation} over its tokens",
            "early layers through the final norm" if asked.rule.early_norm else "early layers read raw",
            f"F normalised: {asked.rule.post_softmax}",
            "tokens outside the head count −1000" if asked.rule.apc else "no plausibility constraint",
        ]
    elif asked.decoding:
        settings.append(f"at most {asked.decoding.max_new_tokens} tokens, repetition penalty "
                        f"{asked.decoding.repetition_penalty:g}")  # fmt: skip
    parts = [
        f"<h1>Choosing j* for {escape(found.model.name)}</h1>",
        f'<p class="verdict">{escape(found.verdict)}</p>',
        f'<p class="sub">{escape("; ".join(settings))}.</p>',
        "" if found.complete else "<p><b>Interrupted:</b> not every question was answered.</p>",
        *(_curve_card(found, metric, curve) for metric, curve in _asked_first(found)),
        _choice_card(found),
        _domain_card(found.domains, found.asked.unit) if found.domains else "",
        _error_card(found),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>j* for {escape(found.model.name)}</title><style>{STYLE}</style>{''.join(parts)}</html>\n"
    )


def _asked_first(found: SearchResult) -> Iterator[tuple[str, Curve]]:
    yield found.asked.metric, found.curves[found.asked.metric]
    yield from ((metric, curve) for metric, curve in found.curves.items() if metric != found.asked.metric)


def _curve_card(found: SearchResult, metric: str, curve: Curve) -> str:
    unit = UNITS.get(metric, "share")
    best = max(value[0] for row in curve.settings for value in row)
    about = f"{unit} by contrast layer j*, with 95 % bootstrap bands; baseline {curve.baseline[0]:.3f}, best {best:.3f}"
    return (
        f'<section><h2>{escape(metric)}</h2><p class="sub">{escape(about)}</p>'
        f"{_svg(found.layers, found.asked.alphas, curve, found.chosen.layer, about)}</section>"
    )


def _svg(layers: Sequence[int], alphas: Sequence[float], curve: Curve, chosen: int, about: str) -> str:
    """One metric against the layer: a line with its band for every α, and the baseline across."""
    every = [end for row in curve.settings for value in row for end in value[1:]] + list(curve.baseline[1:])
    low, high = min(every), max(every)
    margin = 0.04 * (high - low) or 0.1
    low, high = low - margin, high + margin

    def x(layer: float) -> float:
        span = max(layers[-1] - layers[0], 1)
        return LEFT + (WIDTH - LEFT - RIGHT) * (layer - layers[0]) / span

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    def line(points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(about)}">']
    for n in range(5):
        value = low + (high - low) * n / 4
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="var(--line)"/>'
            f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3f}</text>'
        )
    for layer in layers[:: max(1, len(layers) // 15)]:
        parts.append(f'<text x="{x(layer):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{layer}</text>')
    parts.append(f'<line x1="{x(chosen):.1f}" x2="{x(chosen):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
                 'stroke="var(--ink)" stroke-dasharray="2 3"/>')  # fmt: skip
    parts += _baseline(curve.baseline, y)
    for n in range(len(alphas)):
        values = [row[n] for row in curve.settings]
        above = [(x(layer), y(value[2])) for layer, value in zip(layers, values, strict=True)]
        below = [(x(layer), y(value[1])) for layer, value in zip(layers, values, strict=True)]
        middle = [(x(layer), y(value[0])) for layer, value in zip(layers, values, strict=True)]
        opacity = 1 - 0.6 * n / max(len(alphas) - 1, 1)
        parts.append(
            f'<polygon points="{line([*above, *reversed(below)])}" fill="var(--dola)" opacity="0.06"/>'
            f'<polyline points="{line(middle)}" fill="none" stroke="var(--dola)" stroke-width="2" '
            f'opacity="{opacity:.2f}" stroke-dasharray="{DASHES[n % len(DASHES)]}"/>'
        )
    parts.append("</svg>")
    legend = "; ".join(
        f"α = {alpha:g} {('solid', 'long dashes', 'short dashes', 'dash and dot', 'dots')[n % len(DASHES)]}"
        for n, alpha in enumerate(alphas)
    )
    return "".join(parts) + f'<p class="sub">{escape(legend)}; blue: baseline; dotted: the chosen j*</p>'


def _baseline(baseline: Triple, y: Callable[[float], float]) -> list[str]:
    mean, low, high = baseline
    return [
        f'<rect x="{LEFT}" width="{WIDTH - LEFT - RIGHT}" y="{y(high):.1f}" height="{max(y(low) - y(high), 0):.1f}" '
        'fill="var(--base)" opacity="0.1"/>'
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mean):.1f}" y2="{y(mean):.1f}" stroke="var(--base)" '
        'stroke-width="2"/>'
    ]


def _choice_card(found: SearchResult) -> str:
    chosen, unit = found.chosen, found.asked.unit
    equal = "; ".join(
        f"j* = {layer} (α {', '.join(f'{alpha:g}' for alpha in alphas)})" for layer, alphas in chosen.not_worse.items()
    )
    rows = [
        ("chosen", f"j* = {chosen.layer}, α = {chosen.alpha:g}"),
        (f"{found.asked.metric} there", _told(chosen.value)),
        ("difference to the baseline, on the questions it was chosen by", _told(chosen.difference, unit, signed=True)),
        ("settings that are not worse beyond chance", equal),
    ]
    if found.stability:
        stable = found.stability
        layers = ", ".join(f"{layer} ({100 * share:.0f} %)" for layer, share in list(stable.layers.items())[:8])
        rows += [
            ("random halves that choose the same layer", f"{100 * stable.same_layer:.0f} %"),
            ("layers that halves choose", layers),
            ("one half's choice, against the other half's own", _told(stable.loss, unit, negate=True, signed=True)),
            ("one half's choice, against the baseline on the other", _told(stable.gain, unit, signed=True)),
        ]
    return f"<section><h2>The choice, and how sure it is</h2>{_table((), rows)}</section>"


def _domain_card(domains: Sequence[DomainRecord], unit: str) -> str:
    rows = [
        (
            domain.name,
            f"{domain.items:,}",
            _told(domain.baseline),
            _told(domain.fixed),
            f"{domain.layer} ({domain.layers[0]} to {domain.layers[1]})",
            _told(domain.gain, unit, signed=True),
            "yes" if domain.disagrees else "",
        )
        for domain in domains
    ]
    head = ("domain", "questions", "baseline", "the layer for all", "its own j*", "gain of its own", "disagrees")
    return (
        "<section><h2>Domains</h2><p class='sub'>gain: a domain's own layer against the one for all, both chosen on "
        f"one half and measured on the other</p>{_table(head, rows)}</section>"
    )


def _error_card(found: SearchResult) -> str:
    if not found.errors:
        return ""
    kinds = (("baseline", "The baseline was right, DoLa wrong"), ("dola", "DoLa was right, the baseline wrong"))
    parts = []
    for who, title in kinds:
        cases = [case for case in found.errors if case.right == who]
        parts.append(f"<h2>{title} ({len(cases)} shown)</h2>{''.join(map(_case, cases))}")
    return f"<section>{''.join(parts)}</section>"


def _case(case: ErrorCase) -> str:
    rows = [
        (_token(one), f"{one.p:.3f}", _token(other), f"{other.p:.3f}")
        for one, other in zip(case.q_N, case.q_J, strict=True)
    ]
    after = f" after “{case.common}”" if case.common else ""
    return (
        f"<details><summary>{escape(case.prompt)} … <b>{escape(' / '.join(case.answers))}</b>, not "
        f"“{escape(case.wrong)}”</summary><p class='sub'>{escape(f'the deciding token{after}')}</p>"
        f"{_table(('last layer', 'q_N', 'layer j*', 'q_j*'), rows, escaped=True)}</details>"
    )


def _token(one: Candidate) -> str:
    text = one.text.replace(" ", "␣").replace("\n", "⏎")
    return f'<span class="token">{escape(text)}</span>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, escaped: bool = False) -> str:
    def row(tag: str, texts: Sequence[str]) -> str:
        cells = "".join(f"<{tag}>{text if escaped else escape(text)}</{tag}>" for text in texts)
        return f"<tr>{cells}</tr>"

    return f"<table>{row('th', head) if head else ''}{''.join(row('td', texts) for texts in rows)}</table>"


def _told(value: Triple, unit: str = "", *, signed: bool = False, negate: bool = False) -> str:
    mean, low, high = (-value[0], -value[2], -value[1]) if negate else value
    scale, digits = (100, 1) if unit == "points" else (1, 3)
    numbers = [f"{scale * number:{'+' if signed else ''}.{digits}f}".replace("-", "−") for number in (mean, low, high)]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})" + (f" {unit}" if unit else "")
