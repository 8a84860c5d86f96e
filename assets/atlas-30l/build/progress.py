"""Where a training run stands: its plan, its learning rate, what it has seen, and its checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

WARM_UP = 0.03
FINAL_RATE = 0.02
CURVE_POINTS = 100


@dataclass
class Run:
    """A run of `steps` steps at the peak learning rate `rate`, `done` of them done; `losses` in nats."""

    seed: int
    steps: int
    rate: float
    done: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)

    def rate_at(self, step: int) -> float:
        """Learning rate: linear warm-up, then a cosine down to a fiftieth."""
        warm_up = max(1, int(WARM_UP * self.steps))
        if step < warm_up:
            return self.rate * (step + 1) / warm_up
        progress = min(1.0, (step - warm_up) / max(1, self.steps - warm_up))
        return self.rate * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * progress)))

    def recent_loss(self) -> float:
        """Mean loss of the last 50 steps."""
        recent = self.losses[-50:]
        return sum(recent) / len(recent)

    def log(self) -> dict[str, object]:
        """What `training_log.json` says, the loss averaged over about a hundred spans."""
        every = max(1, len(self.losses) // CURVE_POINTS)
        spans = [self.losses[i : i + every] for i in range(0, len(self.losses) - every + 1, every)]
        return {
            "steps": self.done,
            "tokens": self.tokens,
            "minutes": round(self.seconds / 60, 1),
            "seed": self.seed,
            "peak_learning_rate": self.rate,
            "loss": [{"step": (i + 1) * every, "loss": round(sum(span) / every, 4)} for i, span in enumerate(spans)],
        }


def save_checkpoint(path: Path, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Writes everything needed to go on; a crash while writing leaves the former checkpoint whole."""
    part = path.with_suffix(".part")
    torch.save(
        {"run": asdict(run), "model": model.state_dict(), "optimizer": optimizer.state_dict()},
        part,
    )
    part.replace(path)


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Run:
    """Puts model and optimizer back where the checkpoint was taken."""
    state = torch.load(path, map_location=next(model.parameters()).device)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Run(**state["run"])
