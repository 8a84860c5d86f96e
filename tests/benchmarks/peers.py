"""Time both completions against the DoLa that was built into `transformers`: `make bench-peers`.

The peer is `transformers` 4.55.4, the last with DoLa built in, in an environment and a process of its own. It decodes
greedily, then with DoLa at layer 22. Both sides take turns on the same random model and must write the same tokens, so
the comparison here follows the peer's conventions (early layer read raw, repetition penalty after the contrast,
α = 0.1).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from dola_core.comparison import Comparison
from dola_core.decoding.engine import Engine
from dola_core.lanes import Baseline, DecodingConfig, DolaStatic
from tests.benchmarks.results import ResultRow, publish
from tests.benchmarks.shapes import SHAPES, engine_of, random_llama
from tests.benchmarks.timing import Ratio

LAYER, ALPHA, NEW, ROUNDS, PROMPTS = 22, 0.1, 24, 5, 4
HALF = 0.5
"""The most of the peer's time: at least twice as fast."""


class Peer:
    """The process of the peer."""

    def __init__(self, python: str, folder: str, dtype: str) -> None:
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("peer_worker.py")), folder, dtype],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.version: str = self._answer()["version"]

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise SystemExit("The peer has ended; run `make bench-peers`, which sets up its environment.")
        return json.loads(line)

    def complete(self, prompt: list[int], layer: int | None, penalty: float) -> tuple[list[int], float]:
        """The ids that the peer writes, and its seconds."""
        request = {"prompt": prompt, "layer": layer, "penalty": penalty, "new": NEW}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self._answer()
        return answer["ids"], answer["seconds"]


def ours(engine: Engine, prompt: list[int], penalty: float) -> tuple[list[list[int]], float]:
    """The ids that both lanes write here, and the seconds."""
    lanes = (Baseline(name="baseline"), DolaStatic(name="DoLa", layer=LAYER, alpha=ALPHA))
    config = DecodingConfig(
        max_new_tokens=NEW, early_norm=False, repetition_penalty=penalty, penalty_position="after"
    )  # fmt: skip
    ids: list[list[int]] = [[], []]
    start = time.perf_counter()
    for output in engine.compare(Comparison("", tuple(prompt), lanes, config), record=False):
        for lane, token in output.tokens.items():
            ids[lane].append(token)
    return ids, time.perf_counter() - start


def rows(python: str, folder: str, dtype: str) -> Iterator[ResultRow]:
    """One row for every penalty. In float32 the texts must be the same; in bfloat16 each side rounds differently."""
    engine = engine_of(AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval())
    peer = Peer(python, folder, dtype)
    try:
        for penalty in (1.0, 1.2):
            times: dict[str, list[float]] = {"peer": [], "ours": []}
            same = 0
            for number in tqdm(range(ROUNDS + 1), desc=f"{dtype}, penalty {penalty}", leave=False):
                draw = torch.Generator().manual_seed(number % PROMPTS)
                prompt = torch.randint(5, engine.loaded.readout.vocab_size, (12,), generator=draw).tolist()
                plain, plain_seconds = peer.complete(prompt, None, penalty)
                dola, dola_seconds = peer.complete(prompt, LAYER, penalty)
                written, seconds = ours(engine, prompt, penalty)
                same += written == [plain, dola]
                if number:
                    times["peer"].append(plain_seconds + dola_seconds)
                    times["ours"].append(seconds)
            if dtype == "float32" and same <= ROUNDS:
                raise SystemExit("The texts differ: these are not the same decoders.")
            what = f"both completions, penalty {penalty}; {same} of {ROUNDS + 1} pairs of texts the same"
            against = f"greedy, then DoLa, of transformers {peer.version}"
            yield ResultRow("135M", dtype, what, against, Ratio.of(times["ours"], times["peer"]), HALF)
    finally:
        peer.process.terminate()
        peer.process.wait()


def main() -> None:
    """Save one random model, and complete the same prompts with both."""
    with tempfile.TemporaryDirectory() as folder:
        random_llama(*SHAPES["135M"], "float32").save_pretrained(folder)
        measured = [row for dtype in ("bfloat16", "float32") for row in rows(sys.argv[1], folder, dtype)]
    publish(measured, "make bench-peers")


if __name__ == "__main__":
    main()
