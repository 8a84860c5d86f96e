"""The state of a training run: its plan, its learning rate, how far it has come, and its checkpoint."""

import platform
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

WARM_UP = 0.02
DECAY = 0.3
FINAL_RATE = 0.02
CURVE_POINTS = 100
FINISH_RATE = 0.3
"""The rate at which the last part begins, as a share of the peak. It falls linearly to zero."""


@dataclass
class Run:
    """A run of `steps` steps with the peak learning rate `rate`, and of `finish` more on everyday prompts.

    `done` counts the steps done; `losses` are in nats.
    """

    seed: int
    steps: int
    rate: float
    finish: int = 0
    rows: int = 8
    length: int = 128
    source: str = ""
    """A hash of tables, wordings and tokenizer: what the batches are made of."""
    done: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, level, linear descent to a fiftieth of the peak; then the finish."""
        if step >= self.steps:
            return self.rate * FINISH_RATE * (1 - (step - self.steps) / self.finish)
        warm_up, descent = max(1, int(WARM_UP * self.steps)), max(1, int(DECAY * self.steps))
        left = max(0.0, min(1.0, (self.steps - step) / descent))
        return self.rate * min((step + 1) / warm_up, FINAL_RATE + (1 - FINAL_RATE) * left)

    def replan(self, steps: int) -> None:
        """Lengthen or shorten the run. Raises `ValueError` unless it is at its level rate: else the rate would jump."""
        for plan in {self.steps, steps} if steps != self.steps else ():
            if not WARM_UP * plan <= self.done <= (1 - DECAY) * plan:
                raise ValueError(
                    f"The run stands at step {self.done:,}, where a plan of {plan:,} steps warms up or descends; "
                    "it can only be finished as planned."
                )
        self.steps = steps

    @property
    def total(self) -> int:
        """All steps."""
        return self.steps + self.finish

    def recent_loss(self) -> float:
        """Mean loss of the last 50 steps."""
        recent = self.losses[-50:]
        return sum(recent) / len(recent)

    def log(self) -> dict[str, object]:
        """The content of `training_log.json`, with the loss averaged over about a hundred spans."""
        every = max(1, len(self.losses) // CURVE_POINTS)
        spans = [self.losses[i : i + every] for i in range(0, len(self.losses) - every + 1, every)]
        return {
            "steps": self.done,
            "finishing_steps": max(0, self.done - self.steps),
            "tokens": self.tokens,
            "minutes": round(self.seconds / 60, 1),
            "seed": self.seed,
            "peak_learning_rate": self.rate,
            "rows": self.rows,
            "length": self.length,
            "loss": [{"step": (i + 1) * every, "loss": round(sum(span) / every, 4)} for i, span in enumerate(spans)],
        }


def hardware(device: str) -> str:
    """The hardware that the training runs on, in words."""
    if device != "cpu":
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
        return f"{name}, torch {torch.__version__}"
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.is_file() else []
    name = (names or [platform.machine()])[0].strip()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {torch.get_num_threads()} cores, {capability}, float32, torch {torch.__version__}"


def save_checkpoint(path: Path, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write everything that a resumed run needs. A crash while writing leaves the former checkpoint intact."""
    part = path.with_suffix(".part")
    torch.save(
        {"run": asdict(run), "model": model.state_dict(), "optimizer": optimizer.state_dict()},
        part,
    )
    part.replace(path)


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Run:
    """Restore model and optimizer from a checkpoint, and return its run."""
    state = torch.load(path, map_location=next(model.parameters()).device)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Run(**state["run"])
