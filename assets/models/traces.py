"""Record the traces that come with a model: `make traces`, or `make traces MODEL=smollm2`.

For each title, prompts are tried in a fixed order until a run shows what the title promises.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from app.inputs.examples import outcome
from app.inputs.known_model import EXAMPLES, TITLES, TRACES
from app.jobs.comparison import run
from app.jobs.request import ComparisonRequest
from app.paths import MODELS, ROOT
from app.render.plausible_head import PlausibleHead
from dola_core.decoding.engine import Engine
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.files.writing import write_atomically
from dola_core.layer_search.questions.dataset import Item, read_items
from dola_core.models.loading import load_model
from dola_core.trace.schema import Trace
from dola_core.trace.token_text import own_part

Case = tuple[Item, dict[str, Any]]
"""A prompt with its answers, and the rest of the request."""
TOKENS = 48


def cases(title: str, engine: Engine) -> Iterator[Case]:
    """The cases to try for one title, at the recorded j* and α; a model with a chat template is asked in it.

    What is mended or harmed is a completion, since the answers of a chat are sentences.
    """
    items = [item for item in read_items(SHIPPED_MODEL / "validation.jsonl") if len(item.answers) == 1]
    capitals = [item for item in items if item.relation == "country.capital"]
    preset, chat = engine.loaded.preset, engine.loaded.has_chat_template
    settings = {"layer": preset.layer, "alpha": preset.alpha, "decoding": {"max_new_tokens": TOKENS}}
    asked = settings | {"chat": chat}
    if title == "sampled":
        sampled = asked | {"decoding": {"max_new_tokens": TOKENS, "temperature": 0.8, "top_p": 0.9}}
        yield from ((reworded(item, "Tell me something about {}."), sampled) for item in capitals)
    elif title == "one-token":
        form = "What is the capital of {}?" if chat else "Question: What is the capital of {}? Answer:"
        for alpha in (preset.alpha, 0.5):  # a model that is never that sure shows it at a narrower head
            yield from ((reworded(item, form), asked | {"alpha": alpha}) for item in capitals)
    elif title == "endless":
        for item in reversed(capitals) if chat else capitals:
            open_ended = reworded(item, "What is the capital of {}?" if chat else "{} and")
            yield from ((open_ended, asked | {"layer": layer, "alpha": 0.01}) for layer in range(1, 30, 4))
    else:
        yield from ((item, settings) for item in (*examples(engine, title), *items))


def examples(engine: Engine, title: str) -> Iterator[Item]:
    """The model's own examples of what a title promises, where it is asked for completions in its chats' stead."""
    if not engine.loaded.has_chat_template:
        return
    for example in json.loads((MODELS / engine.loaded.info.name / EXAMPLES).read_bytes()):
        if example.get("outcome") == title:
            yield Item(prompt=example["prompt"], answers=(example["answer"],))


def reworded(item: Item, form: str) -> Item:
    """The same question with another prompt, which names the country at `{}`."""
    return item.model_copy(update={"prompt": form.format(item.entity.partition(": ")[2])})


def one_token(trace: Trace) -> bool:
    """Whether every plausible head of DoLa's text holds one token."""
    lane = trace.lanes[1]
    return all(PlausibleHead.of(step, lane, trace.decoding).size == 1 for step in trace.lane_steps(1))


def parts_late(trace: Trace) -> bool:
    """Whether the texts are the same for some tokens and then part; those that are completed end by themselves."""
    _, end = own_part(trace)
    is_chat = end < len(trace.prompt_ids)
    return trace.fork is not None and trace.fork > 3 and (is_chat or trace.ends == ("eos", "eos"))


SHOWS: dict[str, Callable[[Trace, Item], bool]] = {
    "mended": lambda trace, item: outcome(*trace.texts, item.answers[0]) == "mended",
    "harmed": lambda trace, item: outcome(*trace.texts, item.answers[0]) == "harmed",
    "one-token": lambda trace, item: one_token(trace) and item.answers[0] in trace.texts[1],
    "endless": lambda trace, item: trace.ends == ("eos", "length"),
    "sampled": lambda trace, item: parts_late(trace),
}
"""{title: whether a run shows what it promises}."""


def record(engine: Engine, title: str) -> Trace:
    """The first run that shows what the title promises; raises `LookupError` if none does."""
    for item, settings in tqdm(cases(title, engine), desc=title, unit="run", leave=False):
        *_, last = run(engine, ComparisonRequest.of(prompt=item.prompt, **settings))
        if SHOWS[title](last.trace, item):
            return last.trace
    raise LookupError(f"No run shows {title!r}.")


def main() -> None:
    """Write one file for each title; of a title that no run shows, say so."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="atlas-30l", help="a model of assets/models (default: atlas-30l)")
    parser.add_argument("--titles", nargs="+", choices=TITLES, default=TITLES, help="record these alone")
    options = parser.parse_args()
    engine = Engine(load_model(options.model, device="cpu", dtype="float32"))
    for title in options.titles:
        file = MODELS / options.model / TRACES / f"{title}.json"
        try:
            trace = record(engine, title)
        except LookupError as error:
            print(error)
            continue
        document = json.dumps(json.loads(trace.to_json()), ensure_ascii=False).encode() + b"\n"
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, lambda out, document=document: out.write(document))
        print(f"{file.relative_to(ROOT)}: {trace.prompt!r} → {trace.texts}")


if __name__ == "__main__":
    main()
