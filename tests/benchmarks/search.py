"""Time a search over every layer and α against one run for each: `make bench-search`.

It also measures the memory of a search beside the model, with a large vocabulary, thirty layers and long questions.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from dola_core.files.paths import SHIPPED_MODEL
from dola_core.layer_search.answers.scoring import score_items
from dola_core.layer_search.questions.dataset import Item, read_items
from dola_core.models.info import ModelInfo
from dola_core.models.loaded_model import LoadedModel
from dola_core.models.loading import load_model
from dola_core.models.preset import Preset
from dola_core.models.reading.readout import Readout
from tests.benchmarks.results import ResultRow, publish
from tests.benchmarks.shapes import ATLAS
from tests.benchmarks.timing import Ratio

LAYERS, ALPHAS = tuple(range(1, 30)), (0.0, 0.05, 0.1, 0.2, 0.5)
QUESTIONS, SAMPLED, FASTER = 100, 5, 20
VOCABULARY, TOKENS, LIMIT = 100_000, 512, 2.0


def seconds(loaded: LoadedModel, items: list[Item], layers: tuple[int, ...], alphas: tuple[float, ...]) -> float:
    """How long scoring the items takes."""
    start = time.perf_counter()
    for _ in score_items(loaded, items, layers, alphas):
        pass
    return time.perf_counter() - start


def speed() -> None:
    """Time all settings in one pass against a sample of single ones, on the same questions in the same process."""
    loaded = load_model(device="cpu", dtype="float32")
    items = [item for item in read_items(SHIPPED_MODEL / "validation.jsonl") if item.wrong][:QUESTIONS]
    rng = random.Random(0)
    settings = [(rng.choice(LAYERS), rng.choice(ALPHAS)) for _ in range(SAMPLED)]
    seconds(loaded, items[:10], LAYERS, ALPHAS)  # warm
    once = seconds(loaded, items, LAYERS, ALPHAS)
    single = [seconds(loaded, items, (layer,), (alpha,)) for layer, alpha in tqdm(settings, desc="single runs")]
    count = len(LAYERS) * len(ALPHAS)
    each = statistics.median(single) * count
    print(
        f"{len(items)} questions, {count} settings: {once:.1f} s in one pass, {each:.0f} s run by run "
        f"(median of {SAMPLED} single runs × {count}): {each / once:.0f} x faster, at least {FASTER} x wanted"
    )
    what = f"the whole layer curve, {count} settings on {len(items)} questions"
    against = f"one run for each setting, of which {SAMPLED} were timed"
    ratio = Ratio.of([once] * SAMPLED, [count * seconds_ for seconds_ in single])
    publish([ResultRow(ATLAS, "float32", what, against, ratio, 1 / FASTER)], "make bench-search")


def memory() -> None:
    """Print the peak memory above the model for one long question with a large vocabulary."""
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED_MODEL)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=256, num_hidden_layers=30, num_attention_heads=4,
        max_position_embeddings=2 * TOKENS,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    info = ModelInfo(name="wide", dtype="float32", n_layers=30, vocab_size=VOCABULARY)
    loaded = LoadedModel(model, tokenizer, Readout.of(model), "wide", info, Preset(layer=22))
    words = tokenizer.decode(torch.randint(5, 6000, (4 * TOKENS,), generator=torch.Generator().manual_seed(0))).split()
    answers = [" ".join(words[n : n + 8]) for n in range(0, 40, 10)]
    room = TOKENS - max(len(loaded.encode(f" {answer}")) for answer in answers)
    prompt = " ".join(
        words[: next(n for n in range(len(words)) if len(loaded.encode(" ".join(words[: n + 2]))) > room)]
    )
    item = Item(prompt=prompt, answers=(answers[0],), wrong=tuple(answers[1:]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds(loaded, [item], LAYERS, ALPHAS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    longest = max(len(loaded.encode(f"{item.prompt} {answer}")) for answer in answers)
    print(json.dumps({"tokens": longest, "answers": len(answers), "gigabytes": round((peak - before) / 2**20, 2)}))


def main() -> None:
    """Measure both, the memory in a process of its own."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--memory", action="store_true", help="only the memory, in this process")
    if parser.parse_args().memory:
        memory()
        return
    measured = json.loads(subprocess.check_output([sys.executable, __file__, "--memory"], text=True))
    print(
        f"{measured['answers']} answers to a question of {measured['tokens']} tokens with the longest, {VOCABULARY:,} "
        f"tokens in the vocabulary: {measured['gigabytes']} GB beside the model, at most {LIMIT} GB wanted"
    )
    speed()


if __name__ == "__main__":
    main()
