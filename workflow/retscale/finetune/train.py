"""The training loop."""

import math
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.distributed.tensor import DTensor

from retscale.common.progress import progress
from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.finetune import sharding
from retscale.finetune.config import Recipe
from retscale.finetune.data import Order
from retscale.finetune.embed import Embedder
from retscale.finetune.gradient import Gradient
from retscale.finetune.log import Log, Watch
from retscale.finetune.reading import Reading
from retscale.finetune.schedule import learning_rate
from retscale.finetune.state import State
from retscale.model.device import to


def train(
    accelerator: Accelerator,
    sharded: bool,
    embed: Embedder,
    recipe: Recipe,
    order: Order,
    microbatch: int,
    seed: int,
    folder: Path,
    name: str,
    keep: Callable[[int, torch.nn.Module], None],
) -> Log:
    """Train `embed.model` in place through all steps of `order`; returns the log.

    microbatch: queries that are encoded together; see Gradient. folder: state and logs, from which training resumes.
    keep: called with (steps done, model) after each of the recipe's `keep` and after the last step.
    Raises UserError if it diverges, learns nothing, or receives SIGTERM; the newest state is kept.
    """
    steps, main = len(order.step_dataset), accelerator.is_main_process
    model, optimizer = prepared(accelerator, sharded, embed.model, recipe)
    gradient = Gradient(accelerator, embed.with_model(model), recipe, microbatch, sharded)
    pool = {"own": 1, "microbatch": microbatch, "global": recipe.batch_queries}[recipe.negatives]
    chance = math.log(pool * (1 + recipe.n_negatives))
    log = Log(folder / "log.jsonl" if main else None, recipe.log_every, accelerator.device, accelerator.log)
    watch = Watch(steps, recipe.warmup)
    advice = f"lower the recipe's lr (now {recipe.lr}) or raise its temperature (now {recipe.temperature})"
    # 1 from the first step on whose loss or gradient is not finite: it and those after it change nothing.
    diverged = torch.zeros((), device=accelerator.device)
    getattr(optimizer, "optimizer", optimizer).found_inf = diverged
    unread: deque[Reading] = deque()
    with State(folder, accelerator, model, optimizer) as state:
        start = 0
        if counters := state.load():
            start, watch.excess = counters["step"], counters["over"]
            if main:
                say(f"fine-tune {name}: resumes after step {start} of {steps}")
        log.resume(start, counters["sums"] if counters else None)

        def save(step: int) -> None:
            state.save(step, {"step": step, "sums": log.sums, "over": watch.excess})

        def read(reading: Reading) -> tuple[bool, bool]:
            """Log a step and watch it: whether a process wants the state saved, and whether one was asked to stop."""
            total, n_tokens, n_padding, save_due, stop_requested, norm = reading.values()
            loss, step = total / accelerator.num_processes, reading.step
            if not (math.isfinite(loss) and math.isfinite(norm)):
                if step - 1 > start:
                    save(step - 1)
                raise UserError(
                    f"fine-tuning of {name} stopped: it diverged at step {step} of {steps}: loss {loss}, gradient norm "
                    f"{norm}; {advice}. The state after step {step - 1} is kept in {folder}"
                )
            log.step(step, step == steps, reading.rate, loss, norm, n_tokens, n_padding, reading.ended)
            try:
                watch.step(step, loss, chance)
            except UserError as error:
                raise UserError(f"fine-tuning of {name} stopped: {error}; {advice}") from None
            return save_due > 0, stop_requested > 0

        for step in progress(range(start, steps), f"fine-tune {name}", unit="steps") if main else range(start, steps):
            rate = learning_rate(step, steps, recipe.lr, recipe.warmup, recipe.floor, recipe.decay)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss, n_tokens, n_padding = gradient(
                order.rows(step), lambda part: reseed(seed, step, accelerator.process_index, part)
            )
            norm = accelerator.clip_grad_norm_(model.parameters(), recipe.clip)
            counts = torch.tensor([n_tokens, n_padding, state.due(), state.stop_requested], dtype=torch.float64)
            sums = torch.cat([loss.double()[None], to(accelerator.device, counts)])
            norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
            values = torch.cat([accelerator.reduce(sums, "sum"), norm.double()[None]])
            torch.maximum(diverged, 1 - values.isfinite().all().float(), out=diverged)
            optimizer.step()
            optimizer.zero_grad()
            # All that the host reads of a step, at once, and while the next one runs: it waits for the device here alone.
            unread.append(Reading(step + 1, rate, values))
            step, save_due, stop_requested = step + 1, False, False
            whole = step in recipe.keep or step == steps
            while len(unread) > (0 if whole or save_due else 1):
                due, stop = read(unread.popleft())
                save_due, stop_requested = save_due or due, stop_requested or stop
            if whole:
                keep(step, model)
            if save_due and step < steps:
                save(step)
            if stop_requested and step < steps:
                raise UserError(
                    f"stopped by SIGTERM after step {step} of {steps}; the state is kept in {folder}: "
                    "run the same command again to resume"
                )
    return log


def prepared(
    accelerator: Accelerator, sharded: bool, model: torch.nn.Module, recipe: Recipe
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """`model` on the device of each process, whole or sharded, and its optimizer.

    The optimizer is made of the weights as they lie on the device: it would keep others alive.
    """
    if sharded:
        dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
        sharding.shard(model, accelerator.device, dtype)
    else:
        model.to(accelerator.device)
    model.train()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in weights if p.dim() >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for p in weights if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=recipe.lr, betas=recipe.betas, fused=True,
    )  # fmt: skip
    return (model, optimizer) if sharded else accelerator.prepare(model, optimizer)


def reseed(seed: int, step: int, process: int, part: int) -> None:
    """Seed dropout, the only randomness in a forward pass, from these alone."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, process, part]).generate_state(1, np.uint64)[0]))
