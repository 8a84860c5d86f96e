"""Train Atlas-30L from scratch: tokenizer, model, and the folder that the page loads.

Run from the repository root: `make atlas`.
"""

import argparse
import hashlib
import json
import shutil
import time
from pathlib import Path

import torch
from network import build_model, build_optimizer
from packing import Packing
from progress import Run, hardware, load_checkpoint, save_checkpoint
from tokenizer import build_tokenizer
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoTokenizer, GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BUILD = Path(__file__).resolve().parent
MEASURED_STEPS = 24
RESERVE = 0.95
STEPS = 10_000
FINISH = 2_400


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, ids: Tensor, labels: Tensor, rate: float) -> float:
    """Train one step on `ids` and `labels`, both `[rows, length]`; returns the mean loss in nats."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = model(input_ids=ids, labels=labels, use_cache=False).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def planned_steps(model: nn.Module, packing: Packing, tokenizer: PreTrainedTokenizerFast, minutes: float) -> int:
    """How many steps fit into `minutes`, measured on some steps that do not change the model."""
    device = next(model.parameters()).device
    start = 0.0
    for step in range(-packing.long_every, MEASURED_STEPS):
        if step == 0:  # both lengths are compiled by now
            start = time.monotonic()
        ids, labels = (part.to(device) for part in packing.batch(step % packing.long_every, tokenizer))
        model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
    model.zero_grad()
    return max(1, int(RESERVE * 60 * minutes * MEASURED_STEPS / (time.monotonic() - start)))


def save_atlas(out: Path, run: Run, model: LlamaForCausalLM, tokenizer_folder: Path, *, device: str) -> None:
    """Write the folder that `AutoModelForCausalLM` and `AutoTokenizer` load, with the training log."""
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(out)
    shutil.copytree(tokenizer_folder, out, dirs_exist_ok=True)
    parameters = sum(weight.numel() for weight in model.parameters())
    log = {"parameters": parameters, "hardware": hardware(device), **run.log()}
    (out / "training_log.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")


def source_hash(tokenizer_folder: Path) -> str:
    """A hash of everything that the batches are made of: tables, wordings and tokenizer."""
    files = [*sorted((BUILD / "data").iterdir()), tokenizer_folder / "tokenizer.json"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def train(options: argparse.Namespace) -> Run:
    """Train to the end of the plan, or to `--stop-after`. Leaves a checkpoint, and at the end of the plan the model.

    Raises `ValueError` if the options do not fit the checkpoint that the run resumes from.
    """
    work = Path(options.work)
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "checkpoint.pt"
    if not options.resume:
        checkpoint.unlink(missing_ok=True)  # it belongs to another tokenizer
        build_tokenizer(options.seed, count=options.tokenizer_documents).save_pretrained(work / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    model = build_model(tokenizer, options.seed).to(options.device).train()
    optimizer = build_optimizer(model)
    if options.compile:
        for layer in model.model.layers:
            layer.compile(dynamic=False)
    source = source_hash(work / "tokenizer")
    if options.resume:
        run = load_checkpoint(checkpoint, model, optimizer)
        if run.source not in ("", source):
            raise ValueError("The tables, wordings or tokenizer have changed since the checkpoint; start afresh.")
        run.replan(options.steps or run.steps)
        run.finish = run.finish if options.finish is None else options.finish
    else:
        finish = FINISH if options.finish is None else options.finish
        run = Run(options.seed, options.steps or STEPS, options.rate, finish, options.rows, options.length, source)
        if options.minutes:
            packing = Packing(run.seed, rows=run.rows, length=run.length)
            run.steps = planned_steps(model, packing, tokenizer, options.minutes)
    packing = Packing(run.seed, run.steps, rows=run.rows, length=run.length)

    start = time.monotonic() - run.seconds
    last = min(run.total, options.stop_after or run.total)
    with tqdm(initial=run.done, total=last, unit="step", mininterval=options.report_every) as bar:
        while run.done < last:
            ids, labels = (part.to(options.device) for part in packing.batch(run.done, tokenizer))
            run.losses.append(train_step(model, optimizer, ids, labels, run.rate_at(run.done)))
            run.done, run.tokens = run.done + 1, run.tokens + ids.numel()
            run.seconds = time.monotonic() - start
            bar.set_postfix(loss=f"{run.recent_loss():.3f}", refresh=False)
            bar.update()
            if run.done % options.save_every == 0 or run.done == last:
                save_checkpoint(checkpoint, run, model, optimizer)
    if run.done == run.total:
        save_atlas(Path(options.out), run, model, work / "tokenizer", device=options.device)
    return run


def command_line() -> argparse.ArgumentParser:
    """The options of a run."""
    parser = argparse.ArgumentParser(description="Trains Atlas-30L from scratch.")
    add = parser.add_argument
    add("--minutes", type=float, help="time budget; the number of steps follows from it")
    add("--steps", type=int, help=f"number of steps (default: {STEPS:,}, or with --resume as planned)")
    add("--finish", type=int, help=f"steps of the last part, with everyday prompts (default: {FINISH:,})")
    add("--stop-after", type=int, help="stop at this step of the plan; --resume goes on from there")
    add("--resume", action="store_true", help="go on from the checkpoint in --work")
    add("--save-every", type=int, default=200, help="steps between checkpoints")
    add("--report-every", type=float, default=10, help="seconds between progress reports")
    add("--compile", action="store_true", help="compile the layers (needs a C++ compiler)")
    add("--rate", type=float, default=2e-3, help="peak learning rate")
    add("--rows", type=int, default=8, help="sequences a step")
    add("--length", type=int, default=128, help="tokens a sequence; every eighth step has four times as many")
    add("--seed", type=int, default=0)
    add("--tokenizer-documents", type=int, default=60_000, help="documents the tokenizer is trained on")
    add("--device", default="cpu")
    add("--work", default=str(BUILD / "work"), help="folder of checkpoints and temporary files")
    add("--out", default=str(BUILD.parent), help="folder to write the model to")
    return parser


if __name__ == "__main__":
    train(command_line().parse_args())
