"""log.jsonl, one line every few steps; pace.jsonl, how fast they were; and a check of the loss."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from retscale.common import jsonl
from retscale.errors import UserError

# Steps, and share of all steps, that a loss may stay above chance once the rate has risen: at a low temperature a fresh
# encoder starts far above it.
PATIENCE, PATIENCE_SHARE = 100, 0.2


class Log:
    """Means since the last line; `sums`, kept in the state, and `resume` carry them over a stop: the lines are the same.

    Only a process that has a path writes. Times and memory differ from run to run, so they go to pace.jsonl beside it,
    which is not declared as an output: the record takes them. `report` gets the values of both lines, and the step.
    """

    def __init__(
        self,
        path: Path | None,
        every: int,
        device: torch.device,
        report: Callable[[dict[str, float], int], None] = lambda values, step: None,
    ):
        self.path, self.every, self.device, self.report = path, every, device, report
        self.pace_path = path and path.with_name("pace.jsonl")
        self.sums = [0.0] * 4  # loss, gradient norm, tokens, padding
        self.since, self.seen = time.monotonic(), 0.0

    def resume(self, step: int, sums: list[float] | None) -> None:
        """Resume after `step`, with the sums of that step: what a killed run has written beyond it is cut off."""
        self.sums = list(sums or self.sums)
        for path in (self.path, self.pace_path):
            if path is not None and path.exists():
                lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
                complete = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
                path.write_text("".join(complete), encoding="utf-8")

    def step(
        self,
        step: int,
        last: bool,
        rate: float,
        loss: float,
        norm: float,
        n_tokens: float,
        n_padding: float,
        ended: float,
    ) -> None:
        """Add a step to its line; `ended`: when, by `time.monotonic`, which may be a step before its numbers are read."""
        self.sums = [a + b for a, b in zip(self.sums, (loss, norm, n_tokens, n_padding))]
        self.seen += n_tokens
        if step % self.every and not last:
            return
        count = (step - 1) % self.every + 1
        if self.path is not None and self.pace_path is not None:
            line = {
                "step": step,
                "loss": self.sums[0] / count,
                "grad_norm": self.sums[1] / count,
                "lr": rate,
                "padding": round(self.sums[3] / (self.sums[2] + self.sums[3]), 4),
            }
            pace = {"step": step, "tokens_per_s": round(self.seen / (ended - self.since), 1)}
            if self.device.type == "cuda":
                pace["gpu_memory"] = torch.cuda.max_memory_allocated(self.device)
            for path, row in ((self.path, line), (self.pace_path, pace)):
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            self.report({name: value for name, value in (line | pace).items() if name != "step"}, step)
        self.sums, self.since, self.seen = [0.0] * 4, ended, 0.0

    def pace(self) -> list[dict]:
        """How fast each line's steps were: the tokens per second, and on a GPU the peak of memory so far, in bytes."""
        return [row for _, row in jsonl.objects(self.pace_path)] if self.pace_path else []


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
