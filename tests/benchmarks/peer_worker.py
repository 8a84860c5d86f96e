"""The other side of `peers.py`, run by another Python with a `transformers` that still has DoLa built in.

It reads one JSON request a line and answers each by one line, `{"ids", "seconds"}` of a completion. It imports nothing
of this project.
"""

import json
import sys
import time

import torch
import transformers
from transformers import AutoModelForCausalLM


def main() -> None:
    """Load the model in the folder and dtype of the arguments, print the version, and answer requests."""
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=getattr(torch, sys.argv[2])).eval()
    print(json.dumps({"version": transformers.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        ids = torch.tensor([request["prompt"]])
        layers = request["layers"]
        more = {} if layers is None else {"dola_layers": layers if isinstance(layers, str) else [layers]}
        start = time.perf_counter()
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=request["new"], do_sample=False, pad_token_id=0,
            repetition_penalty=request["penalty"], **more,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        print(json.dumps({"ids": out[0, ids.shape[1] :].tolist(), "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
