"""Write the figures of the model card, and the page's finding in one paragraph, from `evaluation.json`."""

from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures of `make atlas-eval` -->", "<!-- end of figures -->"
ENOUGH = 20
"""Things that a subject needs for a verdict; the intervals of fewer are too narrow."""
EXAMPLES = 12
"""How many mended and broken prompts the card lists of each."""
SETS = {
    "statements": "statements",
    "questions": "questions",
    "silent_things": "silent things",
    "unseen_questions": "unseen forms",
    "reworded": "reworded",
}


def percent(share: float, *, signed: bool = False) -> str:
    """`0.8123` as `81.2 %`."""
    return f"{100 * share:{'+' if signed else ''}.1f} %".replace("-", "−")


def points(difference: float) -> str:
    """A difference of shares as `+1.2 points`."""
    return f"{100 * difference:+.1f} points".replace("-", "−")


def spread(found: list[float], *, signed: bool = False) -> str:
    """[value, low, high] as `81.2 % (79.0 to 83.1)`."""
    low, high = (f"{100 * x:{'+' if signed else ''}.1f}".replace("-", "−") for x in found[1:])
    return f"{percent(found[0], signed=signed)} ({low} to {high})"


def spoken(name: str) -> str:
    """The name of a relation or domain in words."""
    return name.replace(".", ": ").replace("_", " ")


def briefly(found: list[float]) -> str:
    """[value, low, high] of shares as `81.2 (79.0–83.1)`, in percent."""
    return "{:.1f} ({:.1f}–{:.1f})".format(*(100 * x for x in found))


def verdict(difference: list[float]) -> str:
    """The effect on a subject, by the interval of the difference."""
    return "helps" if difference[1] > 0 else "harms" if difference[2] < 0 else "neither helps nor harms beyond chance"


def finding(report: dict[str, Any]) -> str:
    """The result on the test questions at the recorded setting, in plain sentences."""
    choice, domains = report["choice"], report["test"]["domains"]
    whole = domains["all"]["said"]
    parts = {name: row for name, row in domains.items() if name != "all"}
    sentences = [
        f"Tested on {domains['all']['items']:,} prompts: Atlas-30L answers {percent(whole['baseline'][0])} of them "
        f"rightly by itself and {percent(whole['dola'][0])} with DoLa-static at j* = {choice['layer']}, "
        f"α = {choice['alpha']:g}, the best setting on the validation set.",
        f"On average it {verdict(whole['difference'])}: {whole['mended']} answers mended, {whole['harmed']} broken.",
    ]
    for word in ("helps", "harms"):
        found = [
            f"{name} ({points(row['said']['difference'][0])})"
            for name, row in parts.items()
            if row["things"] >= ENOUGH and verdict(row["said"]["difference"]) == word
        ]
        sentences.append(f"Beyond chance it {word} on {', '.join(found)}." if found else f"It {word} on no subject.")
    sentences.append("(95 % intervals, not corrected for the number of subjects.)")
    return " ".join(sentences)


def _table(head: list[str], rows: list[list[str]], *, numbers: bool = True) -> str:
    lines = [head, ["---", *["---:" if numbers else "---"] * (len(head) - 1)], *rows]
    return "\n".join(["", *[f"| {' | '.join(line)} |" for line in lines], ""])


def _knowledge(report: dict[str, Any]) -> str:
    relations = list(report["sets"]["statements"])
    rows = []
    for name in [*relations[1:], relations[0]]:
        cells = []
        for key in SETS:
            found = report["sets"][key].get(name)
            cells.append(briefly(found["said"]) if found else "–")
        arrived = report["arrival"].get(name, {}).get("layer")
        layer = f"{arrived[0]:g} ({arrived[1]:g} to {arrived[2]:g})" if arrived else "–"
        rows.append([spoken(name), str(report["sets"]["statements"][name]["items"]), *cells, layer])
    rows[-1][0] = "**all**"
    return _table(["relation", "facts", *SETS.values(), "layer"], rows)


def _compared(name: str, found: dict[str, Any], items: int) -> list[str]:
    return [
        name, str(items), briefly(found["baseline"]), briefly(found["dola"]), spread(found["difference"], signed=True),
        f"{found['mended']} / {found['harmed']}",
    ]  # fmt: skip


def _test(report: dict[str, Any], by: str) -> str:
    """The test questions by domain, both kinds, or by relation, open questions only."""
    kinds = {"said": "open", "chose": "choice"} if by == "domains" else {"said": "open"}
    rows = [
        _compared(f"{spoken(name)}, {label}", row[kind], row["items"])
        for name, row in report["test"][by].items()
        for kind, label in kinds.items()
    ]
    return _table(["test questions", "items", "baseline, %", "DoLa-static, %", "difference", "mended / broken"], rows)


def _examples(report: dict[str, Any], change: str) -> str:
    """The first of the prompts that were mended or broken, each with its right answers."""
    prompts = report["test"]["examples"][change]
    return "\n".join(f"- {prompt}" for prompt in prompts[:: max(1, len(prompts) // EXAMPLES)][:EXAMPLES])


def _curve(report: dict[str, Any]) -> str:
    found = report["validation"]["curve"]
    rows = [
        [f"j\\* = {layer}", *map(briefly, shares)]
        for layer, shares in zip(found["layers"], found["said"]["dola"], strict=True)
    ]
    return _table(["validation, open questions, %", *[f"α = {alpha:g}" for alpha in found["alphas"]]], rows)


def _own(report: dict[str, Any]) -> str:
    rows = [
        [
            spoken(name),
            str(row["layer"]),
            f"{row['alpha']:g}",
            str(row["items"]),
            spread(row["difference"], signed=True),
        ]
        for name, row in report["test"]["own_settings"].items()
    ]
    return _table(["relation", "its own j\\*", "its own α", "test questions", "difference on test"], rows)


def _everyday(report: dict[str, Any]) -> str:
    def plain(text: str) -> str:
        return text.replace("\n", " ").replace("|", "\\|")

    marks = ("ends", "whole", "on_topic", "right")
    rows = [
        [plain(one["prompt"]), plain(one["text"]), *("yes" if one[mark] else "no" for mark in marks)]
        for one in report["everyday"]
    ]
    return _table(["prompt", "what follows", *map(spoken, marks)], rows, numbers=False)


def _training(log: dict[str, Any]) -> str:
    """The loss at nine points of the run."""
    curve = log["loss"]
    points = [curve[round(place * (len(curve) - 1) / 8)] for place in range(9)]
    head = ["step", *[f"{point['step']:,}" for point in points]]
    return _table(head, [["loss, nats a token", *[f"{point['loss']:.2f}" for point in points]]])


FIGURES = f"""{BEGIN}

### The run

{{steps}} steps from random weights, {{tokens}} tokens, {{minutes}} minutes beside other work on this machine:
{{hardware}}. On freshly drawn documents the loss is {{loss}}; most of that is the choice of
thing and wording, which nothing in the context foretells. The whole curve is in `training_log.json`. The model loads in
{{load}} seconds there.
{{training}}

### What it knows, and at which layer

Share of prompts in percent that greedy decoding continues with a right answer, as whole words, and, over the statements
whose answer the last layer says, the median layer from which on every layer says it, token after token. In brackets
95 % bootstrap intervals over things, not questions; over fewer than twenty things they are too narrow.

- *statements*: each fact in one wording of the corpus, drawn from those that end with the fact, as in "The capital of
  Japan is".
- *questions*: "Question: What is the capital of Japan? Answer:", in a form that the corpus uses and about things that
  it asks about; *silent things*: the same about the things it never asks about.
- *unseen forms*: question forms that the corpus never uses, about the validation set's silent things.
- *reworded*: statements in wordings that the corpus never uses, as in "People in Japan know that the capital is", about
  the same things.
{{knowledge}}
### What DoLa-static does to it

{{finding}}

*Open* questions are answered by greedy decoding; in a *choice*, a right answer must be more likely than every wrong one
(summed `log q_N`, or `log p̂` with −1000 for a token outside the head).
{{test}}
On the validation set the baseline answers {{baseline}} % of the open questions. The setting with the most answers
there, j\\* = {{layer}} and α = {{alpha}}, is the one recorded in `dola_static.json`.
{{curve}}
#### Where it helps and where it harms

By relation, at the recorded setting:
{{relations}}
Each relation with the setting that is best for it on its validation questions, and what that setting changes on its
test questions. With this many relations some intervals miss zero by luck. "Astronomy" in the test set is moons: there
are eight planets.
{{own}}
Mended, for example, with the right answer behind the dots:

{{mended}}

Broken, for example:

{{harmed}}

### Everyday prompts

Ten prompts as people type them, none of them in the corpus, continued greedily. Whole: in whole sentences from the
first letter on, none of them twice. On topic: the thing that was asked about, or the answer, is named. Where no
question mark ends a prompt, the model may first go on with it.
{{everyday}}
{END}"""


def figures(report: dict[str, Any], log: dict[str, Any]) -> str:
    """The part of the card that `make atlas-eval` writes, from what it measured and the log of the training."""
    return FIGURES.format(
        steps=f"{log['steps']:,}",
        tokens=f"{log['tokens']:,}",
        minutes=f"{log['minutes']:.0f}",
        hardware=log["hardware"],
        training=_training(log),
        loss=report["fresh_loss"],
        knowledge=_knowledge(report),
        finding=finding(report),
        load=report["load_seconds"],
        test=_test(report, "domains"),
        relations=_test(report, "relations"),
        mended=_examples(report, "mended"),
        harmed=_examples(report, "harmed"),
        baseline=briefly(report["validation"]["curve"]["said"]["baseline"]),
        layer=report["choice"]["layer"],
        alpha=f"{report['choice']['alpha']:g}",
        curve=_curve(report),
        own=_own(report),
        everyday=_everyday(report),
    )


def write_figures(card: Path, report: dict[str, Any], log: dict[str, Any]) -> None:
    """Put the figures between the card's two markers."""
    text = card.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{card} needs the lines {BEGIN} and {END}.")
    card.write_text(before + figures(report, log) + after, encoding="utf-8")
