"""The result of a layer search as one self-contained HTML page: curves, choice, stability, domains and error cases.

Charts are SVG and there is no script, so the page opens anywhere and can be sent by mail.
"""

from collections.abc import Iterator, Sequence
from html import escape

from dola_core.display import cut, format_signed, visible_token
from dola_core.files.writing import Writer
from dola_core.layer_search.arguments import repeating_command
from dola_core.layer_search.metrics import Metric
from dola_core.layer_search.questions.dataset import PREAMBLE
from dola_core.layer_search.report.html_chart import metric_chart
from dola_core.layer_search.result import Candidate, Curve, Domain, ErrorCase, Interval, SearchResult

REPORT = "report.html"
"""The report's file in the folder of a search."""
UNITS = {"margin": "nats"}
LONGEST_TEXT, LONGEST_NAME = 1000, 60
"""Characters that are shown of a question and of its answers, and of a domain's name."""
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


def report_writer(result: SearchResult) -> Writer:
    """What writes the report into a file."""
    page = html_report(result).encode()
    return lambda file: file.write(page)


def html_report(result: SearchResult) -> str:
    """The HTML document."""
    name = escape(result.model.name)
    parts = [
        f"<h1>Choosing j* for {name}</h1>",
        f'<p class="verdict">{escape(result.verdict)}</p>',
        f'<p class="sub">{escape("; ".join(_configuration(result)))}.</p>',
        _repeating(result),
        "" if result.complete else "<p><b>Interrupted:</b> not every question was answered.</p>",
        *(_curve_card(result, metric, curve) for metric, curve in _chosen_metric_first(result)),
        _choice_card(result),
        _domain_card(result.domains, result.asked.unit) if result.domains else "",
        _error_card(result),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>j* for {name}</title><style>{STYLE}</style>{''.join(parts)}</html>\n"
    )


def _configuration(result: SearchResult) -> list[str]:
    """Model, questions and settings of the search, in phrases."""
    config, data, model = result.asked, result.data, result.model
    phrases = [
        f"{model.name} in {model.dtype}, {model.n_layers} layers",
        f"{data.name}: {data.items:,} of {data.of:,} questions"
        + (f" (SHA-256 {data.sha256[:16]}…)" if data.sha256 else ""),
        *([f"with images (SHA-256 of their pixels {data.images_sha256[:16]}…)"] if data.images_sha256 else []),
        *_drawing(result),
        f"task {config.task}, {_layers_of(result)}, {'tested' if config.one_setting else 'chosen'} by {config.metric}",
    ]
    if config.strategy == "buckets" and not config.layers:
        phrases.append("all questions had a say in which bucket was measured whole, so the gain is a little lucky")
    if config.task == "mc":
        phrases += [
            f"an answer's score is the {config.normalisation} over its tokens",
            "early layers through the final norm" if config.rule.early_norm else "early layers read raw",
            f"F normalised: {config.rule.post_softmax}",
            "tokens outside the plausible head count −1000" if config.rule.apc else "no plausibility constraint",
        ]
    elif config.decoding:
        decoding = config.decoding
        phrases += [
            f"at most {decoding.max_new_tokens} tokens",
            f"repetition penalty {decoding.repetition_penalty:g}, {decoding.penalty_position} the contrast",
            "early layers through the final norm" if decoding.early_norm else "early layers read raw",
        ]
    return phrases


def _drawing(result: SearchResult) -> list[str]:
    """How the questions were drawn and put, in phrases."""
    config, data = result.asked, result.data
    phrases = [f"these are {data.sample}, stratified by domain"] if data.sampled else []
    if data.examples:
        numbers = ", ".join(f"{number + 1:,}" for number in data.examples)
        same = data.left_out - len(data.examples)
        phrases.append(
            f"before each question the solved examples {numbers} (seed {data.seed})"
            + (f", and {same:,} questions about the same entities left out" if same else "")
        )
    if config.preamble:
        phrases.append("TruthfulQA's customary examples before each question")
    if config.chat:
        phrases.append("each question the user's turn of the model's chat template")
    return phrases


def _repeating(result: SearchResult) -> str:
    """The command that measures the same again, if there is one."""
    command = repeating_command(result)
    return f'<p class="sub">To measure the same again: <code>{escape(command)}</code></p>' if command else ""


def _chosen_metric_first(result: SearchResult) -> Iterator[tuple[Metric, Curve]]:
    yield result.asked.metric, result.curves[result.asked.metric]
    yield from ((metric, curve) for metric, curve in result.curves.items() if metric != result.asked.metric)


def _lanes_table(result: SearchResult, metric: Metric) -> str:
    """What was measured beside the layers; of other strengths, the best layer."""
    rows = [(one.lane, _value(one.values[metric])) for one in result.other_lanes]
    for beta, values in result.by_strength(metric).items():
        best = max(range(len(values)), key=lambda place: values[place].mean)
        rows.append((f"β = {beta:g} at its best layer {result.layers[best]}", _value(values[best])))
    return f"<details><summary>Other lanes</summary>{_table(('lane', metric), rows)}</details>" if rows else ""


def _curve_card(result: SearchResult, metric: Metric, curve: Curve) -> str:
    unit = UNITS.get(metric, "share")
    best = max(value.mean for row in curve.settings for value in row)
    caption = (
        f"{unit} by contrast layer j*, with 95 % bootstrap bands; baseline {curve.baseline.mean:.3f}, best {best:.3f}"
    )
    return (
        f'<section><h2>{escape(metric)}</h2><p class="sub">{escape(caption)}</p>'
        f"{metric_chart(result, metric, curve, caption)}{_lanes_table(result, metric)}</section>"
    )


def _layers_of(result: SearchResult) -> str:
    """Which layers were measured, in a phrase."""
    if result.asked.layers:
        return f"layers {', '.join(map(str, result.asked.layers))} as asked for"
    return f"strategy {result.asked.strategy}"


def _choice_card(result: SearchResult) -> str:
    chosen, unit = result.chosen, result.asked.unit
    equal = "; ".join(
        f"j* = {layer} (α {', '.join(f'{alpha:g}' for alpha in alphas)})" for layer, alphas in chosen.not_worse.items()
    )
    if result.asked.one_setting:
        rows = [
            ("setting", f"j* = {chosen.layer}, α = {chosen.alpha:g}, chosen before"),
            (f"{result.asked.metric} there", _value(chosen.value)),
            ("difference to the baseline", _difference(chosen.difference, unit)),
        ]
        return f"<section><h2>The setting that was tested</h2>{_table((), rows)}</section>"
    rows = [
        ("chosen", f"j* = {chosen.layer}, α = {chosen.alpha:g}"),
        (f"{result.asked.metric} there", _value(chosen.value)),
        ("difference to the baseline, on the questions it was chosen by", _difference(chosen.difference, unit)),
        ("settings that are not worse beyond chance", equal),
    ]
    if result.stability:
        stable = result.stability
        layers = ", ".join(f"{layer} ({100 * share:.0f} %)" for layer, share in list(stable.layers.items())[:8])
        against_own = Interval(-stable.loss.mean, -stable.loss.high, -stable.loss.low)
        rows += [
            ("random halves that choose the same layer", f"{100 * stable.same_layer:.0f} %"),
            ("layers that halves choose", layers),
            ("one half's choice, against the other half's own", _difference(against_own, unit)),
            ("one half's choice, against the baseline on the other", _difference(stable.gain, unit)),
        ]
    if result.dynamic:
        rows += [
            ("the best lane that chooses its layer at each step", result.dynamic.lane),
            (f"{result.asked.metric} there", _value(result.dynamic.value)),
            ("one half's best of these, against its best fixed setting", _difference(result.dynamic.gain, unit)),
        ]
    return f"<section><h2>The choice, and how sure it is</h2>{_table((), rows)}</section>"


def _domain_card(domains: Sequence[Domain], unit: str) -> str:
    rows = [
        (
            cut(domain.name, LONGEST_NAME),
            f"{domain.items:,}",
            _value(domain.baseline),
            _value(domain.fixed),
            f"{domain.layer} ({domain.layers[0]} to {domain.layers[1]})",
            _difference(domain.gain, unit),
            "yes" if domain.disagrees else "",
            _difference(domain.dynamic, unit) if domain.dynamic else "",
        )
        for domain in domains
    ]
    head = ("domain", "questions", "baseline", "the layer for all", "its own j*", "gain of its own", "disagrees",
            "gain of choosing at each step")  # fmt: skip
    return (
        "<section><h2>Domains</h2><p class='sub'>gain: a domain's own layer against the one for all, both chosen on "
        f"one half and measured on the other</p>{_table(head, rows)}</section>"
    )


def _error_card(result: SearchResult) -> str:
    if not result.errors:
        return ""
    kinds = (("baseline", "The baseline was right, DoLa wrong"), ("dola", "DoLa was right, the baseline wrong"))
    parts = []
    for right, title in kinds:
        cases = [case for case in result.errors if case.right == right]
        parts.append(f"<h2>{title} ({len(cases)} shown)</h2>{''.join(map(_error_case, cases))}")
    before = ""
    if result.before:
        before = (
            f"<details><summary>The solved examples before each question</summary>{_lines(result.before)}</details>"
        )
    return f"<section>{before}{''.join(parts)}</section>"


def _lines(text: str) -> str:
    return f'<p class="sub">{escape(text.strip()).replace(chr(10), "<br>")}</p>'


def _error_case(case: ErrorCase) -> str:
    domain = f" ({cut(case.domain, LONGEST_NAME)})" if case.domain else ""
    if not case.prompt:
        return f"<p>question {case.item + 1:,}{escape(domain)}</p>"
    instead = f", not “{_text(case.wrong)}”" if case.wrong else ""
    image = f"[{escape(cut(case.image, LONGEST_NAME))}] " if case.image else ""
    summary = (
        f"question {case.item + 1:,}: {image}{_text(case.prompt.removeprefix(PREAMBLE))} … "
        f"<b>{_text(' / '.join(case.answers))}</b>{instead}"
    )
    if not case.q_N:
        return f"<p>{summary}</p>"
    rows = [
        (_token(last), f"{last.p:.3f}", _token(early), f"{early.p:.3f}")
        for last, early in zip(case.q_N, case.q_J, strict=True)
    ]
    after = f" after “{_text(case.common)}”" if case.common else ""
    return (
        f"<details><summary>{summary}</summary><p class='sub'>the deciding token{after}</p>"
        f"{_table(('last layer', 'q_N', 'layer j*', 'q_j*'), rows, escaped=True)}</details>"
    )


def _text(text: str) -> str:
    """A text of a question, or of an answer to it, as HTML."""
    return escape(cut(text, LONGEST_TEXT))


def _token(candidate: Candidate) -> str:
    return f'<span class="token">{escape(visible_token(candidate.text))}</span>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, escaped: bool = False) -> str:
    """A table with the texts of `head` and `rows`; with `escaped`, they are HTML already."""

    def row(tag: str, texts: Sequence[str]) -> str:
        cells = "".join(f"<{tag}>{text if escaped else escape(text)}</{tag}>" for text in texts)
        return f"<tr>{cells}</tr>"

    return f"<table>{row('th', head) if head else ''}{''.join(row('td', texts) for texts in rows)}</table>"


def _value(interval: Interval) -> str:
    mean, low, high = (format_signed(number).removeprefix("+") for number in interval)
    return f"{mean} ({low} to {high})"


def _difference(interval: Interval, unit: str) -> str:
    mean, low, high = (format_signed(number, unit) for number in interval)
    return f"{mean} ({low} to {high}) {unit}"
