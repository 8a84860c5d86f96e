"""Time both completions against the DoLa that was built into `transformers`: `make bench-peers`.

The peer is `transformers` 4.55.4, the last with DoLa built in, in an environment and a process of its own. It decodes
greedily, then with DoLa at layer 22, or choosing among its "high" or "low" layers. Both sides take turns on the same
random model and must write the same tokens, so the comparison here follows the peer's conventions (early layer read
raw, repetition penalty after the contrast, α = 0.1). The peer's divergence is one more: it weights by the mean of the
two distributions. So its texts are compared with those of a lane that does so, too, and it is counted how many of
`DolaDynamic` are the same.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from dola_core.comparison import Comparison
from dola_core.contrast import on_plausible_head
from dola_core.decoding.engine import Engine
from dola_core.lanes import Baseline, DecodingConfig, DolaDynamic, DolaStatic, Lane
from tests.benchmarks.results import ResultRow, publish
from tests.benchmarks.shapes import SHAPES, engine_of, random_llama
from tests.benchmarks.timing import Ratio

ALPHA, NEW, ROUNDS, PROMPTS = 0.1, 24, 5, 4
WAYS: tuple[int | str, ...] = (22, "high", "low")
"""What the peer takes as `dola_layers`: a layer, or a name."""
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

    def complete(self, prompt: list[int], layers: int | str | None, penalty: float) -> tuple[list[int], float]:
        """The ids that the peer writes with these `dola_layers`, or plainly, and its seconds."""
        request = {"prompt": prompt, "layers": layers, "penalty": penalty, "new": NEW}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self._answer()
        return answer["ids"], answer["seconds"]


class PeerDynamic(DolaDynamic):
    """DoLa-dynamic with the peer's divergence."""

    kind: Literal["peer-dynamic"] = "peer-dynamic"  # type: ignore[assignment]
    chooses_layer: ClassVar[bool] = False

    def scores(self, log_q_N: Tensor, log_q: Tensor, closeness: Tensor | None) -> Tensor:
        """`F` against the layer that the peer would choose for the row by itself."""
        m = 0.5 * (log_q_N.exp() + log_q.exp())
        apart = sum((m * (m.log() - one)).nan_to_num(0.0).mean(-1) for one in (log_q_N, log_q))
        chosen = cast(Tensor, apart).argmax(0)
        log_q_M = log_q[chosen, torch.arange(len(log_q_N))]
        return on_plausible_head(log_q_N - log_q_M, log_q_N, self.alpha)


def ours(engine: Engine, prompt: list[int], lane: Lane, penalty: float) -> tuple[list[list[int]], float]:
    """The ids that the baseline and `lane` write here, and the seconds."""
    config = DecodingConfig(
        max_new_tokens=NEW, early_norm=False, repetition_penalty=penalty, penalty_position="after"
    )  # fmt: skip
    ids: list[list[int]] = [[], []]
    start = time.perf_counter()
    for output in engine.compare(Comparison("", tuple(prompt), (Baseline(), lane), config), record=False):
        for number, token in output.tokens.items():
            ids[number].append(token)
    return ids, time.perf_counter() - start


def rows(python: str, folder: str, dtype: str) -> Iterator[ResultRow]:
    """One row for every way and penalty. In float32 the texts must be the same; bfloat16 is rounded differently."""
    engine = engine_of(AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval())
    peer = Peer(python, folder, dtype)
    try:
        for way, penalty in product(WAYS, (1.0, 1.2)):
            named = isinstance(way, str)
            lane: Lane = DolaDynamic(bucket=way) if isinstance(way, str) else DolaStatic(layer=way)
            as_peer: Lane = PeerDynamic(bucket=way) if isinstance(way, str) else lane
            times: dict[str, list[float]] = {"peer": [], "ours": []}
            same = equal = 0
            for number in tqdm(range(ROUNDS + 1), desc=f"{dtype}, {way}, penalty {penalty}", leave=False):
                draw = torch.Generator().manual_seed(number % PROMPTS)
                prompt = torch.randint(5, engine.loaded.readout.vocab_size, (12,), generator=draw).tolist()
                plain, plain_seconds = peer.complete(prompt, None, penalty)
                dola, dola_seconds = peer.complete(prompt, way, penalty)
                written, seconds = ours(engine, prompt, lane, penalty)
                same += written == [plain, dola]
                theirs = ours(engine, prompt, as_peer, penalty)[0] if named else written
                equal += theirs == [plain, dola]
                if number:
                    times["peer"].append(plain_seconds + dola_seconds)
                    times["ours"].append(seconds)
            if dtype == "float32" and equal <= ROUNDS:
                raise SystemExit("The texts differ: these are not the same decoders.")
            count = f"{same} of {ROUNDS + 1} pairs of texts the same"
            count += f", with the peer's divergence {equal}" if named else ""
            what = f"both completions, DoLa {'at layer ' if not named else ''}{way}, penalty {penalty}; {count}"
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
