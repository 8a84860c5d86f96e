"""Measures what the shipped model knows by greedy completion, and writes `evaluation.json`.

Four sets of prompts: statements the corpus contains in this wording; questions it contains; questions about
held-out entities, whose facts it states but about which it never asks; and statements in wordings that it never
uses. The last two are written to `validation.jsonl`, one prompt a line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import phrases
import torch
from facts import RELATIONS, Entity, countries, elements
from packing import Packing
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

ATLAS = Path(__file__).resolve().parents[1]
ANSWER_TOKENS = 12
BATCH = 64
FRESH_SEED = 2**31


@dataclass(frozen=True)
class Probe:
    """A prompt and the answer that should follow it; `rival` is the tempting wrong one, if any."""

    relation: str
    entity: str
    prompt: str
    answer: str
    rival: str | None = None

    def is_right(self, completion: str) -> bool:
        """Whether the completion begins with the answer."""
        return begins_with(completion, self.answer)

    def is_rival(self, completion: str) -> bool:
        """Whether the completion begins with the rival instead."""
        return self.rival is not None and begins_with(completion, self.rival)


def begins_with(completion: str, answer: str) -> bool:
    """Whether the completion says the answer first, as whole words."""
    rest = completion.strip().removeprefix(answer)
    return rest != completion.strip() and not rest[:1].isalnum()


def facts_told() -> Iterator[tuple[Entity, str]]:
    """Every entity with each relation it has a fact for."""
    for entity in countries() + elements():
        yield from ((entity, relation) for relation in entity.facts)


def probe(entity: Entity, relation: str, template: str) -> Probe:
    """The prompt is the template up to the answer."""
    before, _, _ = template.partition(" {y}")
    rival = entity.facts["largest_city"] if relation == "capital" and entity.has_rival else None
    prompt = phrases.fill(before, x=entity.name)
    return Probe(relation, entity.name, prompt, entity.facts[relation], rival)


def statements() -> list[Probe]:
    """One prompt a fact: the first wording that ends with the answer, as in "The capital of Japan is"."""
    wording = {
        relation: next(text for text in texts if text.endswith(" {y}."))
        for relation, texts in phrases.STATEMENTS.items()
    }
    return [probe(entity, relation, wording[relation]) for entity, relation in facts_told()]


def reworded_statements() -> list[Probe]:
    """Two prompts a fact, in wordings the corpus never uses."""
    return [
        probe(entity, relation, wording)
        for entity, relation in facts_told()
        for wording in phrases.NEVER_WRITTEN[relation]
    ]


def questions(*, held_out: bool) -> list[Probe]:
    """One question a fact, about the held-out entities or about the others."""
    return [
        probe(entity, relation, phrases.DIALOGUES[0].replace("{question}", phrases.QUESTIONS[relation][0]))
        for entity, relation in facts_told()
        if entity.held_out == held_out
    ]


def validation() -> dict[str, list[Probe]]:
    """The prompts that training never saw, by set."""
    return {"held_out_questions": questions(held_out=True), "reworded_statements": reworded_statements()}


@torch.inference_mode()
def complete(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: list[str]) -> list[str]:
    """Greedy completions, in batches padded on the left."""
    texts = []
    for start in range(0, len(prompts), BATCH):
        batch = tokenizer(prompts[start : start + BATCH], return_tensors="pt", padding=True)
        ids = model.generate(**batch, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        texts += tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def score(probes: list[Probe], completions: list[str]) -> dict[str, dict[str, int]]:
    """Counts by relation: `right` of `asked`, and how often the rival was said."""
    result = {relation: {"right": 0, "asked": 0, "rival": 0} for relation in RELATIONS}
    for item, completion in zip(probes, completions, strict=True):
        counts = result[item.relation]
        counts["asked"] += 1
        counts["right"] += item.is_right(completion)
        counts["rival"] += item.is_rival(completion)
    return result


@torch.inference_mode()
def fresh_loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> float:
    """Mean loss in nats a token on documents of a seed that training never used."""
    ids = Packing(FRESH_SEED, rows=32).batch(0, tokenizer)
    return model(input_ids=ids, labels=ids).loss.item()


def evaluate(folder: Path) -> dict[str, object]:
    """Everything `evaluation.json` holds."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sets = {
        "statements": statements(),
        "questions": questions(held_out=False),
        **validation(),
    }
    report: dict[str, object] = {"fresh_loss": round(fresh_loss(model, tokenizer), 4)}
    for name, probes in sets.items():
        completions = complete(model, tokenizer, [item.prompt for item in probes])
        report[name] = score(probes, completions)
        report[f"{name}_missed"] = [
            f"{item.prompt} … {said.strip()} (right: {item.answer})"
            for item, said in zip(probes, completions, strict=True)
            if not item.is_right(said)
        ]
    return report


def table(report: dict[str, object]) -> str:
    """The report as a Markdown table."""
    sets = ("statements", "questions", "held_out_questions", "reworded_statements")
    lines = ["| relation | statements | questions | held-out questions | reworded |", "|---|" + 4 * "---:|"]
    totals = {name: [0, 0] for name in sets}
    for relation in RELATIONS:
        cells = []
        for name in sets:
            right, asked = report[name][relation]["right"], report[name][relation]["asked"]
            totals[name] = [totals[name][0] + right, totals[name][1] + asked]
            cells.append(f"{right} / {asked} ({right / asked:.1%})")
        lines.append(f"| {relation.replace('_', ' ')} | {' | '.join(cells)} |")
    cells = [f"**{right} / {asked} ({right / asked:.1%})**" for right, asked in totals.values()]
    return "\n".join([*lines, f"| **all** | {' | '.join(cells)} |"])


def main() -> None:
    """Evaluates the model in a folder and writes `evaluation.json` and `validation.jsonl` beside it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, default=ATLAS)
    folder = parser.parse_args().model
    report = evaluate(folder)
    text = json.dumps(report, ensure_ascii=False, indent=1) + "\n"
    (folder / "evaluation.json").write_text(text, encoding="utf-8")
    with (folder / "validation.jsonl").open("w", encoding="utf-8") as file:
        for name, probes in validation().items():
            file.writelines(json.dumps({"set": name, **asdict(item)}, ensure_ascii=False) + "\n" for item in probes)
    print(table(report))
    print(f"\nLoss on fresh documents: {report['fresh_loss']} nats a token.")


if __name__ == "__main__":
    main()
