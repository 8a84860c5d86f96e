"""Record the traces that come with the page: `make traces`.

For each title, prompts are tried in a fixed order until a run shows what the title promises.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))
from app.inputs.examples import outcome
from app.inputs.recorded_traces import RECORDED
from app.jobs.comparison import run
from app.jobs.request import ComparisonRequest
from app.paths import ROOT
from app.render.plausible_head import PlausibleHead
from dola_core.decoding.engine import Engine
from dola_core.files import write_atomically
from dola_core.layer_search.questions.dataset import Item, read_items
from dola_core.models.loading import load_model
from dola_core.paths import SHIPPED_MODEL
from dola_core.trace.schema import Trace

Case = tuple[Item, dict[str, Any]]
"""A prompt with its answers, and the rest of the request."""
TOKENS = 48


def cases(name: str, start: dict[str, Any]) -> Iterator[Case]:
    """The cases to try for one title; `start` holds the recorded j* and α."""
    items = read_items(SHIPPED_MODEL / "validation.jsonl")
    greedy = start | {"decoding": {"max_new_tokens": TOKENS}}
    if name == "sampled":
        sampled = start | {"decoding": {"max_new_tokens": TOKENS, "temperature": 0.8, "top_p": 0.9}}
        yield from ((reworded(item, "Tell me something about {}."), sampled) for item in capitals(items))
    elif name == "one-token":
        yield from (
            (reworded(item, "Question: What is the capital of {}? Answer:"), greedy) for item in capitals(items)
        )
    elif name == "endless":
        for item in capitals(items):
            open_ended = reworded(item, "{} and")
            yield from ((open_ended, greedy | {"layer": layer, "alpha": 0.01}) for layer in range(1, 30, 4))
    else:
        yield from ((item, greedy) for item in items)


def capitals(items: list[Item]) -> list[Item]:
    """The questions about countries' capitals."""
    return [item for item in items if item.relation == "country.capital"]


def reworded(item: Item, form: str) -> Item:
    """The same question with another prompt, which names the country at `{}`."""
    return item.model_copy(update={"prompt": form.format(item.entity.partition(": ")[2])})


def one_token(trace: Trace) -> bool:
    """Whether every plausible head of DoLa's text holds one token."""
    lane = trace.lanes[1]
    return all(PlausibleHead.of(step, lane.layer, lane.alpha, trace.decoding).size == 1 for step in trace.lane_steps(1))


SHOWS: dict[str, Callable[[Trace, Item], bool]] = {
    "mended": lambda trace, item: outcome(*trace.texts, item.answers[0]) == "mended",
    "harmed": lambda trace, item: outcome(*trace.texts, item.answers[0]) == "harmed",
    "one-token": lambda trace, item: one_token(trace) and item.answers[0] in trace.texts[1],
    "endless": lambda trace, item: trace.ends == ("eos", "length"),
    "sampled": lambda trace, item: trace.fork is not None and trace.fork > 3 and trace.ends == ("eos", "eos"),
}
"""{name of a title: whether a run shows what it promises}."""


def record(engine: Engine, name: str) -> Trace:
    """The first run that shows what the title promises; raises `LookupError` if none does."""
    preset = engine.loaded.preset
    for item, settings in cases(name, {"layer": preset.layer, "alpha": preset.alpha}):
        if len(item.answers) > 1:
            continue
        *_, last = run(engine, ComparisonRequest.of(prompt=item.prompt, **settings))
        if SHOWS[name](last.trace, item):
            return last.trace
    raise LookupError(f"No run shows {name!r}.")


def main() -> None:
    """Write one file for each title."""
    engine = Engine(load_model(SHIPPED_MODEL, device="cpu", dtype="float32"))
    for one in RECORDED:
        trace = record(engine, one.name)
        document = json.dumps(json.loads(trace.to_json()), ensure_ascii=False).encode() + b"\n"
        write_atomically(one.file, lambda out, document=document: out.write(document))
        print(f"{one.file.relative_to(ROOT)}: {trace.prompt!r} → {trace.texts}")


if __name__ == "__main__":
    main()
