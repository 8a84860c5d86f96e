"""Record the traces that come with the page: `make traces`.

For each title, prompts are tried in a fixed order until a run shows what the title says.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.inputs.examples import outcome  # noqa: E402
from app.inputs.recorded_traces import RECORDED  # noqa: E402
from app.jobs.comparison import Request, run  # noqa: E402
from app.render.figures.step import Head  # noqa: E402
from dola_core.layer_search.dataset import Item, read_items  # noqa: E402
from dola_core.models.loading import SHIPPED_MODEL, LoadedModel, load_model  # noqa: E402
from dola_core.trace.schema import Trace  # noqa: E402

Case = tuple[Item, dict[str, Any]]
"""A prompt with its answers, and what to ask for."""
TOKENS = 48


def cases(name: str, start: dict[str, Any]) -> Iterator[Case]:
    """What to try for one title; `start` holds the recorded j* and α."""
    items = read_items(SHIPPED_MODEL / "validation.jsonl")
    greedy = start | {"decoding": {"max_new_tokens": TOKENS}}
    if name == "sampled":
        sampled = start | {"decoding": {"max_new_tokens": TOKENS, "temperature": 0.8, "top_p": 0.9}}
        yield from ((asking(item, "Tell me something about {}."), sampled) for item in capitals(items))
    elif name == "one-token":
        yield from ((asking(item, "Question: What is the capital of {}? Answer:"), greedy) for item in capitals(items))
    elif name == "endless":
        for item in capitals(items):
            asked = asking(item, "{} and")
            yield from ((asked, greedy | {"layer": layer, "alpha": 0.01}) for layer in range(1, 30, 4))
    else:
        yield from ((item, greedy) for item in items)


def capitals(items: list[Item]) -> list[Item]:
    """The questions about countries' capitals."""
    return [item for item in items if item.relation == "country.capital"]


def asking(item: Item, form: str) -> Item:
    """The same asked in another form."""
    return item.model_copy(update={"prompt": form.format(item.entity.partition(": ")[2])})


def one_token(trace: Trace) -> bool:
    """Whether every head of DoLa's text holds one token."""
    lane = trace.lanes[1]
    return all(Head.of(step, lane.layer, lane.alpha, trace.decoding).size == 1 for step in trace.lane_steps(1))


SHOWS: dict[str, Callable[[Trace, Item], bool]] = {
    "mended": lambda trace, item: outcome(*trace.texts, item.answers[0]) == "mended",
    "harmed": lambda trace, item: outcome(*trace.texts, item.answers[0]) == "harmed",
    "one-token": lambda trace, item: one_token(trace) and item.answers[0] in trace.texts[1],
    "endless": lambda trace, item: trace.ends == ("eos", "length"),
    "sampled": lambda trace, item: trace.fork is not None and trace.fork > 3 and trace.ends == ("eos", "eos"),
}
"""Whether a run shows what the title of its name says."""


def record(loaded: LoadedModel, name: str) -> Trace:
    """The first run that does; `LookupError` if none does."""
    start = {"layer": loaded.preset.layer, "alpha": loaded.preset.alpha}
    for item, asked in cases(name, start):
        if len(item.answers) > 1:
            continue
        *_, last = run(loaded, Request.of(prompt=item.prompt, **asked))
        if SHOWS[name](last.trace, item):
            return last.trace
    raise LookupError(f"No run shows {name!r}.")


def main() -> None:
    """Write one file for each title."""
    loaded = load_model(SHIPPED_MODEL, device="cpu", dtype="float32")
    for one in RECORDED:
        trace = record(loaded, one.name)
        one.file.write_text(json.dumps(json.loads(trace.to_json()), ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{one.file.relative_to(ROOT)}: {trace.prompt!r} → {trace.texts}")


if __name__ == "__main__":
    main()
