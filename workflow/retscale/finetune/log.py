"""log.jsonl, one line every few steps, and a check of the loss."""

import json
import time
from pathlib import Path

import torch

from retscale.errors import UserError

# Steps, and share of all steps, that a loss may stay above chance once the rate has risen: at a low temperature a fresh
# encoder starts far above it.
PATIENCE, PATIENCE_SHARE = 100, 0.2


class Log:
    """Means since the last line; `sums`, kept in the state, and `resume` carry them over a stop: the lines are the same.

    Only a process that has a path writes. Times and memory are those of this run.
    """

    def __init__(self, path: Path | None, every: int, device: torch.device):
        self.path, self.every, self.device = path, every, device
        self.sums = [0.0] * 4  # loss, gradient norm, tokens, padding
        self.since, self.seen = time.monotonic(), 0.0

    def resume(self, step: int, sums: list[float] | None) -> None:
        """Resume after `step`, with the sums of that step: what a killed run has written beyond it is cut off."""
        self.sums = list(sums or self.sums)
        if self.path is not None and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            complete = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            self.path.write_text("".join(complete), encoding="utf-8")

    def step(
        self, step: int, last: bool, rate: float, loss: float, norm: float, n_tokens: float, n_padding: float
    ) -> None:
        self.sums = [a + b for a, b in zip(self.sums, (loss, norm, n_tokens, n_padding))]
        self.seen += n_tokens
        if step % self.every and not last:
            return
        count = (step - 1) % self.every + 1
        if self.path is not None:
            line = {
                "step": step,
                "loss": self.sums[0] / count,
                "grad_norm": self.sums[1] / count,
                "lr": rate,
                "tokens_per_s": round(self.seen / (time.monotonic() - self.since), 1),
                "padding": round(self.sums[3] / (self.sums[2] + self.sums[3]), 4),
            }
            if self.device.type == "cuda":
                line["gpu_memory"] = torch.cuda.max_memory_allocated(self.device)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self.sums, self.since, self.seen = [0.0] * 4, time.monotonic(), 0.0


class Watch:
    """Stops a run that learns nothing: one whose loss stays above that of chance.

    `excess`: the last steps' loss, each minus that of chance, which is the logarithm of the number of passages that a
    query chooses from.
    """

    def __init__(self, steps: int, warmup: float):
        self.patience = max(PATIENCE, round(PATIENCE_SHARE * steps))
        self.start = round(warmup * steps)
        self.excess: list[float] = []

    def step(self, step: int, loss: float, chance: float) -> None:
        """UserError if the mean loss of the last `patience` steps, all after the warm-up, is above chance."""
        if step <= self.start:
            return
        self.excess = [*self.excess, loss - chance][-self.patience :]
        if len(self.excess) == self.patience and (mean := sum(self.excess) / self.patience) > 0:
            raise UserError(
                f"the loss has been {mean:.3g} above that of chance ({chance:.3g}) for {self.patience} steps up to "
                f"step {step}: nothing is learned"
            )
