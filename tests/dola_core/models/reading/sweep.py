"""Try every family of causal LMs that `transformers` ships: decoded as the model itself does, or refused.

`make sweep` does it for all of them and writes what it finds into `docs/models.md`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import Tensor
from tqdm import tqdm

from dola_core.contrast import log_ratio, log_softmax
from dola_core.errors import UnsupportedModelError
from dola_core.generation import generate_with_dola_static
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from dola_core.layer_search.answers.batches import read_answers
from dola_core.models.reading.cached_texts import ReadingRules
from dola_core.models.reading.proof import reading_rules
from dola_core.models.reading.readout import Readout
from tests.dola_core.models.reading.families import CANNOT, WORDS, families, tiny_config, tiny_family
from tests.dola_core.tiny import compare, texts

LAYER, ALPHA = 2, 0.1
PROMPT, STEPS = 12, 24
TIE = 1e-3
"""Nats: where scores, or a token and the border of the plausible head, lie nearer, rounding decides."""
DOCUMENT = Path("docs/models.md")


@dataclass(frozen=True)
class FamilyOutcome:
    """What became of one family."""

    family: str
    refused: str = ""
    """The sentence that refuses it, if any."""
    rules: ReadingRules | None = None
    faults: tuple[str, ...] = ()
    """What was silently wrong: nothing may be."""


def outcome(family: str) -> FamilyOutcome:
    """Decode with a tiny model of the family in every way that the project does, and compare with the model."""
    model = tiny_family(tiny_config(family))
    ids = torch.randint(3, WORDS, (PROMPT,), generator=torch.Generator().manual_seed(5)).tolist()
    try:
        readout = Readout.of(model)
        rules = reading_rules(readout)
    except UnsupportedModelError as error:
        return FamilyOutcome(family, refused=str(error))
    lanes = (Baseline(name="baseline"), DolaStatic(name="dola", layer=LAYER, alpha=ALPHA))
    config = DecodingConfig(max_new_tokens=STEPS)
    written = [texts(compare(readout, ids, lanes, config, record=record, chunk=5)) for record in (False, True)]
    baseline, dola = written[0]
    faults = []
    if not _same(readout, None, ids, baseline, _generated(model.generate, ids)):
        faults.append("the baseline is not generate's text")
    contrasted = _generated(
        lambda *given, **how: generate_with_dola_static(model, *given, layer=LAYER, alpha=ALPHA, **how), ids
    )
    for what, layer, text, other in (
        ("the baseline is not that of uncached passes", None, baseline, _uncached(readout, ids, None)),
        ("DoLa is not that of uncached passes", LAYER, dola, _uncached(readout, ids, LAYER)),
        ("DoLa is not that of generate", LAYER, dola, contrasted),
        ("a recorded baseline differs", None, written[1][0], baseline),
        ("a recorded DoLa differs", LAYER, written[1][1], dola),
    ):
        if not _same(readout, layer, ids, text, other):
            faults.append(what)
    if not _answers_are_read_as_they_are(readout, ids):
        faults.append("a layer search reads other states")
    return FamilyOutcome(family, rules=rules, faults=tuple(faults))


def _generated(generate: Callable[..., Tensor], ids: Sequence[int]) -> list[int] | None:
    """The greedy text of a `generate`; None where the model's own `generate` fails."""
    prompt = torch.tensor([list(ids)])
    try:
        output = generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=STEPS, do_sample=False, pad_token_id=0
        )
    except ValueError as error:
        if "get_seq_length" in str(error):  # transformers 5.23, with caches that hold no attention layer
            return None
        raise
    return output[0, len(ids) :].tolist()


@torch.no_grad()
def _scores(readout: Readout, ids: Sequence[int], layer: int | None) -> tuple[Tensor, float]:
    """The scores `[V]` after `ids` from one uncached pass, and how near a token lies to the head's border, in nats."""
    with readout.capture([layer or 1]) as h:
        logits = readout.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[:, -1].float()
    log_q_N = log_softmax(logits)[0]
    if layer is None:
        return log_q_N, float("inf")
    border = log_q_N.max() + torch.tensor(ALPHA).log()
    F = log_ratio(log_q_N, log_softmax(readout.logits(h[layer]))[0], ALPHA)
    return F, float((log_q_N - border).abs().min())


def _uncached(readout: Readout, ids: Sequence[int], layer: int | None) -> list[int]:
    text = list(ids)
    for _ in range(_steps(readout)):
        text.append(int(_scores(readout, text, layer)[0].argmax()))
    return text[len(ids) :]


def _steps(readout: Readout) -> int:
    longest = reading_rules(readout).longest
    return STEPS if longest is None else min(STEPS, longest - PROMPT)


def _same(readout: Readout, layer: int | None, ids: Sequence[int], text: list[int], other: list[int] | None) -> bool:
    """Whether two texts are equal as far as both go, or part where rounding decides."""
    if other is None:
        return True
    if len(text) != _steps(readout):
        return False
    place = next((n for n, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), None)
    if place is None:
        return True
    scores, border = _scores(readout, [*ids, *text[:place]], layer)
    return border < TIE or bool((scores[text[place]] - scores[other[place]]).abs() < TIE)


@torch.no_grad()
def _answers_are_read_as_they_are(readout: Readout, ids: list[int]) -> bool:
    """Whether a layer search gets the block outputs of uncached passes, for answers of several lengths."""
    if len(ids) + 3 > (reading_rules(readout).longest or len(ids) + 3):
        return True
    answers = [(0, [5, 6, 7]), (1, [8]), (0, [9, 10])]
    prompts, layers = [ids, [*ids[1:], 4]], tuple(range(1, readout.n_layers))
    ((_, states),) = read_answers(readout, prompts, answers, layers)
    expected: dict[int, list[Tensor]] = {layer: [] for layer in states}
    for row, answer in answers:
        with readout.capture(states, pick=lambda h: h) as h:
            readout.model(input_ids=torch.tensor([[*prompts[row], *answer]]), use_cache=False)
        for layer in states:
            expected[layer].append(h[layer][0, len(ids) - 1 :])
    return all(
        torch.allclose(read, torch.cat(expected[layer]), rtol=1e-2, atol=1e-3 * float(read.abs().max()))
        for layer, read in states.items()
    )


def document(outcomes: Sequence[FamilyOutcome]) -> str:
    """`docs/models.md`."""
    decoded = [found for found in outcomes if not found.refused]
    lines = [
        "# Models",
        "",
        "Every family of causal LMs that `transformers` ships, tried with a tiny random model by `make sweep`: lock",
        "step, `generate_with_dola_static` and layer search against the model's own `generate` and uncached passes.",
        f"With transformers {transformers.__version__}: {len(decoded)} families are decoded as the model itself does,",
        f"{len(outcomes) - len(decoded)} are refused when the model is loaded, and {len(CANNOT)} were not tried.",
        "",
        "The proof runs again on each model that is loaded, so a model may be refused, or read in another way, though",
        "its family is listed here. The tiny models attend to windows of 16 tokens where a family has windows.",
        "",
        "| family | outcome |",
        "| --- | --- |",
        *(f"| `{found.family}` | {_told(found)} |" for found in outcomes),
        *(f"| `{family}` | not tried: {reason} |" for family, reason in sorted(CANNOT.items())),
    ]
    return "\n".join(lines) + "\n"


def _told(found: FamilyOutcome) -> str:
    if found.faults:
        return f"**wrong**: {'; '.join(found.faults)}"
    if found.rules is None:
        return f"refused: {found.refused}"
    ways = [
        "makes its own cache" if found.rules.own_cache else "",
        "" if found.rules.in_chunks else "prompts in one piece",
        "" if found.rules.rows_together else "one row at a time",
        "" if found.rules.longest is None else "within its window",
    ]
    return ", ".join(["decoded", *(way for way in ways if way)])


def main() -> int:
    """Try all families, write the document, and return 1 if any is silently wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DOCUMENT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    outcomes = []
    for family in tqdm([f for f in families() if f not in CANNOT], unit="family"):
        try:
            outcomes.append(outcome(family))
        except Exception as error:  # a traceback instead of a refusal is a fault, too
            outcomes.append(FamilyOutcome(family, faults=(f"{type(error).__name__}: {error}",)))
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(document(outcomes), encoding="utf-8")
    wrong = [found for found in outcomes if found.faults]
    for found in wrong:
        print(f"{found.family}: {'; '.join(found.faults)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
