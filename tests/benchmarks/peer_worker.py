"""The other side of `peers.py`, run by another Python with a `transformers` that still has DoLa built in.

Reads one JSON request a line and answers each with one: `{"ids", "seconds"}` of a completion. Imports nothing of ours.
"""

import json
import sys
import time

import torch
import transformers
from transformers import AutoModelForCausalLM


def main() -> None:
    """Load the folder that is named first in the dtype named next, say which version this is, and serve."""
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=getattr(torch, sys.argv[2])).eval()
    print(json.dumps({"version": transformers.__version__}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        ids = torch.tensor([asked["prompt"]])
        more = {"dola_layers": [asked["layer"]]} if asked["layer"] else {}
        start = time.perf_counter()
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=asked["new"], do_sample=False, pad_token_id=0,
            repetition_penalty=asked["penalty"], **more,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        print(json.dumps({"ids": out[0, ids.shape[1] :].tolist(), "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
