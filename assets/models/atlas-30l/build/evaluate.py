"""Measure the shipped model: what it knows, at which layer it knows it, and what DoLa-static changes.

Writes `validation.jsonl`, `test.jsonl`, `dola_static.json`, `evaluation.json` and the figures of the card. j* and α are
chosen on the validation questions alone; the test questions are about other things.
Run from the repository root: `make atlas-eval`.
"""

import argparse
import hashlib
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import probes
import torch
from card import END, finding, write_figures
from measures import arrival, interval, median_interval
from outcomes import Outcome, search
from packing import Packing
from tqdm import tqdm

from dola_core.files.writing import write_together
from dola_core.layer_search.questions.dataset import Item, write_items
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.models.preset import PRESET_FILE, Preset, RecordedTest

ATLAS = Path(__file__).resolve().parents[1]
LAYERS = tuple(range(1, 30))
ALPHAS = (0.05, 0.1, 0.2, 0.5)
FRESH_SEED = 2**31
EVERYDAY_TOKENS = 80
KINDS = {"said": "greedy_correct", "chose": "mc_correct"}
"""Names of open questions and multiple choice in `evaluation.json`, with their arrays in `Outcome`."""


def things(items: Sequence[Item]) -> list[str]:
    """What each question is about."""
    return [one.entity for one in items]


def grouped(items: Sequence[Item], key: str) -> dict[str, np.ndarray]:
    """Positions of the items by their domain or relation, in order of appearance, and of `all`."""
    groups: dict[str, list[int]] = {}
    for number, one in enumerate(items):
        groups.setdefault(getattr(one, key), []).append(number)
    return {"all": np.arange(len(items)), **{name: np.array(numbers) for name, numbers in groups.items()}}


def shares(items: Sequence[Item], correct: np.ndarray) -> dict[str, Any]:
    """By relation: how many questions, and the share of `correct` ones `[items]`, with its interval."""
    about = np.array(things(items))
    return {
        name: {"items": len(where), "said": interval(correct[where].astype(float), about[where])}
        for name, where in grouped(items, "relation").items()
    }


def knowledge(loaded: LoadedModel, items: Sequence[Item]) -> dict[str, Any]:
    """`shares` of the open questions that the baseline answers."""
    return shares(items, search(loaded, items, (), (1.0,)).baseline_greedy_correct)


def unseen_knowledge(items: Sequence[Item], correct: np.ndarray) -> dict[str, Any]:
    """`shares` of the questions and of the statements to complete."""
    are_questions = np.array([probes.is_question(one) for one in items])
    return {
        name: shares([one for one, here in zip(items, which, strict=True) if here], correct[which])
        for name, which in (("unseen_questions", are_questions), ("reworded", ~are_questions))
    }


def arrivals(loaded: LoadedModel, items: Sequence[Item]) -> dict[str, Any]:
    """By relation: the median layer from which on every layer predicts a right answer, with its interval."""
    layers, about = arrival(loaded, items), np.array(things(items))
    return {
        name: {"items": len(known), "layer": median_interval(layers[known], about[known])}
        for name, where in grouped(items, "relation").items()
        if len(known := where[layers[where] > 0])
    }


def choose(outcome: Outcome) -> tuple[int, int]:
    """Positions of the layer and α with the most open questions answered, as the layer search chooses them.

    Ties go to the lower layer, then to the lower α.
    """
    best = outcome.dola_greedy_correct.sum(0)
    layer, alpha = np.unravel_index(best.argmax(), best.shape)
    return int(layer), int(alpha)


def compared(items: Sequence[Item], outcome: Outcome, at: tuple[int, int], key: str) -> dict[str, Any]:
    """By domain or relation: baseline and DoLa-static at one setting, for both kinds of question, and what changed."""
    about, table = np.array(things(items)), {}
    for name, where in grouped(items, key).items():
        row: dict[str, Any] = {"items": len(where), "things": len({*about[where]})}
        for kind, array in KINDS.items():
            plain = getattr(outcome, f"baseline_{array}")[where]
            dola = getattr(outcome, f"dola_{array}")[where, at[0], at[1]]
            row[kind] = {
                "baseline": interval(plain.astype(float), about[where]),
                "dola": interval(dola.astype(float), about[where]),
                "difference": interval(dola.astype(float) - plain, about[where]),
                "mended": int((dola & ~plain).sum()),
                "harmed": int((plain & ~dola).sum()),
            }
        table[name] = row
    return table


def curve(items: Sequence[Item], outcome: Outcome) -> dict[str, Any]:
    """Share of open questions answered and of right choices made, by layer and α, with their intervals."""
    about = things(items)
    table: dict[str, Any] = {"layers": outcome.layers, "alphas": outcome.alphas}
    for kind, array in KINDS.items():
        dola = getattr(outcome, f"dola_{array}").astype(float)
        table[kind] = {
            "baseline": interval(getattr(outcome, f"baseline_{array}").astype(float), about),
            "dola": [
                [interval(dola[:, i, k], about) for k in range(len(outcome.alphas))] for i in range(len(outcome.layers))
            ],
        }
    return table


def own_settings(valid: Sequence[Item], tuned: Outcome, test: Sequence[Item], tested: Outcome) -> dict[str, Any]:
    """By relation: its best setting on the validation questions, and what that setting changes on its test questions.

    Ties go to the setting that is best for all.
    """
    chosen = choose(tuned)
    table = {}
    by_relation = grouped(test, "relation")
    for name, where in grouped(valid, "relation").items():
        if name == "all" or name not in by_relation:
            continue
        correct = tuned.dola_greedy_correct[where].sum(0)
        at = max(np.ndindex(correct.shape), key=lambda at: (correct[at], at == chosen, -at[0], -at[1]))
        tests = by_relation[name]
        change = tested.dola_greedy_correct[tests, at[0], at[1]].astype(float) - tested.baseline_greedy_correct[tests]
        table[name] = {
            "layer": LAYERS[at[0]],
            "alpha": ALPHAS[at[1]],
            "items": len(tests),
            "difference": interval(change, np.array(things(test))[tests]),
        }
    return table


@torch.inference_mode()
def everyday(loaded: LoadedModel) -> list[dict[str, Any]]:
    """How the model continues prompts as people type them.

    For each: whether the text ends, in whole sentences and none of them twice; whether it names the thing that the
    prompt is about; and whether it names the answer.
    """
    rows = []
    for prompt, (thing, answers) in probes.EVERYDAY.items():
        inputs = loaded.tokenizer(prompt, return_tensors="pt")
        ids = loaded.model.generate(**inputs, max_new_tokens=EVERYDAY_TOKENS, do_sample=False)[0]
        text = loaded.tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        right = any(re.search(rf"\b{re.escape(answer)}\b", text) for answer in answers)
        sentences = [sentence for sentence in re.split(r"(?<=[.?!])\s+", text.strip()) if sentence]
        rows.append(
            {
                "prompt": prompt,
                "text": text.strip(),
                "whole": text.strip()[-1:] in (*".?!",)
                and len({*sentences}) == len(sentences)
                and not re.match(r"[a-z]", text.strip()),
                "ends": int(ids[-1]) in loaded.eos_ids,
                "on_topic": right or thing.casefold() in text.casefold(),
                "right": right,
            }
        )
    return rows


@torch.inference_mode()
def fresh_loss(loaded: LoadedModel) -> float:
    """Mean loss in nats a token on documents of a seed that training never used."""
    ids, labels = Packing(FRESH_SEED, rows=64).batch(0, loaded.tokenizer)
    return round(loaded.model(input_ids=ids, labels=labels).loss.item(), 4)


def examples(items: Sequence[Item], outcome: Outcome, at: tuple[int, int]) -> dict[str, list[str]]:
    """The prompts that DoLa-static mends and harms at a setting, each with its right answers."""
    baseline, dola = outcome.baseline_greedy_correct, outcome.dola_greedy_correct[:, at[0], at[1]]
    pick = {"mended": dola & ~baseline, "harmed": baseline & ~dola}
    return {
        name: [f"{items[n].prompt} … {' / '.join(items[n].answers)}" for n in np.flatnonzero(where)]
        for name, where in pick.items()
    }


def evaluate(loaded: LoadedModel) -> dict[str, Any]:
    """Everything `evaluation.json` holds but the hash."""
    valid, test = probes.unseen("validation"), probes.unseen("test")
    with tqdm(total=6, desc="atlas-eval", mininterval=1) as bar:

        def done(part: Any) -> Any:
            bar.update()
            return part

        sets = {
            "statements": done(knowledge(loaded, probes.statements())),
            "questions": done(knowledge(loaded, probes.questions(held_out=False))),
            "silent_things": done(knowledge(loaded, probes.questions(held_out=True))),
        }
        arrived = done(arrivals(loaded, probes.statements()))
        tuned = done(search(loaded, valid, LAYERS, ALPHAS))
        tested = done(search(loaded, test, LAYERS, ALPHAS))
    sets |= unseen_knowledge(valid, tuned.baseline_greedy_correct)
    at = choose(tuned)
    return {
        "fresh_loss": fresh_loss(loaded),
        "sets": sets,
        "arrival": arrived,
        "choice": {"layer": LAYERS[at[0]], "alpha": ALPHAS[at[1]]},
        "validation": {"curve": curve(valid, tuned), "domains": compared(valid, tuned, at, "domain")},
        "test": {
            "domains": compared(test, tested, at, "domain"),
            "relations": compared(test, tested, at, "relation"),
            "own_settings": own_settings(valid, tuned, test, tested),
            "examples": examples(test, tested, at),
        },
        "everyday": everyday(loaded),
    }


def preset_of(report: dict[str, Any]) -> Preset:
    """The choice with its test: the settings that the page starts from, and what they do on the test questions."""
    whole = report["test"]["domains"]["all"]
    said = whole["said"]
    tested = RecordedTest(
        data="test.jsonl",
        questions=whole["items"],
        metric="said",
        mended=said["mended"],
        broken=said["harmed"],
        gain=RecordedTest.points(said["difference"]),
    )
    return Preset(**report["choice"], tested=tested)


def main() -> None:
    """Evaluate the model in a folder and write the figures into it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, default=ATLAS)
    folder = parser.parse_args().model
    if END not in (folder / "README.md").read_text(encoding="utf-8"):
        parser.error(f"{folder} needs a README.md with the lines that its figures go between.")
    log = json.loads((folder / "training_log.json").read_text(encoding="utf-8"))
    for name in ("validation", "test"):
        write_items(folder / f"{name}.jsonl", probes.unseen(name))
    start = time.monotonic()
    loaded = load_model(folder, device="cpu", dtype="float32")
    report = {
        "load_seconds": round(time.monotonic() - start, 2),
        "model_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        **evaluate(loaded),
    }
    preset = preset_of(report)
    settings = preset.model_dump_json(indent=1, exclude_none=True, exclude={"finding"}).encode() + b"\n"
    text = json.dumps(report, ensure_ascii=False, indent=1).encode() + b"\n"
    write_together(
        {
            folder / PRESET_FILE: lambda out: out.write(settings),
            folder / "evaluation.json": lambda out: out.write(text),
        }
    )
    write_figures(folder / "README.md", report, log)
    print(finding(report))


if __name__ == "__main__":
    main()
